//! Store files that something else than a node has written to: every command that reads them, and the node itself, says
//! what is wrong with the file or finds the whole chain; none panics, hangs, or changes the file.

use std::fs;
use std::path::PathBuf;

use quarry_core::units::NodeId;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::{Outcome, Place};

const PAGE_BYTES: usize = 4096;
/// In how many places bytes are flipped, and how many pages are zeroed.
const DRAWS: usize = 14;

/// A node's store, as it was and as it is damaged.
struct Target {
    place: Place,
    store: PathBuf,
    sound: Vec<u8>,
    /// What the node knows.
    answers: Vec<(Vec<String>, Vec<u8>)>,
}

impl Target {
    fn new(is_killed: bool) -> Self {
        let place = Place::open(3);
        let node = place.start(0, &[]);
        let ids = [(); 4].map(|()| place.pay(0, "node0", "node1", "0.50"));
        if is_killed {
            node.kill();
        } else {
            node.stop();
        }
        let store = place.directory().store(NodeId(0));
        let sound = fs::read(&store).unwrap();
        let commands = [&["verify"][..], &["chain"], &["block", "1"], &["balance"], &["tx", &ids[3]]];
        let answers = commands.map(|command| {
            let command: Vec<_> = command.iter().copied().map(str::to_owned).collect();
            let outcome = place.run(&command).succeeds();
            (command, outcome.stdout)
        });
        assert!(sound == fs::read(&store).unwrap(), "reading leaves the file as it is");
        Self { place, store, sound, answers: answers.into() }
    }

    /// Damages the file; answers whether that is noticed. It may have hit what nobody needs.
    #[track_caller]
    fn is_noticed(&self, what: &str, damage: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut bytes = self.sound.clone();
        damage(&mut bytes);
        fs::write(&self.store, &bytes).unwrap();
        let outcomes = self.answers.iter().map(|(command, answer)| {
            let outcome = self.place.run(command);
            let is_noticed = outcome.code != Some(0);
            if is_noticed {
                complains(&format!("{command:?} after {what}"), outcome);
            } else {
                assert!(outcome.stdout == *answer, "{command:?} after {what}: {}", outcome.text());
            }
            is_noticed
        });
        let outcomes: Vec<_> = outcomes.collect();
        assert!(outcomes.iter().all(|it| *it == outcomes[0]), "{what}: {outcomes:?}");
        if outcomes[0] {
            let mut node = self.place.spawn(0, &["--backend", "none"]);
            let code = node.wait().code();
            complains(&format!("start after {what}"), Outcome { code, stdout: vec![], stderr: node.log() });
        }
        assert!(bytes == fs::read(&self.store).unwrap(), "{what}: the file is left as it was found");
        outcomes[0]
    }
}

/// Checks that a program said that the store is damaged, and what to do about it.
#[track_caller]
fn complains(what: &str, outcome: Outcome) {
    let outcome = outcome.exits(1).says("node0.redb").says("hint: move ");
    let is_named = ["is damaged: ", "is not a store"].iter().any(|text| outcome.stderr.contains(text));
    assert!(is_named, "{what}: {}", outcome.stderr);
    assert!(outcome.stdout.is_empty(), "{what}: {}", outcome.text());
}

#[test]
fn whoever_meets_a_damaged_store_says_so() {
    let seed = crate::seed(rand::random());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for is_killed in [false, true] {
        let target = Target::new(is_killed);
        let len = target.sound.len();
        let used: Vec<_> = (0..len).filter(|at| target.sound[*at] != 0).collect();
        assert!(!target.is_noticed("nothing", |_| {}));
        assert!(target.is_noticed("another mark", |bytes| bytes[..9].copy_from_slice(b"something")));
        assert!(target.is_noticed("zeros", |bytes| bytes.fill(0)));
        for share in [2, 10, 1000] {
            assert!(
                target.is_noticed(&format!("its end, from {share}"), |bytes| bytes.truncate(len / share))
            );
        }
        assert!(target.is_noticed("its end, a byte", |bytes| bytes.truncate(len - 1)));
        let (mut flipped, mut zeroed) = (0, 0);
        for draw in 0..DRAWS {
            // A single one mostly hits an old page.
            let flips: Vec<_> = (0..1 << (draw % 7))
                .map(|_| (*used.choose(&mut random).unwrap(), random.random_range(0..8)))
                .collect();
            let what = format!("flipped bits (place, bit) {flips:?}");
            flipped += usize::from(target.is_noticed(&what, |bytes| {
                flips.iter().for_each(|(at, bit)| bytes[*at] ^= 1 << bit);
            }));
            let page = used.choose(&mut random).unwrap() / PAGE_BYTES;
            let what = format!("page {page}");
            zeroed += usize::from(target.is_noticed(&what, |bytes| {
                bytes[page * PAGE_BYTES..][..PAGE_BYTES].fill(0);
            }));
        }
        println!(
            "killed: {is_killed}; of {DRAWS} each: {flipped} flipped bits and {zeroed} zeroed pages noticed"
        );
        assert!(0 < flipped && 0 < zeroed, "most pages are in use");
    }
}
