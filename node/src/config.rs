//! Where a network's files lie, and how its parameters are read.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use quarry_core::network::{Network, NetworkFile};
use quarry_core::units::NodeId;

use crate::args::CommonArgs;
use crate::exit::{Exit, OrExit as _};

/// The longest path that a socket can have on every system.
const SOCKET_PATH_MAX: usize = 100;

/// The directory of a network's files on this machine.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

impl Directory {
    /// The directory that the command line names, or else `default`.
    pub fn new(common: &CommonArgs, default: &str) -> Self {
        Self(common.dir.clone().unwrap_or_else(|| default.into()))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The network file.
    pub fn network_file(&self) -> PathBuf {
        self.0.join("network.toml")
    }

    /// What is not meant to be looked at: stores and spools.
    pub fn data(&self) -> PathBuf {
        self.0.join("quarry")
    }

    /// The message spools of all nodes.
    pub fn spool(&self) -> PathBuf {
        self.data().join("net")
    }

    /// A node's store.
    pub fn store(&self, id: NodeId) -> PathBuf {
        self.data().join(format!("node{id}.redb"))
    }

    /// The socket on which a running node answers this machine's user.
    pub fn socket(&self, id: NodeId) -> PathBuf {
        let path = self.data().join(format!("node{id}.sock"));
        if path.as_os_str().len() <= SOCKET_PATH_MAX {
            return path;
        }
        let mut hasher = DefaultHasher::new();
        fs::canonicalize(self.data()).unwrap_or(self.data()).hash(&mut hasher);
        std::env::temp_dir().join(format!("quarry-{:016x}-node{id}.sock", hasher.finish()))
    }

    /// The chain as a node sees it, for people.
    pub fn blockchain(&self, id: NodeId) -> PathBuf {
        self.0.join(format!("blockchain{id}.txt"))
    }

    /// The balances as a node sees them, for people.
    pub fn ledger(&self, id: NodeId) -> PathBuf {
        self.0.join(format!("ledger{id}.txt"))
    }

    /// The nodes that have a store here, by number.
    pub fn nodes(&self) -> Vec<NodeId> {
        let entries = fs::read_dir(self.data()).into_iter().flatten().flatten();
        let mut ids: Vec<NodeId> = entries
            .filter_map(|entry| {
                let name = entry.file_name();
                name.to_str()?.strip_prefix("node")?.strip_suffix(".redb")?.parse().ok()
            })
            .collect();
        ids.sort_unstable();
        ids
    }

    /// The node that is meant where none is named: the one with the lowest number.
    pub fn node_or_lowest(&self, id: Option<NodeId>) -> Result<NodeId> {
        id.or_else(|| self.nodes().first().copied())
            .with_context(|| format!("no node has ever run in {}", self.0.display()))
            .context("start one with `node 0`, or name another directory with --dir")
            .or_exit(Exit::NotFound)
    }
}

/// The network that the command line, the directory or the default names.
pub fn network(common: &CommonArgs, directory: &Directory) -> Result<Network> {
    let (path, named) = match &common.network {
        Some(path) => (path.clone(), true),
        None => (directory.network_file(), false),
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && !named => return Ok(Network::demo()),
        Err(error) => {
            let reading = format!("reading network file {}", path.display());
            return Err(Exit::Usage.error(anyhow::Error::new(error).context(reading)));
        }
    };
    parse_network(&text).with_context(|| format!("in network file {}", path.display())).or_exit(Exit::Usage)
}

/// The network that the text of a network file describes.
pub fn parse_network(text: &str) -> Result<Network> {
    let file: NetworkFile = toml::from_str(text)?;
    Ok(Network::new(&file)?)
}

/// The text of a network file.
pub fn network_text(file: &NetworkFile) -> Result<String> {
    Ok(toml::to_string(file)?)
}
