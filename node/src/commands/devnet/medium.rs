//! Through what a devnet's messages travel.
//! Invariant: a devnet over SQS has queues of a prefix of its own, noted in its directory, so two never share a queue.

use anyhow::{Result, anyhow};
use quarry_core::network::Network;

use crate::args::{CommonArgs, TransportChoice};
use crate::commands::devnet::NAME;
use crate::config::{self, Directory, TransportFile};
use crate::connection::Connection;
use crate::exit::Exit;

/// What this run uses: what the command line says, or an earlier run has noted. A new network gets new queues, and the
/// queues of the one that it replaces are deleted.
pub(super) fn settle(common: &CommonArgs, directory: &Directory, fresh: bool) -> Result<TransportFile> {
    let noted = config::noted_transport(directory)?;
    let mut wanted = config::transport(common, directory)?;
    if fresh {
        wanted.queue_prefix.clone_from(&common.medium.queue_prefix);
    } else if directory.network_file().exists() {
        refuse_change(directory, noted.as_ref(), &wanted)?;
    }
    if is_remote(&wanted) {
        // The names of deleted queues are blocked for a minute, and other people's devnets may share the account.
        wanted.queue_prefix.get_or_insert_with(|| format!("{NAME}-{:08x}-", rand::random::<u32>()));
        // Fails where this program cannot do that, before anything is deleted.
        Connection::open(&wanted, directory, &Network::demo())?;
    }
    if let Some(old) = noted.filter(|old| fresh && is_remote(old)) {
        remove_queues(directory, &old);
    }
    Ok(wanted)
}

/// Notes what this run uses, so that all commands in its directory and its next run find the same network.
pub(super) fn note(directory: &Directory, settings: &TransportFile) -> Result<()> {
    if is_remote(settings) { config::note_transport(directory, settings) } else { Ok(()) }
}

/// The options that say the same to another process of this program.
pub(super) fn options(settings: &TransportFile) -> Vec<String> {
    let TransportFile { transport, queue_prefix, high_throughput_queues } = settings;
    let mut options = vec![format!("--transport={}", transport.name())];
    options.extend(queue_prefix.as_ref().map(|prefix| format!("--queue-prefix={prefix}")));
    options.extend(high_throughput_queues.then(|| "--high-throughput-queues".to_owned()));
    options
}

/// Where the queues are, if there are any.
pub(super) fn describe(settings: &TransportFile) -> Option<String> {
    let prefix = settings.queue_prefix.as_deref().filter(|_| is_remote(settings))?;
    let variable =
        |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let place = variable(&["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"]).unwrap_or_else(|| {
        let region = variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
        region.map_or_else(
            || "Amazon SQS, region by profile".into(),
            |region| format!("Amazon SQS in {region}"),
        )
    });
    Some(format!("{prefix}<ID>.fifo at {place}"))
}

/// Whether messages leave this machine.
pub(super) fn is_remote(settings: &TransportFile) -> bool {
    settings.transport == TransportChoice::Sqs
}

/// A network that has begun keeps its queues: what waits in them would be lost.
fn refuse_change(directory: &Directory, noted: Option<&TransportFile>, wanted: &TransportFile) -> Result<()> {
    let before = noted.map_or(TransportChoice::Local, |noted| noted.transport);
    let moves = before != wanted.transport
        || noted.is_some_and(|noted| is_remote(noted) && noted.queue_prefix != wanted.queue_prefix);
    if !moves {
        return Ok(());
    }
    let was = noted.and_then(|noted| noted.queue_prefix.as_deref()).map_or_else(
        || format!("over {}", before.name()),
        |prefix| format!("over {} with queues {prefix}<ID>.fifo", before.name()),
    );
    let error = anyhow!("the devnet in {} runs {was}", directory.path().display());
    Err(Exit::Foreign.hinted(error, "delete that run with --fresh, or name another directory with --dir"))
}

/// Deletes the queues of the network that is deleted. Where that fails the new one does not suffer.
#[cfg(feature = "sqs")]
fn remove_queues(directory: &Directory, old: &TransportFile) {
    use crate::connection;
    use crate::transport::sqs::queues;

    let Ok(network) = super::read_network(directory) else { return };
    let options = connection::sqs_options(old, NAME, network.id.to_string(), &network);
    let removed = queues::list(&options).and_then(|found| {
        let ids = found.iter().map(|queue| queue.id).collect();
        queues::delete(&options, &ids)
    });
    if let Err(error) = removed {
        let prefix = &options.prefix;
        tracing::warn!("the old queues {prefix}<ID>.fifo are left: {error}");
    }
}

#[cfg(not(feature = "sqs"))]
fn remove_queues(_: &Directory, old: &TransportFile) {
    let prefix = old.queue_prefix.as_deref().unwrap_or_default();
    tracing::warn!("this program was built without SQS: the old queues {prefix}<ID>.fifo are left");
}
