//! Transactions, their ids and their signatures.
//! Invariant: a [`Transaction`]'s id always belongs to its content and network, because nothing else can make one.

use alloc::vec::Vec;

use ed25519_zebra::{Signature, SigningKey, VerificationKeyBytes, batch};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::units::{AccountId, Amount, Hash, NetworkId, Timestamp, TxId};

/// What a transaction says, before it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// Who pays.
    pub from: AccountId,
    /// Who is paid.
    pub to: AccountId,
    /// How much; a rule wants it above 0.
    pub amount: Amount,
    /// When it was made, by its maker's clock. It makes equal payments distinct and says when the transaction expires.
    pub timestamp: Timestamp,
}

/// What lets a transaction spend from a keyed account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authorization {
    /// The Ed25519 public key whose digest is the sender's account id.
    pub public_key: [u8; 32],
    /// The signature of the transaction's id.
    pub signature: [u8; 64],
}

/// A payment bound to a network, with the id and, from a keyed account, the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    id: TxId,
    payment: Payment,
    authorization: Option<Authorization>,
}

impl Transaction {
    /// The only version there is; it is part of what the id covers.
    pub const VERSION: u32 = 1;

    /// A transaction with the authorization it came with, if any, which is not checked here.
    pub fn new(network: &NetworkId, payment: Payment, authorization: Option<Authorization>) -> Self {
        Self { id: id(network, &payment), payment, authorization }
    }

    /// A transaction signed with the secret key, 32 bytes.
    pub fn signed(network: &NetworkId, payment: Payment, secret_key: &[u8; 32]) -> Self {
        let key = SigningKey::from(*secret_key);
        let id = id(network, &payment);
        let authorization = Authorization {
            public_key: VerificationKeyBytes::from(&key).into(),
            signature: key.sign(&id.0.0).to_bytes(),
        };
        Self { id, payment, authorization: Some(authorization) }
    }

    /// The digest of the payment, bound to the network.
    pub fn id(&self) -> TxId {
        self.id
    }

    /// What the transaction says.
    pub fn payment(&self) -> &Payment {
        &self.payment
    }

    /// The key and signature, where there are any.
    pub fn authorization(&self) -> Option<&Authorization> {
        self.authorization.as_ref()
    }

    /// Whether the signature, if any, is valid by ZIP-215.
    pub fn is_signature_valid(&self) -> bool {
        are_signatures_valid(core::iter::once(self))
    }

    /// The leaf that stands for the transaction in a block's Merkle tree.
    ///
    /// # Consensus
    /// SHA-256 of a zero byte, the id and, where there is one, the authorization. The signature is covered so that
    /// nobody who relays a block can change its validity without changing its hash.
    pub fn leaf(&self) -> Hash {
        match &self.authorization {
            None => Hash::of(&[&[0], &self.id.0.0]),
            Some(authorization) => {
                Hash::of(&[&[0], &self.id.0.0, &authorization.public_key, &authorization.signature])
            }
        }
    }
}

/// The public key of a secret key.
pub fn public_key(secret_key: &[u8; 32]) -> [u8; 32] {
    VerificationKeyBytes::from(&SigningKey::from(*secret_key)).into()
}

/// Whether all signatures are valid by ZIP-215, for about 40 % of the time that one by one would take.
/// The verdict is the same as one by one: that is what ZIP-215 is for.
pub fn are_signatures_valid<'a>(transactions: impl Iterator<Item = &'a Transaction>) -> bool {
    let mut verifier = batch::Verifier::new();
    // The weights of the batch must be unknown to whoever made the signatures: they follow from all of them.
    let mut transcript = Vec::new();
    for transaction in transactions {
        let Some(authorization) = &transaction.authorization else { continue };
        let key = VerificationKeyBytes::from(authorization.public_key);
        verifier.queue((key, Signature::from(authorization.signature), &transaction.id.0.0));
        transcript.extend(transaction.leaf().0);
    }
    // An empty batch would cost as much as a signature, and most messages bring nothing new.
    if transcript.is_empty() {
        return true;
    }
    verifier.verify(ChaCha12Rng::from_seed(Hash::of(&[b"quarry batch\0", &transcript]).0)).is_ok()
}

/// # Consensus
/// The id is SHA-256 of a tag, the network's id, version, from, to, amount in cents and timestamp in microseconds,
/// integers big-endian.
fn id(network: &NetworkId, payment: &Payment) -> TxId {
    TxId(Hash::of(&[
        b"quarry transaction\0",
        &network.0.0,
        &Transaction::VERSION.to_be_bytes(),
        &payment.from.0,
        &payment.to.0,
        &payment.amount.0.to_be_bytes(),
        &payment.timestamp.micros().to_be_bytes(),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;

    fn payment(secret_key: &[u8; 32], amount: u64) -> Payment {
        Payment {
            from: AccountId::keyed(&public_key(secret_key)),
            to: AccountId([9; 20]),
            amount: Amount(amount),
            timestamp: Timestamp::default(),
        }
    }

    #[test]
    fn signatures_bind_content_key_and_network() {
        let network = Network::demo().id;
        let secret_key = [1; 32];
        let good = Transaction::signed(&network, payment(&secret_key, 1), &secret_key);
        assert!(good.is_signature_valid());
        let authorization = good.authorization().copied();
        let foreign = NetworkId(Hash([1; 32]));
        for (network, amount) in [(&network, 2), (&foreign, 1)] {
            assert!(
                !Transaction::new(network, payment(&secret_key, amount), authorization).is_signature_valid()
            );
        }
        let mut other_key = authorization.unwrap();
        other_key.public_key = public_key(&[2; 32]);
        assert!(!Transaction::new(&network, payment(&secret_key, 1), Some(other_key)).is_signature_valid());
    }

    #[test]
    fn one_bad_signature_spoils_the_batch() {
        let network = Network::demo().id;
        let secret_key = [1; 32];
        let mut batch: Vec<_> = (1..50)
            .map(|amount| Transaction::signed(&network, payment(&secret_key, amount), &secret_key))
            .collect();
        assert!(are_signatures_valid(batch.iter()));
        let mut authorization = *batch[20].authorization().unwrap();
        authorization.signature[40] ^= 1;
        batch[20] = Transaction::new(&network, *batch[20].payment(), Some(authorization));
        assert!(!are_signatures_valid(batch.iter()));
    }
}
