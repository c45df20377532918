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

    /// Drops a log that is no more.
    pub(super) fn forget(&self, log: &LogName) {
        let mut state = self.state();
        if let Some(unfinished) = state.logs.remove(log) {
            *state.in_flight(log.kind) -= unfinished.pending.len();
        }
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
