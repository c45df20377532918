//! Which messages have been received and not deleted yet.
//! Invariant: a message is handed to the node once, even where the queue hands it out again meanwhile.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

use crate::transport::Kind;

/// No more are received while so many are not acknowledged; SQS itself allows 120,000.
const HELD_MAX: usize = 20_000;
/// How many that are done with are remembered, for their deletion may fail.
const DONE_MAX: usize = 20_000;

/// The messages that this process has received.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    numbers: HashMap<String, u64>,
    /// In the order of their arrival.
    held: BTreeMap<u64, Deletion>,
    done: HashSet<String>,
    done_in_order: VecDeque<String>,
}

/// What is needed to delete a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deletion {
    pub(super) id: String,
    /// Of the last time that it was received.
    pub(super) handle: String,
    pub(super) kind: Kind,
    /// More wait behind it, so its deletion is not to wait for others.
    pub(super) hurry: bool,
}

/// What is to be done with a received message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is handed to the node.
    New,
    /// The node has it already.
    Again,
    /// The node is done with it: it is deleted again.
    Done,
}

impl Held {
    /// Notes a received message.
    pub(super) fn arrive(&self, message: Deletion) -> Arrival {
        let mut state = self.state();
        if let Some(number) = state.numbers.get(&message.id).copied() {
            state.held.insert(number, message);
            return Arrival::Again;
        }
        if state.done.contains(&message.id) {
            return Arrival::Done;
        }
        let number = state.next;
        state.next += 1;
        state.numbers.insert(message.id.clone(), number);
        state.held.insert(number, message);
        Arrival::New
    }

    /// Notes that the node is done with a message: how to delete it. Nothing where that was said before.
    pub(super) fn acknowledge(&self, id: &str) -> Option<Deletion> {
        let mut state = self.state();
        let number = state.numbers.remove(id)?;
        let deletion = state.held.remove(&number)?;
        state.done.insert(deletion.id.clone());
        state.done_in_order.push_back(deletion.id.clone());
        if DONE_MAX < state.done_in_order.len() {
            let oldest = state.done_in_order.pop_front();
            oldest.map(|id| state.done.remove(&id));
        }
        Some(deletion)
    }

    /// Whether more may be received.
    pub(super) fn has_room(&self) -> bool {
        self.state().held.len() < HELD_MAX
    }

    /// Whether the node is done with all of them.
    pub(super) fn is_empty(&self) -> bool {
        self.state().held.is_empty()
    }

    /// Those that the node is not done with, in the order of their arrival.
    pub(super) fn take_all(&self) -> Vec<Deletion> {
        let mut state = self.state();
        state.numbers.clear();
        std::mem::take(&mut state.held).into_values().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing that holds the lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, handle: &str) -> Deletion {
        Deletion { id: id.into(), handle: handle.into(), kind: Kind::Chain, hurry: false }
    }

    #[test]
    fn a_message_is_new_once_and_deleted_by_its_last_handle() {
        let held = Held::default();
        assert_eq!(held.arrive(message("a", "1")), Arrival::New);
        assert_eq!(held.arrive(message("b", "1")), Arrival::New);
        assert_eq!(held.arrive(message("a", "2")), Arrival::Again);
        assert_eq!(held.acknowledge("a"), Some(message("a", "2")));
        assert_eq!(held.acknowledge("a"), None);
        assert_eq!(held.arrive(message("a", "3")), Arrival::Done, "its deletion has failed");
        assert_eq!(held.take_all(), [message("b", "1")]);
        assert_eq!(held.acknowledge("b"), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let held = Held::default();
        for number in 0..=DONE_MAX {
            held.arrive(message(&number.to_string(), ""));
            held.acknowledge(&number.to_string());
        }
        assert_eq!(held.arrive(message("0", "")), Arrival::New, "the oldest is forgotten");
        assert_eq!(held.arrive(message("1", "")), Arrival::Done);
        // One is held from above.
        for number in 1..HELD_MAX {
            assert!(held.has_room());
            held.arrive(message(&format!("held {number}"), ""));
        }
        assert!(!held.has_room());
    }
}
