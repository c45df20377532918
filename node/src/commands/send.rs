//! `send`: sends one transaction.

use std::sync::Arc;

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
use crate::commands::node::spool_options;
use crate::commands::output::say;
use crate::config::{self, Directory};
use crate::control::{self, Refused, Request};
use crate::exit::{Exit, OrExit as _};
use crate::transport::{Kind, Outgoing, Transport as _, local};

/// Sends the transaction that the command line describes: to the nodes that run, which answer, and into the inboxes of
/// those that do not.
pub fn run(common: &CommonArgs, args: &SendArgs) -> Result<Exit> {
    let directory = Directory::new(common, ".");
    let network = config::network(common, &directory)?;
    let transaction = transaction(args, &network)?;
    check_transaction(&transaction, &network).or_exit(Exit::Refused)?;
    let nodes = recipients(&directory, args.node)?;
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
    spool(&directory, &network, transaction, &down)?;
    Ok(Exit::Done)
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

fn recipients(directory: &Directory, node: Option<NodeId>) -> Result<Vec<NodeId>> {
    let mut nodes: Vec<_> = local::inboxes(&directory.spool())?.into_iter().collect();
    if nodes.is_empty() {
        return Err(directory.unused());
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

fn spool(directory: &Directory, network: &Network, transaction: Transaction, nodes: &[NodeId]) -> Result<()> {
    if nodes.is_empty() {
        return Ok(());
    }
    let client = local::client(&directory.spool(), "send", spool_options(network))?;
    let payload: Arc<[u8]> = Message::Transactions(vec![transaction]).encode(network).into();
    for id in nodes {
        client.send(*id, Outgoing { kind: Kind::Transactions, payload: Arc::clone(&payload), ticket: 0 })?;
        say!("node {id}: not running, will find it in its inbox")?;
    }
    Ok(())
}
