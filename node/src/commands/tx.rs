//! `tx`: where a transaction stands, and why.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::value::RawValue;

use crate::args::{CommonArgs, TxArgs};
use crate::commands::inspect::{locate, open_reader, seconds};
use crate::commands::output::say;
use crate::control::{self, Request};
use crate::exit::Exit;
use crate::standing::{self, Standing, State};

/// Asks the node if it runs, or else its store.
pub fn run(common: &CommonArgs, args: &TxArgs) -> Result<Exit> {
    let (network, directory, id) = locate(common, &args.node)?;
    let socket = directory.socket(id);
    let standing = match control::ask(&socket, &Request::Transaction(args.transaction))? {
        Some(answer) => serde_json::from_str(answer.get())?,
        None => standing::of(&open_reader(&directory, id, &network)?, &network, None, &args.transaction)?,
    };
    if args.node.json {
        say!("{}", serde_json::to_string(&standing)?)?;
    } else {
        print(args, &standing)?;
        if standing.state == State::Pending {
            print_mining(control::status(&socket)?.as_ref())?;
        }
    }
    Ok(match standing.state {
        State::Pending | State::Mined => Exit::Done,
        State::Refused | State::Expired => Exit::Refused,
    })
}

fn print(args: &TxArgs, standing: &Standing) -> Result<()> {
    say!("transaction  {}", args.transaction)?;
    let is_pending = standing.state == State::Pending;
    let word = if is_pending { "since" } else { "at" };
    let since = standing.since.map_or_else(String::new, |since| format!(" {word} {} UTC", seconds(since)));
    match (standing.height, standing.confirmations) {
        (Some(height), 1) => say!("state        mined in block {height}, 1 confirmation")?,
        (Some(height), count) => say!("state        mined in block {height}, {count} confirmations")?,
        (None, _) => say!("state        {}{since}", standing.state.name())?,
    }
    if let Some(block) = standing.block {
        say!("block        {block}")?;
    }
    if let Some(reason) = &standing.reason {
        let name = if is_pending { "waits" } else { "reason" };
        say!("{name:<13}{reason}")?;
    }
    if let Some(expires) = standing.expires {
        say!("expires      {} UTC, unless it is mined before", seconds(expires))?;
    }
    if let Some(transaction) = &standing.transaction {
        // Raw values: an amount is shown as it was written, not as a float.
        let fields: BTreeMap<&str, &RawValue> = serde_json::from_str(transaction.get())?;
        let field = |name: &str| fields.get(name).map_or("", |value| value.get().trim_matches('"'));
        let [from, to, amount, time] = ["from_node", "to_node", "amount", "timestamp"].map(field);
        say!("payment      {amount} from {from} to {to}, made {time} UTC")?;
    }
    Ok(())
}

/// What else may keep a transaction waiting.
fn print_mining(status: Option<&control::NodeStatus>) -> Result<()> {
    match status {
        None => say!("mining       no: the node does not run"),
        Some(status) if status.backend.is_none() => say!("mining       not by this node"),
        Some(status) if status.syncing.is_some() => {
            say!("mining       once the node has fetched a better chain")
        }
        Some(status) if status.searching => say!("mining       right now"),
        Some(_) => say!("mining       not now: the node waits for transactions that can be paid"),
    }
}
