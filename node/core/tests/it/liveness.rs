//! Who is still sent something, and how far away each peer is.

use quarry_core::effect::{Event, Notice};
use quarry_core::message::{Message, Status};
use quarry_core::peers::{Liveness, Peer, UNLISTED_MAX};
use quarry_core::target::Work;
use quarry_core::units::{Height, NodeId};

use crate::rig::{BYSTANDER, Outcome, PEER, Rig, SECOND_US, SELF};
use crate::sync::{asks, claim, headers, request};

fn peer(rig: &Rig, id: NodeId) -> &Peer {
    rig.node.peers().iter().find(|(it, _)| *it == id).unwrap().1
}

/// A peer that has nothing but the first block says so.
pub(crate) fn status(rig: &Rig, from: NodeId, reply_to: Option<u64>) -> Message {
    let (nonce, tip) = (rig.now.elapsed_us, rig.node.network().genesis.hash());
    let (height, work) = (Height(0), Work::default());
    Message::Status(Status { from, nonce, tip, height, work, reply_wanted: false, reply_to })
}

/// The statuses that a peer was sent.
fn statuses(outcome: &Outcome, to: NodeId) -> Vec<&Status> {
    let sent = outcome.sent.iter().filter(|(it, _)| *it == to);
    sent.filter_map(|(_, message)| if let Message::Status(status) = message { Some(status) } else { None })
        .collect()
}

/// Five seconds later, at the end of which the bystander says something.
fn round(rig: &mut Rig) -> Outcome {
    rig.advance(5 * SECOND_US);
    let outcome = rig.step(Event::Tick);
    let word = status(rig, BYSTANDER, None);
    rig.receive(Some(BYSTANDER), &word);
    outcome
}

/// A node whose peer, but not the bystander, has been silent for so long that it is parked.
fn parked() -> Rig {
    let mut rig = Rig::new();
    (0..7).for_each(|_| drop(round(&mut rig)));
    assert_eq!(peer(&rig, PEER).liveness, Liveness::Parked);
    rig
}

#[test]
fn a_silent_peer_is_asked_and_then_left_alone() {
    let mut rig = Rig::new();
    for number in 1..=60 {
        let outcome = round(&mut rig);
        let sent = statuses(&outcome, PEER);
        match number {
            1..=3 => assert_eq!((sent.len(), peer(&rig, PEER).liveness), (1, Liveness::Alive)),
            4..=6 => {
                assert!(sent[0].reply_wanted);
                assert_eq!((sent.len(), peer(&rig, PEER).liveness), (1, Liveness::Suspect));
            }
            // Asked once a minute from the 35th second on.
            19 | 31 | 43 | 55 => assert!(sent[0].reply_wanted),
            _ => assert!(outcome.to_peer().is_empty(), "round {number}"),
        }
        let notices = if number == 7 { vec![Notice::PeerSilent(PEER)] } else { Vec::new() };
        assert_eq!(outcome.notices, notices);
        assert_eq!(statuses(&outcome, BYSTANDER).len(), 1);
        assert_eq!(peer(&rig, BYSTANDER).liveness, Liveness::Alive);
    }
}

#[test]
fn frequent_statuses_do_not_make_a_peer_silent_any_sooner() {
    let mut rig =
        Rig::open(std::sync::Arc::clone(Rig::new().node.network()), Default::default(), |options| {
            (options.status_interval_us, options.status_interval_max_us) = (SECOND_US, SECOND_US);
        });
    for _ in 1..30 {
        rig.wait();
        assert_ne!(peer(&rig, PEER).liveness, Liveness::Parked);
    }
    rig.wait();
    assert_eq!(peer(&rig, PEER).liveness, Liveness::Parked);
}

#[test]
fn a_word_at_any_time_keeps_a_peer_alive() {
    let mut rig = Rig::new();
    for _ in 0..30 {
        (0..6).for_each(|_| drop(round(&mut rig)));
        assert_eq!(peer(&rig, PEER).liveness, Liveness::Suspect);
        let word = rig.pay("alice", "bob", 1);
        rig.relay(vec![word]);
        assert_eq!(peer(&rig, PEER).liveness, Liveness::Alive);
    }
}

#[test]
fn a_parked_peer_that_speaks_is_told_everything_at_once() {
    let mut rig = parked();
    let before = rig.pay_at("alice", "bob", 1, 0);
    assert_eq!(rig.submit(before.clone()), Ok(()));
    rig.advance(2 * SECOND_US);
    let outcome = rig.step(Event::Tick);
    assert!(outcome.to_peer().is_empty());
    assert!(outcome.sent.contains(&(BYSTANDER, Message::Transactions(vec![before.clone()]))));
    // The first word is not a status.
    let word = rig.pay_at("open0", "bob", 1, 0);
    let outcome = rig.relay(vec![word.clone()]);
    assert_eq!(outcome.notices, [Notice::PeerBack(PEER), Notice::Pending(word.id())]);
    let [Message::Status(status), Message::Transactions(list)] = &outcome.to_peer()[..] else {
        panic!("{outcome:?}")
    };
    assert!(!status.reply_wanted);
    assert_eq!(list, &[before], "what it has missed");
    assert!(rig.relay(vec![word]).sent.is_empty(), "once");
    assert_eq!(statuses(&round(&mut rig), PEER).len(), 1, "and from there on like everybody");
}

#[test]
fn a_question_from_a_parked_peer_gets_one_answer() {
    let mut rig = parked();
    let Message::Status(question) = status(&rig, PEER, None) else { unreachable!() };
    let nonce = question.nonce;
    let outcome = rig.receive(Some(PEER), &Message::Status(Status { reply_wanted: true, ..question }));
    let [Message::Status(answer)] = &outcome.to_peer()[..] else { panic!("{outcome:?}") };
    assert_eq!((answer.reply_to, answer.reply_wanted), (Some(nonce), false));
}

#[test]
fn who_stops_is_parked_at_once() {
    let mut rig = Rig::new();
    let bye = Message::Bye { from: PEER, nonce: 1 };
    assert_eq!(rig.receive(Some(PEER), &bye).notices, [Notice::PeerStopped(PEER)]);
    assert_eq!(rig.receive(Some(PEER), &bye).notices, [], "no news");
    assert!(peer(&rig, PEER).stopped);
    for number in 1..=24 {
        let expected = usize::from(number % 12 == 0);
        assert_eq!(round(&mut rig).to_peer().len(), expected, "asked once a minute");
    }
    let word = status(&rig, PEER, None);
    assert_eq!(rig.receive(Some(PEER), &word).notices, [Notice::PeerBack(PEER)]);
    assert!(!peer(&rig, PEER).stopped);
}

/// Stopping and coming back costs a peer two small messages; what that makes this node send must not be large.
#[test]
fn who_comes_and_goes_does_not_get_everything_each_time() {
    let mut rig = Rig::new();
    for later_us in 0..100 {
        assert_eq!(rig.submit(rig.pay_at("alice", "bob", 1, later_us)), Ok(()));
    }
    let mut fed = 0;
    for nonce in 0..120 {
        rig.receive(Some(PEER), &Message::Bye { from: PEER, nonce });
        assert_eq!(rig.submit(rig.pay_at("open0", "bob", 1, 0)), Ok(()));
        rig.advance(SECOND_US);
        rig.step(Event::Tick);
        let word = status(&rig, PEER, None);
        let outcome = rig.receive(Some(PEER), &word);
        fed += outcome.to_peer().iter().filter(|it| matches!(it, Message::Transactions(_))).count();
    }
    assert!((2..=3).contains(&fed), "{fed} times in two minutes");
}

#[test]
fn a_block_does_not_wait_for_peers_that_are_gone() {
    let mut rig = Rig::mining();
    rig.receive(Some(PEER), &Message::Bye { from: PEER, nonce: 1 });
    assert_eq!(rig.submit(rig.pay("open0", "bob", 1)), Ok(()));
    rig.wait();
    let outcome = rig.find();
    let is_block = |message: &Message| matches!(message, Message::Block(_));
    let told: Vec<_> = outcome.sent.iter().filter(|(_, it)| is_block(it)).map(|(to, _)| *to).collect();
    assert_eq!(told, [BYSTANDER]);
    assert_eq!(rig.store().outbox.len(), 1);
    rig.step(Event::Announced(outcome.announcements[0]));
    assert!(rig.store().outbox.is_empty());

    rig.receive(Some(BYSTANDER), &Message::Bye { from: BYSTANDER, nonce: 1 });
    assert_eq!(rig.submit(rig.pay("open1", "bob", 1)), Ok(()));
    rig.advance(SECOND_US);
    rig.step(Event::Tick);
    assert!(rig.find().announcements.is_empty());
    assert!(rig.store().outbox.is_empty(), "nobody is there to hear of it");
}

#[test]
fn a_parked_peer_is_not_asked_for_its_chain() {
    let mut rig = Rig::new();
    let asked = request(&claim(&mut rig, PEER, 9), PEER);
    headers(&mut rig, asked.nonce, &[], true);
    rig.receive(Some(PEER), &Message::Bye { from: PEER, nonce: 1 });
    for _ in 0..30 {
        assert!(!asks(&round(&mut rig)));
    }
}

/// Both sides of a cut give each other up. If both then waited to hear from the other, that would be for good.
#[test]
fn two_that_gave_each_other_up_find_each_other_again() {
    let network = std::sync::Arc::clone(Rig::new().node.network());
    let mut rigs = [0, 1].map(|id| {
        let mut rig = Rig::open(std::sync::Arc::clone(&network), Default::default(), |options| {
            (options.id, options.seed) = (NodeId(id), u64::from(id) << 32);
        });
        rig.step(Event::Peers(vec![NodeId(0), NodeId(1)]));
        rig
    });
    let liveness = |rigs: &[Rig; 2]| [peer(&rigs[0], NodeId(1)).liveness, peer(&rigs[1], NodeId(0)).liveness];
    let run = |rigs: &mut [Rig; 2], seconds: u64, is_cut: bool| {
        let mut delivered = 0;
        for _ in 0..seconds {
            let mut mail = Vec::new();
            for (id, rig) in rigs.iter_mut().enumerate() {
                rig.advance(SECOND_US);
                mail.extend(rig.step(Event::Tick).sent.into_iter().map(|it| (id, it.0, it.1)));
            }
            while let Some((from, to, message)) = mail.pop().filter(|_| !is_cut) {
                delivered += 1;
                let (from, to) = (NodeId(u16::try_from(from).unwrap()), usize::from(to.0));
                let outcome = rigs[to].receive(Some(from), &message);
                mail.extend(outcome.sent.into_iter().map(|it| (to, it.0, it.1)));
            }
        }
        delivered
    };
    run(&mut rigs, 60, false);
    assert_eq!(liveness(&rigs), [Liveness::Alive; 2]);
    run(&mut rigs, 600, true);
    assert_eq!(liveness(&rigs), [Liveness::Parked; 2]);
    let messages = run(&mut rigs, 66, false);
    assert_eq!(liveness(&rigs), [Liveness::Alive; 2]);
    assert!(messages < 100, "and come to rest: {messages}");
}

/// The question that is on its way to the peer, after so many rounds.
fn asked(rig: &mut Rig) -> u64 {
    for _ in 0..2 {
        let outcome = round(rig);
        if let Some(status) = statuses(&outcome, PEER).into_iter().find(|status| status.reply_wanted) {
            return status.nonce;
        }
    }
    panic!("each is asked in turn")
}

/// A node with its peers, none of whom has been asked anything that is not too long ago to be answered.
fn rested() -> Rig {
    let mut rig = Rig::new();
    let word = status(&rig, PEER, None);
    rig.receive(Some(PEER), &word);
    rig.advance(5 * SECOND_US);
    rig.step(Event::Tick);
    rig.receive(Some(PEER), &word);
    rig.advance(10 * SECOND_US);
    rig
}

#[test]
fn a_reply_tells_how_far_away_a_peer_is() {
    let mut rig = rested();
    let mut smoothed: Option<f64> = None;
    for last_us in [80_000, 40_000, 1_000_000, 40_000, 40_000, 0] {
        let nonce = asked(&mut rig);
        rig.advance(last_us);
        let reply = status(&rig, PEER, Some(nonce));
        rig.receive(Some(PEER), &reply);
        let seen = peer(&rig, PEER).round_trip.unwrap();
        assert_eq!(seen.last_us, last_us);
        let last = last_us as f64;
        smoothed = Some(smoothed.map_or(last, |before| before * 0.875 + last * 0.125));
        assert!((seen.smoothed_us as f64 - smoothed.unwrap()).abs() < 10.0);
        assert_eq!(peer(&rig, PEER).delay_us(), Some(seen.smoothed_us / 2));
        // The same once more, later.
        rig.advance(SECOND_US);
        rig.receive(Some(PEER), &reply);
        assert_eq!(peer(&rig, PEER).round_trip, Some(seen));
    }
}

#[test]
fn only_the_reply_that_is_waited_for_counts() {
    let mut rig = rested();
    let nonce = asked(&mut rig);
    for (from, nonce) in [(PEER, nonce + 1), (PEER, nonce - 1), (PEER, 0), (BYSTANDER, nonce)] {
        let reply = status(&rig, from, Some(nonce));
        rig.receive(Some(from), &reply);
        assert_eq!(peer(&rig, from).round_trip, None);
    }
    // After the time-out a reply says how long the peer was away, not how far.
    rig.advance(10 * SECOND_US + 1);
    let late = status(&rig, PEER, Some(nonce));
    rig.receive(Some(PEER), &late);
    assert_eq!(peer(&rig, PEER).round_trip, None);
    assert_eq!(peer(&rig, PEER).heard_us, Some(rig.now.elapsed_us), "but it was heard of");
}

/// A peer eight seconds away answers each question after the next has been asked.
#[test]
fn a_peer_further_away_than_statuses_are_apart_has_a_delay() {
    let mut rig = Rig::new();
    rig.step(Event::Peers(vec![SELF, PEER]));
    // Until the question at its arrival is too old.
    (0..2).for_each(|_| drop(round(&mut rig)));
    rig.advance(5 * SECOND_US);
    let outcome = rig.step(Event::Tick);
    let nonce = statuses(&outcome, PEER)[0].nonce;
    rig.advance(5 * SECOND_US);
    assert!(statuses(&rig.step(Event::Tick), PEER)[0].reply_wanted, "it is the only one");
    rig.advance(3 * SECOND_US);
    let reply = status(&rig, PEER, Some(nonce));
    rig.receive(Some(PEER), &reply);
    assert_eq!(peer(&rig, PEER).round_trip.unwrap().last_us, 8 * SECOND_US);
}

#[test]
fn peers_are_asked_in_turn() {
    let mut rig = Rig::new();
    let members: Vec<NodeId> = (0..6).map(NodeId).collect();
    rig.step(Event::Peers(members.clone()));
    let mut turns = Vec::new();
    for _ in 0..10 {
        rig.advance(5 * SECOND_US);
        let outcome = rig.step(Event::Tick);
        let wanting = |id: &&NodeId| statuses(&outcome, **id).iter().any(|status| status.reply_wanted);
        turns.extend(members.iter().filter(wanting).map(|id| id.0));
        for id in &members[1..] {
            let word = status(&rig, *id, None);
            rig.receive(Some(*id), &word);
        }
    }
    assert_eq!(turns, [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);
}

/// Whoever can write to a node's inbox can name himself as he likes.
#[test]
fn nodes_that_nobody_lists_are_few() {
    let mut rig = Rig::new();
    for id in 100..1000 {
        let word = status(&rig, NodeId(id), None);
        rig.receive(Some(NodeId(id)), &word);
    }
    assert_eq!(rig.node.peers().ids().len(), 2 + UNLISTED_MAX);
    // Nor does anybody get more for having been there first.
    let word = status(&rig, PEER, None);
    rig.receive(Some(PEER), &word);
    assert!(peer(&rig, PEER).claim.is_some());
    (0..7).for_each(|_| drop(round(&mut rig)));
    assert_eq!(rig.node.peers().ids(), [PEER, BYSTANDER], "they are not there to come back");
}

/// When statuses go out, in seconds, up to `end`, where nothing else happens.
fn status_times(rig: &mut Rig, end: u64) -> Vec<u64> {
    let mut times = Vec::new();
    while rig.node.deadline() <= end * SECOND_US {
        let outcome = rig.wait();
        if !statuses(&outcome, PEER).is_empty() {
            times.push(rig.now.elapsed_us / SECOND_US);
        }
        let word = status(rig, PEER, None);
        rig.receive(Some(PEER), &word);
    }
    times
}

#[test]
fn statuses_grow_rare_while_the_tip_rests() {
    let mut rig =
        Rig::open(std::sync::Arc::clone(Rig::new().node.network()), Default::default(), |options| {
            options.status_interval_max_us = 300 * SECOND_US;
        });
    assert_eq!(status_times(&mut rig, 1300), [5, 15, 35, 75, 155, 315, 615, 915, 1215]);
    // A block a second brings the next one forward to five seconds after the first, and does not put it off.
    let mut times = Vec::new();
    while rig.now.elapsed_us < 1227 * SECOND_US {
        rig.advance(SECOND_US);
        let block = rig.next(Vec::new());
        let outcome = rig.push(&block);
        times.extend(statuses(&outcome, PEER).first().map(|_| rig.now.elapsed_us / SECOND_US));
    }
    assert_eq!(times, [1221, 1227]);
    assert_eq!(status_times(&mut rig, 1300), [1237, 1257, 1297]);
}

/// The fewer statuses a node sends the longer it takes to notice a silence, or everybody who rests would be parked.
#[test]
fn a_peers_silence_is_counted_in_statuses() {
    let mut rig =
        Rig::open(std::sync::Arc::clone(Rig::new().node.network()), Default::default(), |options| {
            options.status_interval_max_us = 300 * SECOND_US;
        });
    while peer(&rig, PEER).liveness != Liveness::Parked {
        rig.wait();
    }
    assert_eq!(rig.now.elapsed_us, 615 * SECOND_US, "the seventh");
}
