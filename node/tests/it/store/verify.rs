//! The check of a whole store: that it accepts what a node leaves, and finds each kind of damage.

use std::sync::Arc;

use node::store::{Reader, Summary, VerifyError, verify};
use quarry_core::block::Block;
use quarry_core::codec;
use quarry_core::message::Message;
use quarry_core::rules::{BlockError, HeaderError, TransactionError};
use quarry_core::store::{Record, Status, Store, StoreError, Undo};
use quarry_core::target::Bits;
use quarry_core::transaction::{Authorization, Payment, Transaction, public_key};
use quarry_core::units::{AccountId, Amount, Hash, Height, TxId};
use redb::WriteTransaction;

use super::left::{
    BALANCES, BODIES, HEIGHT, Left, META, MINED, MINER, OUTBOX, PATH, RECORDS, UNDO, alice, leave, mined,
    network, next_block, pay, put_block, put_record, put_waiting, work,
};

#[test]
fn what_a_node_leaves_is_in_order() {
    let left = Left::new();
    let expected = Summary {
        tip: left.hash(HEIGHT),
        height: Height(HEIGHT),
        transactions: 2 * HEIGHT + 1,
        accounts: 8,
        supply: Amount(10_301 + 50 * HEIGHT),
        side_blocks: 3,
        waiting: 1,
    };
    assert_eq!(left.verdict(|_| {}), Ok(expected));
    let mut told = Vec::new();
    let reader = Reader::open(&left.directory.path().join("store"), &left.network.id).unwrap();
    verify(&reader.snapshot().unwrap(), &left.network, &mut |height, of| told.push((height.0, of.0)))
        .unwrap();
    assert_eq!(told, (0..=HEIGHT).map(|height| (height, HEIGHT)).collect::<Vec<_>>());
}

/// A block forgets the ids of a bounded number of others, so after a night the index lags for some blocks.
#[test]
fn an_index_that_lags_after_a_night_is_in_order() {
    let (directory, network) = (tempfile::tempdir().unwrap(), Arc::new(network()));
    let mut parent = network.genesis;
    let mut messages = Vec::new();
    for height in 1..=100 {
        let hours = if height == 100 { 12 } else { 0 };
        let timestamp = parent.timestamp.saturating_add(1_000_000 + hours * 3_600_000_000);
        let payment = pay(&network, alice(), MINER, 1, timestamp);
        let mut block = next_block(&network, &parent, vec![payment]);
        block.header.timestamp = timestamp;
        let block = mined(block);
        parent = block.header;
        messages.push(Message::Block(Arc::new(block)));
    }
    let store = leave(directory.path(), &network, parent.timestamp, messages);
    assert_eq!(store.indexed_from(), Ok(Height(64)));
    let summary = verify(store.snapshot(), &network, &mut |_, _| {}).unwrap();
    assert_eq!((summary.height, summary.transactions), (Height(100), 100));
}

#[test]
fn damage_to_the_best_chain_is_found() {
    let left = Left::new();
    let tip = |write: &WriteTransaction, hash: Hash| {
        write.open_table(META).unwrap().insert("tip", &hash.0[..]).unwrap();
    };
    let path = |write: &WriteTransaction, height: u64, hash: Hash| {
        write.open_table(PATH).unwrap().insert(height, &hash.0).unwrap();
    };
    left.check(|write| drop(write.open_table(META).unwrap().remove("tip").unwrap()), VerifyError::NoTip);
    left.check(|write| tip(write, Hash::default()), VerifyError::UnknownTip(Hash::default()));
    left.check(|write| tip(write, left.hash(29)), VerifyError::AboveTip(Height(30)));
    let (beside, end) = (left.abandoned.header.hash(), left.hash(HEIGHT));
    left.check(|write| tip(write, beside), VerifyError::Tip { height: Height(30), tip: beside, end });
    left.check(
        |write| drop(write.open_table(PATH).unwrap().remove(7).unwrap()),
        VerifyError::PathGap(Height(7)),
    );
    left.check(|write| path(write, 31, end), VerifyError::AboveTip(Height(31)));
    let (found, expected) = (left.hash(7), left.hash(6));
    left.check(
        |write| path(write, 7, left.hash(8)),
        VerifyError::NotLinked { height: Height(7), found, expected },
    );
    let (found, expected) = (left.hash(1), left.hash(0));
    left.check(|write| path(write, 0, found), VerifyError::Genesis { found, expected });
}

#[test]
fn damage_to_records_and_blocks_is_found() {
    let left = Left::new();
    let (height, hash) = (Height(9), left.hash(9));
    let header = left.chain[9].header;
    let record = Record { header, work: work(9), status: Status::Valid };
    let bodies = |write: &WriteTransaction, bytes: &[u8]| {
        write.open_table(BODIES).unwrap().insert(&hash.0, bytes).unwrap();
    };
    let remove = |table, hash: Hash| {
        move |write: &WriteTransaction| {
            drop(write.open_table::<&[u8; 32], &[u8]>(table).unwrap().remove(&hash.0).unwrap());
        }
    };
    let gone = |write: &WriteTransaction| drop(write.open_table(RECORDS).unwrap().remove(&hash.0).unwrap());
    left.check(gone, VerifyError::NoRecord { height, hash });
    let other = Record { header: left.chain[8].header, ..record };
    let computed = left.hash(8);
    left.check(|write| put_record(write, &hash, other), VerifyError::WrongHash { height, hash, computed });
    let more = Record { work: work(10), ..record };
    let expected = VerifyError::Work { height, found: work(10), expected: work(9) };
    left.check(|write| put_record(write, &hash, more), expected);
    for found in [Status::Stored, Status::Invalid] {
        let doubtful = Record { status: found, ..record };
        left.check(|write| put_record(write, &hash, doubtful), VerifyError::Status { height, found });
    }
    left.check(remove(BODIES, hash), VerifyError::NoBlock { height, hash });
    let swapped = codec::encode_body(&left.chain[8]);
    let (claimed, computed) = (header.tx_root, left.chain[8].header.tx_root);
    let error = BlockError::TxRoot { claimed, computed };
    left.check(|write| bodies(write, &swapped), VerifyError::Block { height, error });
    let reason = format!("block {hash} is malformed: the bytes end 3 too early");
    let error = StoreError(reason);
    left.check(|write| bodies(write, b"short"), VerifyError::Unreadable { height, error });

    left.check(remove(UNDO, hash), VerifyError::NoUndo(height));
    let undo = codec::encode_undo(&Undo { balances: [].into(), indexed_from: Height(0) });
    let put_undo = |hash: Hash| {
        let undo = &undo;
        move |write: &WriteTransaction| {
            write.open_table(UNDO).unwrap().insert(&hash.0, &undo[..]).unwrap();
        }
    };
    left.check(put_undo(hash), VerifyError::WrongUndo(height));
    for stray in [left.abandoned.header.hash(), left.hash(0), Hash::default()] {
        left.check(put_undo(stray), VerifyError::StrayUndo(stray));
    }
}

#[test]
fn a_block_that_breaks_a_rule_is_found() {
    let left = Left::new();
    let changed = |change: &dyn Fn(&mut Block)| {
        let mut block = left.tip();
        change(&mut block);
        block
    };
    let (parent, bits) = (left.chain[29].header, left.network.bits);
    let hard = Bits::from_zeros(2).unwrap();
    let block = mined(changed(&|block| block.header.bits = hard));
    left.check_tip(&block, HeaderError::WrongBits { bits: hard, expected: bits });
    let block = mined(changed(&|block| block.header.version = 2));
    left.check_tip(&block, HeaderError::Version(2));
    let block = mined(changed(&|block| block.header.index = Height(31)));
    left.check_tip(&block, HeaderError::Index { index: Height(31), parent: Height(29) });
    let timestamp = parent.timestamp;
    let block = mined(changed(&|block| block.header.timestamp = timestamp));
    left.check_tip(&block, HeaderError::NotAfterParent { timestamp, parent: timestamp });
    let unmined = |block: &mut Block| {
        while bits.target().unwrap().is_met_by(&block.header.hash()) {
            block.header.nonce += 1;
        }
    };
    let block = changed(&unmined);
    left.check_tip(&block, HeaderError::ProofOfWork { hash: block.header.hash(), bits });
    let block = changed(&|block| block.extra_nonce += 1);
    let (claimed, computed) = (block.header.tx_root, block.tx_root());
    left.check_tip(&block, BlockError::TxRoot { claimed, computed });
    let block = mined(changed(&|block| block.transactions = vec![block.transactions[0].clone(); 501]));
    left.check_tip(&block, BlockError::TooManyTransactions { count: 501, max: 500 });
    let block = mined(changed(&|block| block.transactions.push(block.transactions[0].clone())));
    left.check_tip(&block, BlockError::DuplicateTransaction(block.transactions[0].id()));
}

#[test]
fn a_transaction_that_breaks_a_rule_is_found() {
    let left = Left::new();
    let (bob, time) = (left.account("bob"), left.tip().header.timestamp);
    let network = &*left.network;
    let check = |transaction, error| left.check_transaction(transaction, error);
    check(pay(network, bob, alice(), 0, time), TransactionError::ZeroAmount);
    check(pay(network, bob, bob, 1, time), TransactionError::SelfTransfer);
    let payment = Payment { from: alice(), to: bob, amount: Amount(1), timestamp: time };
    check(Transaction::new(&network.id, payment, None), TransactionError::Unsigned(alice()));
    let authorization = *pay(network, alice(), bob, 1, time).authorization().unwrap();
    let signed = |payment, authorization| Transaction::new(&network.id, payment, Some(authorization));
    let from_bob = Payment { from: bob, to: alice(), ..payment };
    check(signed(from_bob, authorization), TransactionError::SignedOpen(bob));
    let foreign = Authorization { public_key: public_key(&[8; 32]), ..authorization };
    check(signed(payment, foreign), TransactionError::WrongKey(alice()));
    let timestamp = time.saturating_sub(60_000_001);
    let too_old = TransactionError::TooOld { timestamp, time, window: 60 };
    check(pay(network, bob, alice(), 1, timestamp), too_old);
    let timestamp = time.saturating_add(60_000_001);
    let too_new = TransactionError::TooNew { timestamp, time, window: 60 };
    check(pay(network, bob, alice(), 1, timestamp), too_new);
    let again = left.chain[26].transactions[0].clone();
    check(again, TransactionError::AlreadyMined(Height(26)));
    let (stranger, key) = (AccountId::keyed(&public_key(&[8; 32])), [8; 32]);
    let broke = Payment { from: stranger, ..payment };
    check(Transaction::signed(&network.id, broke, &key), TransactionError::UnknownSender(stranger));
    let overspend = TransactionError::Overspend { balance: Amount(270), amount: Amount(271) };
    check(pay(network, bob, alice(), 271, time), overspend);
    let mut block = left.tip();
    let (id, payment) = (block.transactions[0].id(), *block.transactions[0].payment());
    block.transactions[0] = signed(payment, Authorization { signature: [0; 64], ..authorization });
    let error = TransactionError::BadSignature;
    left.check_tip(&mined(block), BlockError::Transaction { id, error });
}

#[test]
fn damage_to_the_ledger_is_found() {
    let left = Left::new();
    let height = Height(HEIGHT);
    let (alice, bob, carol) = (alice(), left.account("bob"), left.account("carol"));
    let set = |write: &WriteTransaction, account: AccountId, cents: u64| {
        write.open_table(BALANCES).unwrap().insert(&account.0, cents).unwrap();
    };
    let expected = Amount(10_301 + 50 * HEIGHT);
    let money = VerifyError::Money { height, found: u128::from(expected.0) + 1, expected };
    left.check(|write| set(write, bob, 271), money);
    let (found, expected) = (Some(Amount(0)), Some(Amount(270)));
    let moved = |write: &WriteTransaction| {
        set(write, bob, 0);
        set(write, carol, 270);
    };
    let wrong = |account, found, expected| VerifyError::Balance { height, account, found, expected };
    let first = if bob < carol { wrong(bob, found, expected) } else { wrong(carol, expected, found) };
    left.check(moved, first);
    let nobody = AccountId([0xff; 20]);
    left.check(|write| set(write, nobody, 0), wrong(nobody, Some(Amount(0)), None));
    let forget =
        |write: &WriteTransaction| drop(write.open_table(BALANCES).unwrap().remove(&carol.0).unwrap());
    left.check(forget, wrong(carol, None, Some(Amount(0))));
    assert_ne!(alice, nobody);

    let id = left.chain[25].transactions[0].id();
    let index = |write: &WriteTransaction, id: TxId, height: u64| {
        write.open_table(MINED).unwrap().insert(&id.0.0, height).unwrap();
    };
    let not_indexed = |found| VerifyError::NotIndexed { height: Height(25), id, found };
    let forget = |write: &WriteTransaction| drop(write.open_table(MINED).unwrap().remove(&id.0.0).unwrap());
    left.check(forget, not_indexed(None));
    left.check(|write| index(write, id, 24), not_indexed(Some(Height(24))));
    let stray = TxId(Hash::default());
    left.check(|write| index(write, stray, 25), VerifyError::StrayIndexed { height: Height(25), id: stray });
    let old = left.chain[2].transactions[0].id();
    left.check(|write| index(write, old, 2), VerifyError::StrayIndexed { height: Height(2), id: old });
    let from = |height: u64| {
        move |write: &WriteTransaction| {
            write.open_table(META).unwrap().insert("indexed_from", &height.to_be_bytes()[..]).unwrap();
        }
    };
    let expected = Height(18);
    left.check(from(19), VerifyError::IndexedFrom { height, found: Height(19), expected });
    let id = left.chain[17].transactions[0].id();
    left.check(from(17), VerifyError::NotIndexed { height: Height(17), id, found: None });
}

#[test]
fn damage_beside_the_best_chain_is_found() {
    let left = Left::new();
    let (height, hash) = (Height(6), left.side.header.hash());
    let record = Record { header: left.side.header, work: work(6), status: Status::Stored };
    let set = |record: Record| move |write: &WriteTransaction| put_record(write, &hash, record);
    let other = Record { header: left.chain[5].header, ..record };
    let computed = left.hash(5);
    // It claims another height, where it is not on the best chain either.
    left.check(set(other), VerifyError::WrongHash { height: Height(5), hash, computed });
    let more = VerifyError::Work { height, found: work(7), expected: work(6) };
    left.check(set(Record { work: work(7), ..record }), more);
    let gone = |write: &WriteTransaction| drop(write.open_table(RECORDS).unwrap().remove(&hash.0).unwrap());
    left.check(gone, VerifyError::StrayBlock(hash));
    let gone = |write: &WriteTransaction| drop(write.open_table(BODIES).unwrap().remove(&hash.0).unwrap());
    left.check(gone, VerifyError::NoBlock { height, hash });

    let add = |block: Block, height| {
        move |write: &WriteTransaction| {
            put_block(
                write,
                &block,
                Record { header: block.header, work: work(height), status: Status::Stored },
            );
        }
    };
    let mut unlinked = left.side.clone();
    unlinked.header.prev_hash = Hash::default();
    let unlinked = mined(unlinked);
    let expected = VerifyError::NoParent { height, hash: unlinked.header.hash() };
    left.check(add(unlinked, 6), expected);
    let zero = pay(&left.network, left.account("bob"), alice(), 0, left.chain[5].header.timestamp);
    let ruled_out = next_block(&left.network, &left.chain[5].header, vec![zero.clone()]);
    let error = BlockError::Transaction { id: zero.id(), error: TransactionError::ZeroAmount };
    let expected = VerifyError::SideBlock { height, hash: ruled_out.header.hash(), error };
    left.check(add(ruled_out, 6), expected);
    let better = next_block(&left.network, &left.abandoned.header, vec![]);
    let expected = VerifyError::BetterBranch { height: Height(31), hash: better.header.hash() };
    left.check(add(better, 31), expected);
}

#[test]
fn damage_to_what_waits_is_found() {
    let left = Left::new();
    let (bob, time) = (left.account("bob"), left.tip().header.timestamp);
    let check = |transaction: &Transaction, error| {
        let expected = VerifyError::Waiting { id: transaction.id(), error };
        left.check(|write| put_waiting(write, 9, transaction), expected);
    };
    check(&left.chain[4].transactions[0], TransactionError::AlreadyMined(Height(4)));
    check(&left.waiting, TransactionError::AlreadyPending);
    check(&pay(&left.network, bob, alice(), 0, time), TransactionError::ZeroAmount);
    let forged = Authorization { signature: [0; 64], ..*left.waiting.authorization().unwrap() };
    let payment = Payment { amount: Amount(6), ..*left.waiting.payment() };
    let forged = Transaction::new(&left.network.id, payment, Some(forged));
    check(&forged, TransactionError::BadSignature);
    let announce = |write: &WriteTransaction| {
        write.open_table(OUTBOX).unwrap().insert(1, &[0; 32]).unwrap();
    };
    left.check(announce, VerifyError::NothingToAnnounce(Hash::default()));
}
