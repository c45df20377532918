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
    println!("transaction {}", transaction.id());
    let json = to_raw_value(&TransactionJson::new(&transaction, &network))?;
    let (mut spooled, mut refused) = (Vec::new(), Vec::new());
    for id in &nodes {
        match control::ask(&directory.socket(*id), &Request::Submit(json.clone())) {
            Ok(Some(_)) => println!("node {id}: accepted, waits to be mined"),
            Ok(None) => spooled.push(*id),
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(Refused(reason)) => {
                    println!("node {id}: refused: {reason}");
                    refused.push(*id);
                }
                None => return Err(error),
            },
        }
    }
    spool(&directory, &network, transaction, &spooled)?;
    // A node that has it from another one by now refuses it as known.
    if refused.len() == nodes.len() { Ok(Exit::Refused) } else { Ok(Exit::Done) }
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
    let nodes: Vec<_> = match node {
        Some(id) => vec![id],
        None => local::inboxes(&directory.spool())?.into_iter().collect(),
    };
    if nodes.is_empty() {
        let place = directory.path().display();
        return Err(Exit::NotFound.error(anyhow!("no node has ever run in {place}: start one with `node 0`")));
    }
    Ok(nodes)
}

fn spool(directory: &Directory, network: &Network, transaction: Transaction, nodes: &[NodeId]) -> Result<()> {
    if nodes.is_empty() {
        return Ok(());
    }
    let client = local::client(&directory.spool(), "send", spool_options(network))?;
    let payload: Arc<[u8]> = Message::Transactions(vec![transaction]).encode(network).into();
    for id in nodes {
        client.send(*id, Outgoing { kind: Kind::Transactions, payload: Arc::clone(&payload), ticket: 0 })?;
        println!("node {id}: not running, will find it in its inbox");
    }
    Ok(())
}
