//! What is delivered and not yet acknowledged, shared by the thread that delivers and those that acknowledge.
//! Invariant: a stored cursor never passes a message that is not acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::transport::local::cursor::{Cursor, Place};
use crate::transport::local::names::LogName;
use crate::transport::{Kind, TransportError};

/// How many messages of a kind may wait for their acknowledgement before delivery pauses; the figure is SQS's.
const IN_FLIGHT_MAX: usize = 120_000;

/// Which message a receipt is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(super) log: Arc<LogName>,
    pub(super) place: Place,
}

/// The unacknowledged messages of an inbox, and its cursors.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    logs: BTreeMap<Arc<LogName>, Unfinished>,
    chain: usize,
    transactions: usize,
}

#[derive(Debug)]
struct Unfinished {
    pending: BTreeSet<Place>,
    read_to: Place,
    cursor: Cursor,
}

impl Progress {
    /// Takes a log in that is read from its cursor on.
    pub(super) fn begin(&self, log: &Arc<LogName>, cursor: Cursor) {
        let read_to = cursor.place();
        self.state().logs.insert(log.clone(), Unfinished { pending: BTreeSet::new(), read_to, cursor });
    }

    /// Notes messages that are about to be delivered, and that everything else before `read_to` needs no delivery.
    pub(super) fn deliver(&self, log: &LogName, places: impl Iterator<Item = Place>, read_to: Place) {
        let mut state = self.state();
        if let Some(unfinished) = state.logs.get_mut(log) {
            let before = unfinished.pending.len();
            unfinished.pending.extend(places);
            unfinished.read_to = read_to;
            let added = unfinished.pending.len() - before;
            *state.in_flight(log.kind) += added;
        }
    }

    /// Notes acknowledgements and stores the cursors that they move. True where delivery had paused for want of them.
    ///
    /// A second acknowledgement of a message does nothing.
    pub(super) fn acknowledge(
        &self,
        positions: impl Iterator<Item = Position>,
    ) -> Result<bool, TransportError> {
        let mut state = self.state();
        let paused = [Kind::Chain, Kind::Transactions].map(|kind| IN_FLIGHT_MAX <= *state.in_flight(kind));
        let mut touched = BTreeSet::new();
        for Position { log, place } in positions {
            let known = state.logs.get_mut(&log).is_some_and(|unfinished| unfinished.pending.remove(&place));
            if known {
                *state.in_flight(log.kind) -= 1;
                touched.insert(log);
            }
        }
        let mut stored = Ok(());
        for log in &touched {
            if let Some(unfinished) = state.logs.get_mut(log) {
                stored = stored.and(unfinished.store());
            }
        }
        stored.map(|()| paused.contains(&true))
    }

    /// Stores how far a log is done where only skipped messages moved it, and says how far that is.
    pub(super) fn settle(&self, log: &LogName) -> Result<Place, TransportError> {
        match self.state().logs.get_mut(log) {
            Some(unfinished) => unfinished.store().map(|()| unfinished.cursor.place()),
            None => Ok(Place::default()),
        }
    }

    /// Drops a log that is no more. True where messages of it are not acknowledged.
    pub(super) fn forget(&self, log: &LogName) -> bool {
        let mut state = self.state();
        let pending = state.logs.remove(log).map_or(0, |unfinished| unfinished.pending.len());
        *state.in_flight(log.kind) -= pending;
        0 < pending
    }

    /// Whether so many messages of a kind are unacknowledged that no more should be delivered.
    pub(super) fn is_paused(&self, kind: Kind) -> bool {
        IN_FLIGHT_MAX <= *self.state().in_flight(kind)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing that holds the lock panics")
    }
}

impl State {
    fn in_flight(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Chain => &mut self.chain,
            Kind::Transactions => &mut self.transactions,
        }
    }
}

impl Unfinished {
    fn store(&mut self) -> Result<(), TransportError> {
        let done = self.pending.first().copied().unwrap_or(self.read_to);
        self.cursor.store(done)
    }
}

#[cfg(test)]
mod tests {
    use quarry_core::units::NodeId;

    use super::*;
    use crate::transport::local::names::Sender;

    fn place(offset: u64) -> Place {
        Place { segment: 1, offset }
    }

    #[test]
    fn the_cursor_waits_for_the_oldest_unacknowledged_message() {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(LogName { sender: Sender::Node(NodeId(1)), kind: Kind::Chain });
        let stored = || Cursor::load(log.cursor(dir.path()), false).unwrap().place();
        let progress = Progress::default();
        progress.begin(&log, Cursor::beginning(log.cursor(dir.path()), false));
        progress.deliver(&log, [place(0), place(20), place(40)].into_iter(), place(90));

        let acknowledge = |offset| {
            let position = Position { log: log.clone(), place: place(offset) };
            progress.acknowledge([position.clone(), position].into_iter()).unwrap();
        };
        for (offset, done) in [(20, 0), (0, 40), (0, 40), (40, 90)] {
            acknowledge(offset);
            assert_eq!(stored(), place(done), "after {offset}");
        }
        progress.deliver(&log, [].into_iter(), place(120));
        assert_eq!(stored(), place(90));
        assert_eq!(progress.settle(&log), Ok(place(120)));
        assert_eq!(stored(), place(120));
    }

    #[test]
    fn delivery_pauses_while_too_much_is_unacknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(LogName { sender: Sender::Node(NodeId(1)), kind: Kind::Transactions });
        let progress = Progress::default();
        progress.begin(&log, Cursor::beginning(log.cursor(dir.path()), false));
        let max = IN_FLIGHT_MAX as u64;
        progress.deliver(&log, (0..max - 1).map(place), place(max - 1));
        assert!(!progress.is_paused(Kind::Transactions));
        progress.deliver(&log, [place(max - 1)].into_iter(), place(max));
        assert!(progress.is_paused(Kind::Transactions) && !progress.is_paused(Kind::Chain));

        let acknowledge = |offset| {
            progress.acknowledge([Position { log: log.clone(), place: place(offset) }].into_iter()).unwrap()
        };
        assert!(acknowledge(5), "this one lets the delivery go on");
        assert!(!progress.is_paused(Kind::Transactions));
        assert!(!acknowledge(6));
        assert!(progress.forget(&log) && !progress.forget(&log));
        assert!(!progress.is_paused(Kind::Transactions));
    }
}
