//! Where a network's files lie, and how its parameters are read.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use quarry_core::network::{Network, NetworkFile};
use quarry_core::units::NodeId;
use serde::{Deserialize, Serialize};

use crate::args::{CommonArgs, TransportChoice};
use crate::exit::{Exit, OrExit as _};

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

    /// How messages travel, where that is noted.
    pub fn transport_file(&self) -> PathBuf {
        self.0.join("transport.toml")
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
        self.data().join(format!("node{id}.sock"))
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
        match id.or_else(|| self.nodes().first().copied()) {
            Some(id) => Ok(id),
            None => Err(self.unused()),
        }
    }

    /// The error that there is nothing here to look at.
    pub fn unused(&self) -> anyhow::Error {
        let (place, program) = (self.0.display(), program());
        let hint =
            format!("name another directory with --dir, or start a node here: {program} 0 --dir {place}");
        Exit::NotFound.hinted(anyhow!("no node has ever run in {place}"), hint)
    }
}

/// This program as its user calls it, for commands that can be copied from the screen.
pub fn program() -> String {
    std::env::args_os().next().map_or_else(|| "node".into(), |name| name.to_string_lossy().into_owned())
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
            let hint = format!("write one: {} init {}", program(), path.display());
            return Err(Exit::Usage.hinted(anyhow::Error::new(error).context(reading), hint));
        }
    };
    parse_network(&text).with_context(|| format!("in network file {}", path.display())).or_exit(Exit::Usage)
}

/// How messages travel, as it is noted in a directory so that each command there finds the same network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransportFile {
    /// Through what.
    pub transport: TransportChoice,
    /// Begins the names of queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_prefix: Option<String>,
    /// Whether queues are in high-throughput mode.
    #[serde(default)]
    pub high_throughput_queues: bool,
}

/// As [`transport`], for a command that is about queues whatever the default.
#[cfg(feature = "sqs")]
pub fn queues(common: &CommonArgs, directory: &Directory) -> Result<TransportFile> {
    let mut common = common.clone();
    common.medium.transport = Some(TransportChoice::Sqs);
    transport(&common, directory)
}

/// How messages travel: by the command line or the environment, else by the note in the directory, else local.
pub fn transport(common: &CommonArgs, directory: &Directory) -> Result<TransportFile> {
    let noted = noted_transport(directory)?;
    let args = &common.medium;
    let transport =
        args.transport.or(noted.as_ref().map(|it| it.transport)).unwrap_or(TransportChoice::Local);
    // A note about another transport has nothing to say of this one.
    let noted = noted.filter(|it| it.transport == transport);
    let high_throughput = noted.as_ref().is_some_and(|it| it.high_throughput_queues);
    Ok(TransportFile {
        transport,
        queue_prefix: args.queue_prefix.clone().or(noted.and_then(|it| it.queue_prefix)),
        high_throughput_queues: args.high_throughput_queues || high_throughput,
    })
}

/// What the directory notes of how messages travel, if anything.
pub fn noted_transport(directory: &Directory) -> Result<Option<TransportFile>> {
    let path = directory.transport_file();
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .map(Some)
            .with_context(|| format!("in {}", path.display()))
            .or_exit(Exit::Usage),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Notes in the directory how messages travel.
pub fn note_transport(directory: &Directory, settings: &TransportFile) -> Result<()> {
    let path = directory.transport_file();
    fs::write(&path, toml::to_string(settings)?).with_context(|| format!("writing {}", path.display()))
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
