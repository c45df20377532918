//! The embedded transport: the contract, and what its files promise when they are damaged, full or left over.

use node::transport::local::{self, Options};
use node::transport::{Transport, TransportError};
use quarry_core::units::NodeId;
use tempfile::TempDir;

use super::{Fixture, contract, every_contract_test};

struct Spool {
    dir: TempDir,
    options: Options,
}

impl Fixture for Spool {
    const MESSAGE_BYTES_MAX: usize = 256 << 10;

    fn start() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), options: Options::default() }
    }

    fn join(&self, id: u16) -> Result<Box<dyn Transport>, TransportError> {
        Ok(Box::new(local::join(self.dir.path(), NodeId(id), self.options.clone())?))
    }

    fn client(&self, name: &str) -> Box<dyn Transport> {
        Box::new(local::client(self.dir.path(), name, self.options.clone()).unwrap())
    }
}

every_contract_test!(Spool);
