//! Every rule of a transaction, broken alone: on its way to the mempool and in a block.

use quarry_core::effect::{Event, Notice};
use quarry_core::message::{Message, MessageError};
use quarry_core::rules::{BlockError, TransactionError};
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::{Amount, Height};

use crate::rig::{ALICE, HOUR_US, PEER, Rig, SECOND_US, public_key};

const WINDOW_US: i64 = 2 * HOUR_US as i64;

/// The transaction is refused for this reason by itself.
#[track_caller]
fn check_alone(rig: &mut Rig, bad: &Transaction, error: TransactionError) {
    let before = rig.state();
    assert_eq!(rig.submit(bad.clone()), Err(error.clone()), "from this machine's user");
    assert_eq!(rig.state(), before);
    let bytes = Message::Transactions(vec![bad.clone()]).encode(rig.network());
    for from in [None, Some(PEER)] {
        let refused = Notice::TransactionRefused { from, id: bad.id(), error: error.clone() };
        assert_eq!(rig.step(Event::Message { from, bytes: bytes.clone() }).notices, [refused]);
        assert_eq!(rig.state(), before);
    }
    rig.assert_works();
}

/// A block is refused for this reason, wherever among good transactions the bad one stands.
#[track_caller]
fn check_in_block(make: impl Fn(&mut Rig) -> (Transaction, BlockError)) {
    for position in 0..3 {
        let mut rig = Rig::new();
        let (bad, error) = make(&mut rig);
        let mut transactions = vec![rig.pay("open1", "alice", 1), rig.pay("alice", "#5", 1)];
        transactions.insert(position, bad);
        let block = rig.next(transactions);
        let refused = Notice::BlockRefused { from: Some(PEER), hash: block.header.hash(), error };
        let bytes = Message::Block(block.into()).encode(rig.network());
        rig.assert_refused(Event::Message { from: Some(PEER), bytes }, &[refused]);
    }
}

/// The transaction is refused for this reason by itself and in a block, and its company does not suffer from it.
#[track_caller]
fn check(make: impl Fn(&Rig) -> Transaction, error: impl Fn(&Rig, &Transaction) -> TransactionError) {
    let mut rig = Rig::new();
    let bad = make(&rig);
    let error_alone = error(&rig, &bad);
    check_alone(&mut rig, &bad, error_alone);

    let mut rig = Rig::new();
    let bad = make(&rig);
    let good = [rig.pay("open1", "alice", 1), rig.pay("alice", "#5", 2)];
    let [first, second] = good.each_ref().map(Transaction::id);
    let outcome = rig.relay(vec![good[0].clone(), bad.clone(), good[1].clone()]);
    let refused = Notice::TransactionRefused { from: Some(PEER), id: bad.id(), error: error(&rig, &bad) };
    assert_eq!(outcome.notices, [Notice::Pending(first), refused, Notice::Pending(second)]);

    check_in_block(|rig| {
        let bad = make(rig);
        let error = match error(rig, &bad) {
            TransactionError::BadSignature => BlockError::BadSignature,
            error => BlockError::Transaction { id: bad.id(), error },
        };
        (bad, error)
    });
}

#[test]
fn nothing_cannot_be_paid() {
    check(|rig| rig.pay("open0", "open1", 0), |_, _| TransactionError::ZeroAmount);
    check(|rig| rig.pay("alice", "open1", 0), |_, _| TransactionError::ZeroAmount);
}

#[test]
fn nobody_pays_himself() {
    check(|rig| rig.pay("open0", "open0", 1), |_, _| TransactionError::SelfTransfer);
    check(|rig| rig.pay("alice", "alice", 1), |_, _| TransactionError::SelfTransfer);
}

#[test]
fn a_keyed_account_needs_a_signature() {
    let unsigned = |rig: &Rig| Transaction::new(&rig.network().id, rig.payment("alice", "open1", 1), None);
    check(unsigned, |rig, _| TransactionError::Unsigned(rig.account("alice")));
    // An account that nobody has ever named is a keyed one too.
    check(|rig| rig.pay("#77", "open1", 1), |rig, _| TransactionError::Unsigned(rig.account("#77")));
}

#[test]
fn an_open_account_takes_no_signature() {
    let signed = |rig: &Rig| Transaction::signed(&rig.network().id, rig.payment("open0", "open1", 1), &ALICE);
    check(signed, |rig, _| TransactionError::SignedOpen(rig.account("open0")));
}

#[test]
fn the_key_is_the_senders() {
    let with_bobs_key = |rig: &Rig| rig.signed("bob", rig.payment("alice", "bob", 1));
    check(with_bobs_key, |rig, _| TransactionError::WrongKey(rig.account("alice")));
}

#[test]
fn forged_and_malleated_signatures_are_refused() {
    // The order of the group, little-endian: adding it to `s` is the classic way to get a second signature.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let add_order = |signature: &mut [u8; 64]| {
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
        }
    };
    type Forgery<'a> = &'a dyn Fn(&mut [u8; 64]);
    let forgeries: [Forgery<'_>; 7] = [
        &|signature| *signature = [0; 64],
        &|signature| *signature = [0xff; 64],
        &|signature| signature[0] ^= 1,
        &|signature| signature[31] ^= 0x80,
        &|signature| signature[32] ^= 1,
        &|signature| signature[63] ^= 0x80,
        &add_order,
    ];
    for forge in forgeries {
        check(
            |rig| {
                let good = rig.pay("alice", "open1", 5);
                rig.with_authorization(&good, |authorization| forge(&mut authorization.signature))
            },
            |_, _| TransactionError::BadSignature,
        );
    }
    let of_another_payment = |rig: &Rig| {
        let other = *rig.pay("alice", "open1", 6).authorization().unwrap();
        rig.with_authorization(&rig.pay("alice", "open1", 5), |authorization| *authorization = other)
    };
    check(of_another_payment, |_, _| TransactionError::BadSignature);
    let of_another_network = |rig: &Rig| {
        let foreign = quarry_core::network::Network::demo().id;
        let payment = rig.payment("alice", "open1", 5);
        let other = *Transaction::signed(&foreign, payment, &ALICE).authorization().unwrap();
        rig.with_authorization(&rig.pay("alice", "open1", 5), |authorization| *authorization = other)
    };
    check(of_another_network, |_, _| TransactionError::BadSignature);
}

/// A message was judged in two passes: a first over the signatures of what keeps every other rule, then one that
/// admits. A payment that only money of the same message could cover broke a rule in the first pass, kept it in the
/// second, and so came in with a signature that nobody had looked at; the node took it into its blocks, too.
#[test]
fn a_forged_signature_cannot_hide_behind_money_of_the_same_message() {
    for (from, good_company) in [("open0", false), ("open0", true), ("bob", false), ("bob", true)] {
        let mut rig = Rig::mining();
        let fund = rig.pay(from, "alice", 1);
        let theft = rig.pay("alice", "#66", 1001);
        let theft = rig.with_authorization(&theft, |authorization| authorization.signature = [7; 64]);
        let id = theft.id();
        let mut transactions = vec![fund, theft.clone()];
        if good_company {
            transactions.insert(0, rig.pay("bob", "open1", 1));
        }
        let outcome = rig.relay(transactions);
        let error = TransactionError::BadSignature;
        let refused = Notice::TransactionRefused { from: Some(PEER), id, error };
        assert!(outcome.notices.contains(&refused), "{:?}", outcome.notices);
        let block = rig.next(vec![rig.pay("open0", "alice", 1), theft]);
        let error = BlockError::BadSignature;
        let refused = Notice::BlockRefused { from: Some(PEER), hash: block.header.hash(), error };
        assert!(rig.push(&block).notices.contains(&refused));
        rig.wait();
        rig.find();
        assert_eq!(rig.balance("#66"), None);
        assert_eq!(rig.balance("alice"), Some(1001));
    }
}

#[test]
fn the_timestamp_is_within_the_window() {
    let (window, too_old) = (7200, |rig: &Rig, it: &Transaction| TransactionError::TooOld {
        timestamp: it.payment().timestamp,
        time: rig.now.utc,
        window: 7200,
    });
    check(|rig| rig.pay_at("open0", "open1", 1, -WINDOW_US - 1), too_old);
    check(|rig| rig.pay_at("alice", "open1", 1, -rig.now.utc.micros().cast_signed()), too_old);
    let too_new = |rig: &Rig, it: &Transaction| TransactionError::TooNew {
        timestamp: it.payment().timestamp,
        time: rig.now.utc,
        window,
    };
    check(|rig| rig.pay_at("open0", "open1", 1, WINDOW_US + 1), too_new);
    check(|rig| rig.pay_at("alice", "open1", 1, 50 * 365 * 24 * HOUR_US.cast_signed()), too_new);
    let mut rig = Rig::new();
    let bounds =
        vec![rig.pay_at("open0", "open1", 1, -WINDOW_US), rig.pay_at("open0", "open1", 1, WINDOW_US)];
    let block = rig.next(bounds.clone());
    assert_eq!(rig.relay(bounds).notices.len(), 2);
    assert_eq!(rig.node.mempool().len(), 2);
    rig.push(&block);
    assert_eq!(rig.node.tip().hash, block.header.hash());
}

#[test]
fn an_account_without_money_is_unknown() {
    // It takes the key of an account that never received anything.
    let stranger = [9; 32];
    let make = |rig: &Rig| {
        let mut payment = rig.payment("alice", "open1", 1);
        payment.from = quarry_core::units::AccountId::keyed(&public_key(&stranger));
        Transaction::signed(&rig.network().id, payment, &stranger)
    };
    check(make, |_, it| TransactionError::UnknownSender(it.payment().from));
}

#[test]
fn nobody_pays_more_than_he_has() {
    for amount in [Amount(1001), Amount(u64::MAX)] {
        for from in ["bob", "open0"] {
            let error = TransactionError::Overspend { balance: Amount(1000), amount };
            check(|rig| rig.pay(from, "open1", amount.0), |_, _| error.clone());
        }
    }
    let nothing =
        |_: &Rig, _: &Transaction| TransactionError::Overspend { balance: Amount(0), amount: Amount(1) };
    check(|rig| rig.pay("empty", "bob", 1), nothing);
}

#[test]
fn an_overspend_inside_one_block_is_found() {
    let mut rig = Rig::new();
    let second = rig.pay("open0", "bob", 600);
    let block = rig.next(vec![rig.pay("open0", "alice", 600), second.clone()]);
    let error = TransactionError::Overspend { balance: Amount(400), amount: Amount(600) };
    let error = BlockError::Transaction { id: second.id(), error };
    let refused = Notice::BlockRefused { from: Some(PEER), hash: block.header.hash(), error };
    let bytes = Message::Block(block.into()).encode(rig.network());
    rig.assert_refused(Event::Message { from: Some(PEER), bytes }, &[refused]);
}

#[test]
fn the_order_inside_a_block_counts() {
    let mut rig = Rig::new();
    let (income, expense) = (rig.pay("open0", "empty", 600), rig.pay("empty", "bob", 600));
    let block = rig.next(vec![expense.clone(), income.clone()]);
    let error = TransactionError::Overspend { balance: Amount(0), amount: Amount(600) };
    let error = BlockError::Transaction { id: expense.id(), error };
    let refused = Notice::BlockRefused { from: Some(PEER), hash: block.header.hash(), error };
    assert_eq!(rig.push(&block).notices, [refused]);
    let block = rig.next(vec![income, expense]);
    rig.push(&block);
    assert_eq!(rig.node.tip().hash, block.header.hash());
    assert_eq!(rig.balance("bob"), Some(1600));
}

#[test]
fn what_waits_counts_against_an_account() {
    let mut rig = Rig::new();
    assert_eq!(rig.submit(rig.pay("open0", "bob", 600)), Ok(()));
    let more = rig.pay("open0", "alice", 401);
    let error = TransactionError::Overspend { balance: Amount(400), amount: Amount(401) };
    check_alone(&mut rig, &more, error);
    // Money that is on its way may be passed on.
    assert_eq!(rig.submit(rig.pay("open0", "empty", 400)), Ok(()));
    assert_eq!(rig.submit(rig.pay("empty", "alice", 400)), Ok(()));
}

#[test]
fn what_waits_need_not_be_sent_again() {
    let mut rig = Rig::new();
    let transaction = rig.pay("alice", "bob", 1);
    assert_eq!(rig.submit(transaction.clone()), Ok(()));
    assert_eq!(rig.submit(transaction.clone()), Err(TransactionError::AlreadyPending));
    // Peers repeat themselves as a matter of course; that is not worth a line in the log.
    assert_eq!(rig.relay(vec![transaction.clone(); 3]).notices, []);
    let outcome = rig.receive(None, &Message::Transactions(vec![transaction.clone()]));
    let error = TransactionError::AlreadyPending;
    assert_eq!(outcome.notices, [Notice::TransactionRefused { from: None, id: transaction.id(), error }]);
    assert_eq!(rig.node.mempool().len(), 1);
}

#[test]
fn a_forged_copy_of_what_waits_changes_nothing() {
    let waiting = |rig: &mut Rig| {
        let good = rig.pay("alice", "bob", 1);
        let forged = rig.with_authorization(&good, |authorization| authorization.signature[40] ^= 1);
        assert_eq!(good.id(), forged.id());
        rig.relay(vec![good.clone()]);
        rig.relay(vec![forged.clone()]);
        assert_eq!(rig.node.mempool().transaction(&good.id()).map(AsRef::as_ref), Some(&good));
        (good, forged)
    };
    // That the good one's signature is known to be valid must not help the other.
    check_in_block(|rig| (waiting(rig).1, BlockError::BadSignature));
    let mut rig = Rig::new();
    let (good, _) = waiting(&mut rig);
    let block = rig.next(vec![good]);
    rig.push(&block);
    assert_eq!(rig.node.tip().hash, block.header.hash());
    assert!(rig.node.mempool().is_empty());
}

#[test]
fn a_forged_copy_that_comes_first_does_not_keep_the_good_one_out() {
    let mut rig = Rig::new();
    let good = rig.pay("alice", "bob", 1);
    let forged = rig.with_authorization(&good, |authorization| authorization.signature[40] ^= 1);
    let outcome = rig.relay(vec![forged.clone(), good.clone(), forged]);
    let error = TransactionError::BadSignature;
    let refused = Notice::TransactionRefused { from: Some(PEER), id: good.id(), error };
    assert_eq!(outcome.notices, [refused, Notice::Pending(good.id())]);
}

#[test]
fn a_mined_transaction_is_not_mined_again() {
    let mined = |rig: &mut Rig| {
        let transaction = rig.pay("alice", "bob", 1);
        rig.push(&rig.next(vec![transaction.clone()]));
        rig.advance(SECOND_US);
        (transaction, TransactionError::AlreadyMined(Height(1)))
    };
    let mut rig = Rig::new();
    let (transaction, error) = mined(&mut rig);
    check_alone(&mut rig, &transaction, error);
    check_in_block(|rig| {
        let (transaction, error) = mined(rig);
        let id = transaction.id();
        (transaction, BlockError::Transaction { id, error })
    });
}

#[test]
fn a_full_mempool_takes_no_more() {
    use quarry_core::memory::MemoryStore;
    use quarry_core::mempool::MEMPOOL_MAX;
    use std::sync::Arc;

    let rig = Rig::new();
    let mut store: MemoryStore = rig.store().clone();
    for number in 0..MEMPOOL_MAX as u64 - 1 {
        let waiting = rig.pay_at("open0", "open1", 1, number as i64 - 1_000_000);
        store.mempool.insert(number, Arc::new(waiting));
    }
    let mut rig = Rig::open(Arc::clone(rig.node.network()), store, |_| {});
    assert_eq!(rig.submit(rig.pay("bob", "alice", 1)), Ok(()));
    let one_more = rig.pay("alice", "bob", 1);
    assert_eq!(rig.submit(one_more), Err(TransactionError::MempoolFull(MEMPOOL_MAX)));
    // A block makes room, though it be of transactions that never waited here.
    let first = rig.node.mempool().iter().next().unwrap();
    let block = rig.next(vec![Transaction::clone(first)]);
    rig.push(&block);
    rig.assert_works();
}

#[test]
fn a_transaction_that_becomes_too_old_is_let_go() {
    let mut rig = Rig::new();
    let old = rig.pay_at("alice", "bob", 1, -WINDOW_US + 10 * SECOND_US.cast_signed());
    let young = rig.pay("alice", "bob", 1);
    rig.relay(vec![old.clone(), young]);
    assert_eq!(rig.wait().notices, []);
    assert_eq!(rig.wait().notices, []);
    let outcome = rig.wait();
    assert_eq!(outcome.notices, [Notice::Expired(old.id())]);
    assert_eq!(rig.node.mempool().len(), 1);
    let reopened = rig.reopened();
    assert_eq!(reopened.node.mempool().len(), 1, "on disk, too");
}

#[test]
fn amounts_are_read_from_their_digits() {
    let rig = Rig::new();
    let good = rig.pay("open0", "open1", 100);
    let text = String::from_utf8(Message::Transactions(vec![good]).encode(rig.network())).unwrap();
    let with = |amount: &str| {
        assert!(text.contains("\"amount\":1.00"));
        text.replace("\"amount\":1.00", &format!("\"amount\":{amount}"))
    };
    for amount in ["1.00", "1.0", "1", "\"1.00\"", "\"1\"", " 1.00 "] {
        let mut rig = Rig::new();
        rig.receive_text(&with(amount));
        assert_eq!(rig.node.mempool().len(), 1, "{amount}");
    }
    for amount in [
        "-1.00",
        "-0",
        "\"-1.00\"",
        "1e2",
        "1E0",
        "1.000",
        "0.001",
        "1e400",
        "1e-400",
        "NaN",
        "\"NaN\"",
        "Infinity",
        "-Infinity",
        "\"inf\"",
        "null",
        "true",
        "[1]",
        "{}",
        "\"\"",
        "\"1.\"",
        "\".5\"",
        "\"+1\"",
        "\"0x1\"",
        "\"1\\u0030\"",
        "01",
        "184467440737095516.16",
        "999999999999999999999999999999",
        "1.",
        ".5",
    ] {
        let mut rig = Rig::new();
        let before = rig.state();
        let outcome = rig.receive_text(&with(amount));
        let is_malformed = matches!(
            &outcome.notices[..],
            [Notice::MessageRefused { from: Some(PEER), error: MessageError::Malformed(_) }]
        );
        assert!(is_malformed, "{amount}: {:?}", outcome.notices);
        assert_eq!(rig.state(), before);
        rig.assert_works();
    }
}

#[test]
fn the_largest_amount_is_an_amount_like_any_other() {
    // Twice the largest amount goes to one account that has some already: nothing may wrap around.
    let mut rig = Rig::new();
    let payments: Vec<Payment> = vec![rig.payment("open0", "alice", u64::MAX); 2];
    let transactions: Vec<_> = payments.into_iter().map(|payment| rig.signed("open0", payment)).collect();
    let outcome = rig.relay(transactions);
    let error = TransactionError::Overspend { balance: Amount(1000), amount: Amount(u64::MAX) };
    assert_eq!(outcome.notices.len(), 2);
    for notice in outcome.notices {
        assert!(matches!(notice, Notice::TransactionRefused { error: it, .. } if it == error));
    }
}

/// A mined payment was told of as refused once the index had forgotten it: a copy without the signature had been.
#[test]
fn a_spoilt_copy_says_nothing_about_a_transaction() {
    let mut rig = Rig::new();
    let transaction = rig.pay("alice", "bob", 1);
    let spoilt = Transaction::new(&rig.network().id, *transaction.payment(), None);
    assert_eq!(spoilt.id(), transaction.id());
    assert_eq!(rig.submit(transaction.clone()), Ok(()));
    assert_eq!(rig.submit(spoilt.clone()), Err(TransactionError::AlreadyPending));
    rig.push(&rig.next(vec![transaction]));
    assert_eq!(rig.submit(spoilt.clone()), Err(TransactionError::AlreadyMined(Height(1))));
    rig.advance(5 * HOUR_US);
    assert!(matches!(rig.submit(spoilt), Err(TransactionError::TooOld { .. })));
}
