//! The transport over SQS: the contract, against an emulator.

pub(crate) mod emulator;
mod faults;
pub(crate) mod inbox;
mod process;
pub(crate) mod proxy;
mod queues;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use node::transport::sqs::{self, Access, Options};
use node::transport::{Transport, TransportError};
use quarry_core::units::NodeId;

use self::emulator::Emulator;
use super::{Fixture, contract, every_contract_test, overtake_a_backlog};

/// A network of queues with names of its own.
pub(crate) struct Queues {
    pub(crate) options: Options,
}

impl Fixture for Queues {
    const MESSAGE_BYTES_MAX: usize = 255 << 10;
    // Several batches; each wakes the emulator's polls, which takes a tenth of a second.
    const SOME: u32 = 45;
    // The emulator's work on a message grows with the backlog; one test below takes a large one.
    const BACKLOG: u32 = 1_000;

    fn start() -> Self {
        Self::at(emulator::endpoint())
    }

    fn join(&self, id: u16) -> Result<Box<dyn Transport>, TransportError> {
        Ok(Box::new(sqs::join(NodeId(id), self.options.clone())?))
    }

    fn client(&self, name: &str) -> Box<dyn Transport> {
        Box::new(sqs::client(name, self.options.clone()).unwrap())
    }

    fn create_inbox(&self, id: u16) {
        sqs::queues::create(&self.options, &BTreeSet::from([NodeId(id)])).unwrap();
    }

    fn inboxes(&self) -> BTreeSet<NodeId> {
        sqs::queues::list(&self.options).unwrap().into_iter().map(|queue| queue.id).collect()
    }
}

every_contract_test!(Queues);

#[test]
fn a_block_overtakes_ten_thousand_transactions() {
    // Such a backlog slows the emulator down for all its queues, so this one is not shared.
    let service = Emulator::start(emulator::free_port());
    overtake_a_backlog(&Queues::at(&service.endpoint()), 10_000);
}

/// Short, for tests wait for it.
const TEST_VISIBILITY: Duration = Duration::from_secs(2);

impl Queues {
    /// The same network over another way to it.
    pub(super) fn like(network: &Self, access: Access) -> Self {
        Self { options: Options { access, ..network.options.clone() } }
    }

    pub(crate) fn at(endpoint: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{number}", std::process::id());
        let options = Options::new(&name, format!("network-of-{name}"), Self::MESSAGE_BYTES_MAX);
        let access = Access::Emulator(endpoint.to_owned());
        Self { options: Options { access, visibility_timeout: TEST_VISIBILITY, ..options } }
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        let ids =
            sqs::queues::list(&self.options).map(|found| found.into_iter().map(|queue| queue.id).collect());
        // Where a test has failed the emulator may be gone, too.
        let _ = ids.and_then(|ids| sqs::queues::delete(&self.options, &ids));
    }
}
