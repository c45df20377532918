//! `queues`: what an operator does to the SQS queues of a network. Each command may be repeated.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use quarry_core::network::Network;
use quarry_core::units::NodeId;
use serde_json::json;

use crate::args::{CommonArgs, DestroyArgs, ListArgs, QueuesArgs, QueuesCommand, TransportChoice};
use crate::commands::inspect::{align_right, print_table, table};
use crate::commands::output::say;
use crate::config::{self, Directory};
use crate::connection;
use crate::exit::{Exit, OrExit as _};
use crate::transport::sqs::Options;
use crate::transport::sqs::queues::{self, Outcome};

/// What a queue's tag says of its owner after a clean stop.
const NOBODY: &str = "-";

/// Does what the command line says.
pub fn run(common: &CommonArgs, command: &QueuesCommand) -> Result<Exit> {
    if common.medium.transport == Some(TransportChoice::Local) {
        let error = anyhow!("--transport local has no queues");
        return Err(Exit::Usage.hinted(error, "leave --transport and QUARRY_TRANSPORT out"));
    }
    let options = options(common)?;
    match command {
        QueuesCommand::Create(args) => create(&options, args),
        QueuesCommand::List(args) => list(&options, args),
        QueuesCommand::Purge(args) => destroy(&options, args, &Verb::Purge),
        QueuesCommand::Delete(args) => destroy(&options, args, &Verb::Delete),
    }
}

enum Verb {
    Purge,
    Delete,
}

/// The queues that are meant: those of a network file, or of a network of which only the name is known.
fn options(common: &CommonArgs) -> Result<Options> {
    let directory = Directory::new(common, ".");
    let settings = config::queues(common, &directory)?;
    match named(common.network.as_deref()) {
        // The network's id is not known, so queues are not tagged with it: the first node to run does that.
        Some(name) => Ok(connection::sqs_options(&settings, &name, String::new(), &Network::demo())),
        None => {
            let network = config::network(common, &directory)?;
            let id = network.id.to_string();
            Ok(connection::sqs_options(&settings, &network.name, id, &network))
        }
    }
}

/// The network's name, where what `--network` says is not a file.
fn named(network: Option<&Path>) -> Option<String> {
    let path = network.filter(|path| !path.exists())?;
    path.to_str().map(ToOwned::to_owned)
}

fn create(options: &Options, args: &QueuesArgs) -> Result<Exit> {
    let ids = ids(args).context("which queues? --nodes N or --node ID").or_exit(Exit::Usage)?;
    report(options, queues::create(options, &ids))
}

fn list(options: &Options, args: &ListArgs) -> Result<Exit> {
    let found = queues::list(options).map_err(connection::failed)?;
    let chosen = ids(&args.queues);
    let ids: BTreeSet<NodeId> = found.iter().map(|queue| queue.id).collect();
    let ids = chosen.map_or(ids.clone(), |chosen| ids.intersection(&chosen).copied().collect());
    let contents = queues::contents(options, &ids).map_err(connection::failed)?;
    if args.json {
        let rows = contents.iter().map(|(id, it)| {
            let name = name(options, *id);
            json!({"node": id, "queue": name, "waiting": it.waiting, "inFlight": it.in_flight, "owner": it.owner})
        });
        say!("{}", serde_json::Value::from_iter(rows))?;
        return Ok(Exit::Done);
    }
    if contents.is_empty() {
        say!("no queues are called {}", pattern(options))?;
        return Ok(Exit::Done);
    }
    let mut table = table(&["node", "queue", "waiting", "in flight", "read by"]);
    align_right(&mut table, &[0, 2, 3]);
    for (id, it) in &contents {
        table.add_row([
            id.to_string(),
            name(options, *id),
            it.waiting.to_string(),
            it.in_flight.to_string(),
            match it.owner.as_deref() {
                None => "nobody yet".to_owned(),
                Some(NOBODY) => "nobody: stopped".to_owned(),
                Some(owner) => process(owner).to_owned(),
            },
        ]);
    }
    print_table(&table)?;
    Ok(Exit::Done)
}

fn destroy(options: &Options, args: &DestroyArgs, verb: &Verb) -> Result<Exit> {
    let ids = match ids(&args.queues) {
        Some(ids) => ids,
        None if args.all => {
            queues::list(options).map_err(connection::failed)?.iter().map(|queue| queue.id).collect()
        }
        None => {
            return Err(
                Exit::Usage.error(anyhow!("which queues? --nodes N, --node ID, or --all of the network"))
            );
        }
    };
    if !args.yes {
        refuse_in_use(options, &ids)?;
    }
    report(
        options,
        match verb {
            Verb::Purge => queues::purge(options, &ids),
            Verb::Delete => queues::delete(options, &ids),
        },
    )
}

/// An error where a process that did not stop cleanly reads from one of the queues: it may run.
fn refuse_in_use(options: &Options, ids: &BTreeSet<NodeId>) -> Result<()> {
    let contents = queues::contents(options, ids).map_err(connection::failed)?;
    let owned = contents.iter().find_map(|(id, it)| Some((*id, it.owner.as_deref()?)));
    match owned.filter(|(_, owner)| *owner != NOBODY) {
        None => Ok(()),
        Some((id, owner)) => {
            let error = anyhow!("node {id} reads from {}: {}", name(options, id), process(owner));
            let hint = "stop the node first; if it runs no more, or to do it all the same, add --yes";
            Err(Exit::InUse.hinted(error, hint))
        }
    }
}

fn report(
    options: &Options,
    outcomes: Result<std::collections::BTreeMap<NodeId, Outcome>, crate::transport::TransportError>,
) -> Result<Exit> {
    let outcomes = outcomes.map_err(connection::failed)?;
    if outcomes.is_empty() {
        say!("no queues are called {}", pattern(options))?;
    }
    for (id, outcome) in outcomes {
        say!(
            "{}: {}",
            name(options, id),
            match outcome {
                Outcome::Created => "created",
                Outcome::Updated => "settings corrected",
                Outcome::Unchanged => "there already",
                Outcome::Purged => "purged",
                Outcome::Deleted => "deleted",
                Outcome::Missing => "there is none",
            }
        )?;
    }
    Ok(Exit::Done)
}

/// The nodes that are meant, if any are named.
fn ids(args: &QueuesArgs) -> Option<BTreeSet<NodeId>> {
    match args.nodes {
        Some(count) => Some((0..count).map(NodeId).collect()),
        None if args.node.is_empty() => None,
        None => Some(args.node.iter().copied().collect()),
    }
}

/// Host and process of the instance that a tag names.
fn process(owner: &str) -> &str {
    owner.split_once('@').map_or(owner, |(_, process)| process)
}

fn name(options: &Options, id: NodeId) -> String {
    format!("{}{id}.fifo", options.prefix)
}

fn pattern(options: &Options) -> String {
    format!("{}<ID>.fifo", options.prefix)
}
