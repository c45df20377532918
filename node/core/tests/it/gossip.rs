//! How news gets around where there are too many nodes to tell each.

use std::collections::BTreeSet;
use std::sync::Arc;

use quarry_core::effect::{Event, Notice};
use quarry_core::message::Message;
use quarry_core::node::{EXCHANGES, MESH_MAX, fan_out};
use quarry_core::peers::Liveness;
use quarry_core::units::NodeId;

use crate::liveness::status;
use crate::rig::{Outcome, PEER, Rig, SECOND_US, search_miss};

const NODES: u16 = 100;
const TOLD: usize = 6;

/// The node of a rig among many.
fn among_many(mut rig: Rig) -> Rig {
    rig.step(Event::Peers((0..NODES).map(NodeId).collect()));
    rig
}

/// Who was sent a message like this; nobody twice.
fn told(outcome: &Outcome, is_meant: impl Fn(&Message) -> bool) -> BTreeSet<NodeId> {
    let told: Vec<_> = outcome.sent.iter().filter(|(_, it)| is_meant(it)).map(|(to, _)| *to).collect();
    let distinct: BTreeSet<_> = told.iter().copied().collect();
    assert_eq!(distinct.len(), told.len());
    distinct
}

fn is_block(message: &Message) -> bool {
    matches!(message, Message::Block(_))
}

fn is_question(message: &Message) -> bool {
    matches!(message, Message::Status(status) if status.reply_wanted)
}

fn is_transactions(message: &Message) -> bool {
    matches!(message, Message::Transactions(_))
}

#[test]
fn the_number_that_is_told_grows_gently() {
    let grown: Vec<_> = [0, 1, 2, 3, 16, 31, 99, 999, 65_535].into_iter().map(fan_out).collect();
    assert_eq!(grown, [0, 1, 1, 1, 4, 4, TOLD, 9, 15]);
}

#[test]
fn all_are_told_up_to_a_number_of_peers() {
    for peers in [MESH_MAX, MESH_MAX + 1] {
        let mut rig = Rig::new();
        rig.step(Event::Peers((0..=u16::try_from(peers).unwrap()).map(NodeId).collect()));
        let outcome = rig.wait();
        let messages = outcome.sent.iter().filter(|(_, it)| matches!(it, Message::Status(_))).count();
        assert_eq!(messages, if peers == MESH_MAX { MESH_MAX } else { EXCHANGES });
    }
}

#[test]
fn a_finder_tells_a_few_others_each_time() {
    let mut rig = among_many(Rig::mining());
    let mut all = BTreeSet::new();
    for round in 1..=25 {
        assert_eq!(rig.submit(rig.pay("open0", "bob", 1)), Ok(()));
        rig.advance(SECOND_US);
        rig.step(Event::Tick);
        let outcome = rig.find();
        let told = told(&outcome, is_block);
        assert_eq!((told.len(), outcome.announcements.len()), (TOLD, TOLD));
        rig.step(Event::Announced(outcome.announcements[0]));
        assert!(rig.store().outbox.is_empty());
        all.extend(told);
        assert!(round == 1 || TOLD < all.len(), "drawn afresh");
    }
    assert!(60 < all.len(), "{}", all.len());
}

#[test]
fn who_hears_a_block_first_passes_it_on_once() {
    let mut rig = among_many(Rig::new());
    let block = rig.next(Vec::new());
    assert_eq!(told(&rig.push(&block), is_block).len(), TOLD);
    assert!(rig.push(&block).sent.is_empty());
    // Few peers have been told by the finder.
    let mut rig = Rig::new();
    let block = rig.next(Vec::new());
    assert!(told(&rig.push(&block), is_block).is_empty());
}

#[test]
fn only_a_better_tip_is_passed_on() {
    let mut rig = among_many(Rig::new());
    let parent = rig.node.tip().header;
    let branch = rig.branch(&parent, 2, 1);
    rig.push(&branch[0]);
    rig.push(&branch[1]);
    let side = rig.branch(&parent, 1, 2);
    let mut bad = rig.next(Vec::new());
    bad.header = search_miss(bad.header);
    let orphan = rig.branch(&side[0].header, 3, 3).pop().unwrap();
    for block in [&side[0], &bad, &orphan] {
        assert!(told(&rig.push(block), is_block).is_empty());
    }
}

#[test]
fn a_peers_transaction_is_sent_on_once_when_the_window_ends() {
    let mut rig = among_many(Rig::new());
    let transaction = rig.pay("alice", "bob", 1);
    let heard = Message::Transactions(vec![transaction]);
    assert!(told(&rig.receive(Some(PEER), &heard), is_transactions).is_empty());
    // Hearing it from more peers does not keep it from those that they have not told.
    rig.receive(Some(NodeId(7)), &heard);
    let mut told_count = 0;
    for second in 0..100 {
        rig.advance(SECOND_US);
        let told = told(&rig.step(Event::Tick), is_transactions);
        assert!(second <= 1 || told.is_empty());
        told_count += told.len();
        rig.receive(Some(NodeId(8)), &heard);
    }
    assert_eq!(told_count, TOLD);
}

/// Who is asked in each of so many rounds; all of them answer, or none.
fn rounds(rig: &mut Rig, count: usize, all_answer: bool) -> Vec<BTreeSet<NodeId>> {
    let mut asked_in_rounds = Vec::new();
    for _ in 0..count {
        let asked = told(&rig.wait(), is_question);
        for id in asked.iter().filter(|_| all_answer) {
            let word = status(rig, *id, None);
            rig.receive(Some(*id), &word);
        }
        asked_in_rounds.push(asked);
    }
    asked_in_rounds
}

#[test]
fn statuses_are_exchanged_with_all_in_turn() {
    let mut rig = among_many(Rig::new());
    let mut asked = BTreeSet::new();
    for round in rounds(&mut rig, 50, true) {
        assert_eq!(round.len(), EXCHANGES);
        asked.extend(round);
    }
    assert_eq!(asked.len(), usize::from(NODES) - 1);
    assert!(rig.node.peers().iter().all(|(_, peer)| peer.liveness == Liveness::Alive));
}

/// Nobody is taken for silent who was not asked, and for each that stays silent another is asked.
#[test]
fn who_does_not_answer_is_asked_again_and_then_left_alone() {
    let mut rig = among_many(Rig::new());
    let asked = rounds(&mut rig, 6, false);
    assert_eq!(asked[0], [1, 2].map(NodeId).into());
    assert_eq!(asked[1], (1..=4).map(NodeId).collect());
    assert_eq!(asked[2], (1..=8).map(NodeId).collect());
    let counts: Vec<_> = asked.iter().map(BTreeSet::len).collect();
    assert_eq!(counts, [2, 4, 8, 14, 24, 40], "at most 18 more a round");
    let outcome = rig.wait();
    assert_eq!(outcome.notices, [1, 2].map(|id| Notice::PeerSilent(NodeId(id))));
    let all_but_two = (3..=58).map(NodeId).collect();
    assert_eq!(told(&outcome, is_question), all_but_two);
    // Those who are given up are asked whether they are back, one in a round.
    let later = rounds(&mut rig, 60, true);
    assert!(later[1..].iter().all(|asked| asked.len() <= EXCHANGES + 1));
    assert!(rig.node.peers().iter().all(|(_, peer)| peer.liveness == Liveness::Alive));
}

/// Of 60 queues four are read: what goes to six of sixty would reach none of them.
#[test]
fn few_among_many_who_are_gone_tell_each_other_all() {
    let mut rig = Rig::new();
    rig.step(Event::Peers((0..60).map(NodeId).collect()));
    let live: BTreeSet<_> = [5, 33, 59].map(NodeId).into();
    let mut rounds = 0;
    while rig.node.peers().listed() != live.len() {
        let asked = told(&rig.wait(), is_question);
        for id in asked.intersection(&live) {
            let word = status(&rig, *id, None);
            rig.receive(Some(*id), &word);
        }
        rounds += 1;
    }
    assert_eq!(rounds, 14);
    let block = rig.next(Vec::new());
    assert!(told(&rig.push(&block), is_block).is_empty(), "its finder has told everybody");
    let told_of_it = told(&rig.wait(), |it| matches!(it, Message::Status(_)));
    assert!(live.is_subset(&told_of_it));
}

#[test]
fn an_old_block_from_the_inbox_is_no_news() {
    let mut rig = among_many(Rig::new());
    let block = rig.next(Vec::new());
    rig.advance(301 * SECOND_US);
    assert!(told(&rig.push(&block), is_block).is_empty());
    assert_eq!(rig.node.tip().hash, block.header.hash());
}

#[test]
fn all_hear_who_leaves() {
    let mut rig = among_many(Rig::new());
    let told = told(&rig.step(Event::Stopping), |it| matches!(it, Message::Bye { .. }));
    assert_eq!(told.len(), usize::from(NODES) - 1);
}

#[test]
fn who_comes_asks_some_and_is_not_asked_by_all() {
    let network = Arc::clone(Rig::new().node.network());
    let mut rig = Rig::open(network, Default::default(), |_| {});
    rig.step(Event::Peers(Vec::new()));
    let many: Vec<_> = (0..NODES).map(NodeId).collect();
    let outcome = rig.step(Event::Peers(many.clone()));
    assert_eq!(told(&outcome, is_question).len(), TOLD);
    assert_eq!(outcome.notices.len(), many.len() - 1);
    let outcome = rig.step(Event::Peers(many.into_iter().chain([NodeId(NODES)]).collect()));
    assert!(outcome.sent.is_empty());
}
