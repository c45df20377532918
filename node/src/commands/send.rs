//! `send`: sends one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use quarry_core::json::TransactionJson;
use quarry_core::message::Message;
use quarry_core::network::Network;
use quarry_core::rules::check_transaction;
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::NodeId;
use serde_json::value::to_raw_value;

use crate::args::{CommonArgs, SendArgs};
use crate::clock;
use crate::commands::key;
use crate::commands::output::say;
use crate::config::{self, Directory};
use crate::connection::{self, Connection};
use crate::control::{self, Refused, Request};
use crate::exit::{Exit, OrExit as _};
use crate::transport::{Handover, Incoming, Kind, Outgoing, Transport};

/// How long a message has to reach a queue.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends the transaction that the command line describes: to the nodes that run, which answer, and into the inboxes of
/// those that do not.
pub fn run(common: &CommonArgs, args: &SendArgs) -> Result<Exit> {
    let directory = Directory::new(common, ".");
    let network = config::network(common, &directory)?;
    let transaction = transaction(args, &network)?;
    check_transaction(&transaction, &network).or_exit(Exit::Refused)?;
    let connection = Connection::new(common, &directory, &network)?;
    let nodes = recipients(&directory, &connection, args.node)?;
    say!("transaction {}", transaction.id())?;
    let json = to_raw_value(&TransactionJson::new(&transaction, &network))?;
    let (mut accepted, mut down, mut failure) = (false, Vec::new(), None);
    for id in &nodes {
        match control::ask(&directory.socket(*id), &Request::Submit(json.clone())) {
            Ok(Some(_)) => {
                accepted = true;
                say!("node {id}: accepted, waits to be mined")?;
            }
            Ok(None) => down.push(*id),
            Err(error) => {
                say!("node {id}: {error:#}")?;
                let exit = if error.is::<Refused>() { Exit::Refused } else { Exit::Failed };
                failure.get_or_insert(exit);
            }
        }
    }
    match failure {
        // What every node that runs refuses, those that do not would refuse, too.
        Some(exit) if !accepted => return Ok(exit),
        _ => {}
    }
    post(&connection, &network, transaction, &down)
}

fn transaction(args: &SendArgs, network: &Network) -> Result<Transaction> {
    let to = network.account(&args.to).context("--to").or_exit(Exit::Usage)?;
    let key = args.key.as_deref().map(key::read).transpose()?;
    let from = match (&key, &args.from) {
        (Some(key), _) => key.account,
        (None, Some(from)) => network.account(from).context("--from").or_exit(Exit::Usage)?,
        (None, None) => unreachable!("clap wants one of --from and --key"),
    };
    let payment = Payment { from, to, amount: args.amount, timestamp: clock::utc() };
    Ok(match key {
        Some(key) => Transaction::signed(&network.id, payment, &key.secret),
        None => Transaction::new(&network.id, payment, None),
    })
}

fn recipients(directory: &Directory, connection: &Connection, node: Option<NodeId>) -> Result<Vec<NodeId>> {
    if let (Some(id), false) = (node, connection.is_local()) {
        // Whoever may send need not be allowed to list; a queue that is missing is told by the send.
        return Ok(vec![id]);
    }
    let mut nodes: Vec<_> = connection.medium.inboxes().map_err(connection::failed)?.into_iter().collect();
    if nodes.is_empty() {
        return Err(match connection.is_local() {
            true => directory.unused(),
            false => Exit::NotFound.error(anyhow!("no node has an inbox in {}", connection.place)),
        });
    }
    if let Some(id) = node {
        // An inbox that nobody reads would be filled by all others.
        nodes.retain(|known| *known == id);
    }
    match (nodes.is_empty(), node) {
        (true, Some(id)) => {
            let (place, program) = (directory.path().display(), config::program());
            let error = anyhow!("node {id} has never run in {place}");
            Err(Exit::NotFound.hinted(error, format!("start it: {program} {id} --dir {place}")))
        }
        _ => Ok(nodes),
    }
}

/// Puts the transaction into the inboxes of nodes that could not be asked.
fn post(
    connection: &Connection,
    network: &Network,
    transaction: Transaction,
    nodes: &[NodeId],
) -> Result<Exit> {
    if nodes.is_empty() {
        return Ok(Exit::Done);
    }
    let client = connection.medium.client("send").map_err(connection::failed)?;
    let payload: Arc<[u8]> = Message::Transactions(vec![transaction]).encode(network).into();
    let mut queued = BTreeSet::new();
    for id in nodes {
        let ticket = u64::from(id.0);
        let message = Outgoing { kind: Kind::Transactions, payload: Arc::clone(&payload), ticket };
        if client.send(*id, message).map_err(connection::failed)? == Handover::Queued {
            queued.insert(ticket);
        }
    }
    let exit = wait(&*client, queued)?;
    if exit == Exit::Done {
        let told = if connection.is_local() { "not running, will find it" } else { "will find it" };
        nodes.iter().try_for_each(|id| say!("node {id}: {told} in its inbox"))?;
    }
    Ok(exit)
}

/// Waits until all messages are in their queues, and says what is in the way.
fn wait(client: &dyn Transport, mut queued: BTreeSet<u64>) -> Result<Exit> {
    let (started, mut exit) = (Instant::now(), Exit::Done);
    while !queued.is_empty() {
        let left = PATIENCE.saturating_sub(started.elapsed());
        match client.incoming().recv_timeout(left) {
            Ok(Incoming::Sent(ticket)) => _ = queued.remove(&ticket),
            Ok(Incoming::Trouble(trouble)) => {
                say!("{trouble}")?;
                exit = connection::exit(&trouble);
            }
            Ok(Incoming::Ended(error)) => return Err(connection::failed(error)),
            Ok(_) => {}
            Err(_) => return Err(anyhow!("the transaction is not in all inboxes after {PATIENCE:?}")),
        }
    }
    Ok(exit)
}
