//! `chain`, `block`, `balance`, `status` and `verify`: what a node knows.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, Table};
use quarry_core::network::Network;
use quarry_core::units::{Hash, Height, NodeId, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::args::{BalanceArgs, BlockArgs, ChainArgs, CommonArgs, NodeArgs};
use crate::commands::node::open_failed;
use crate::commands::output::{self, say};
use crate::commands::peers;
use crate::config::{self, Directory};
use crate::control::{self, HashRates, NodeStatus, Request, UsageStatus};
use crate::exit::{Exit, OrExit as _};
use crate::notices;
use crate::query::{self, BalancesAnswer, BlockAnswer, Query};
use crate::store::{self, OpenError, Reader, Snapshot, Summary, VerifyError};

/// How many hex digits of a hash are shown in tables: the zeros of any difficulty that is in use, and enough besides.
const HASH_DIGITS: usize = 16;

/// What a list of blocks shows of each.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockSummary {
    index: Height,
    timestamp: Timestamp,
    miner: String,
    hash: Hash,
    transactions: Vec<Box<RawValue>>,
}

/// Shows the newest blocks.
pub fn chain(common: &CommonArgs, args: &ChainArgs) -> Result<Exit> {
    let answer = ask(common, &args.node, Query::Chain { count: args.count })?;
    if args.node.json {
        return print_json(&answer);
    }
    let blocks: Vec<BlockSummary> = serde_json::from_str(answer.get())?;
    let is_cut = blocks.len() < usize::try_from(args.count)?
        && blocks.last().is_some_and(|oldest| Height(0) < oldest.index);
    let mut table = table(&["height", "time (UTC)", "transactions", "miner", "hash"]);
    align_right(&mut table, &[0, 2]);
    for block in blocks {
        let BlockSummary { index, timestamp, miner, hash, transactions } = block;
        table.add_row([
            index.to_string(),
            seconds(timestamp),
            transactions.len().to_string(),
            short_account(&miner),
            format!("{}...", short_hash(&hash)),
        ]);
    }
    print_table(&table)?;
    if is_cut {
        say!("the blocks are too large for more of them in one answer")?;
    }
    Ok(Exit::Done)
}

/// Shows a block.
pub fn block(common: &CommonArgs, args: &BlockArgs) -> Result<Exit> {
    let answer = ask(common, &args.node, args.block.into())?;
    let answer: BlockAnswer = serde_json::from_str(answer.get())?;
    if args.raw {
        let header = answer
            .header
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair)?, 16).context("hex"));
        output::bytes(&header.collect::<Result<Vec<u8>>>()?)?;
        return Ok(Exit::Done);
    }
    if args.node.json {
        return print_json(&answer.block);
    }
    let fields: BTreeMap<&str, &RawValue> = serde_json::from_str(answer.block.get())?;
    let field = |name: &str| fields.get(name).map_or("", |value| value.get().trim_matches('"'));
    for name in [
        "index",
        "prevHash",
        "timestamp",
        "nonce",
        "version",
        "bits",
        "miner",
        "extraNonce",
        "txRoot",
        "hash",
    ] {
        say!("{name:<14}{}", field(name))?;
    }
    match answer.confirmations {
        0 => say!("{:<14}none: the block is on a branch that lost", "confirmations")?,
        count => say!("{:<14}{count}", "confirmations")?,
    }
    // Raw values: an amount is shown as it was written, not as a float.
    let transactions: Vec<BTreeMap<&str, &RawValue>> = serde_json::from_str(field("transactions"))?;
    if transactions.is_empty() {
        say!("{:<14}none", "transactions")?;
        return Ok(Exit::Done);
    }
    say!("{:<14}{}\n", "transactions", transactions.len())?;
    let mut table = table(&["from", "to", "amount", "time (UTC)", "id"]);
    align_right(&mut table, &[2]);
    for transaction in transactions {
        let field = |name: &str| transaction.get(name).map_or("", |value| value.get().trim_matches('"'));
        table.add_row(["from_node", "to_node", "amount", "timestamp", "unique_id"].map(field));
    }
    print_table(&table)?;
    Ok(Exit::Done)
}

/// Shows balances.
pub fn balance(common: &CommonArgs, args: &BalanceArgs) -> Result<Exit> {
    let answer = ask(common, &args.node, Query::Balances { account: args.account.clone() })?;
    if args.node.json {
        return print_json(&answer);
    }
    let answer: BalancesAnswer = serde_json::from_str(answer.get())?;
    let mut table = table(&["account", "balance", "id"]);
    align_right(&mut table, &[1]);
    // By account id they come in no order that a reader could see.
    let mut balances = answer.balances;
    balances.sort_by(|one, other| one.account.cmp(&other.account));
    for entry in balances {
        table.add_row([entry.account, entry.balance, entry.id]);
    }
    print_table(&table)?;
    say!("at height {}{}", answer.height, if answer.more { "; there are more accounts" } else { "" })?;
    Ok(Exit::Done)
}

/// Shows where a running node stands.
pub fn status(common: &CommonArgs, args: &NodeArgs) -> Result<Exit> {
    let status = peers::ask(common, args)?;
    if args.json {
        say!("{}", serde_json::to_string(&status)?)?;
    } else {
        print_status(&status)?;
    }
    Ok(Exit::Done)
}

fn print_status(status: &NodeStatus) -> Result<()> {
    say!("node        {} (process {}, up {:.0} s)", status.id, status.pid, status.uptime_s)?;
    say!("network     {}", status.network)?;
    say!("tip         {} at height {}", status.tip, status.height)?;
    say!("mempool     {} transactions", status.mempool)?;
    if status.cut_off {
        say!("cut off     neither hears nor is heard, as it was asked")?;
    }
    match &status.backend {
        Some(backend) => {
            let doing = if status.searching { "searching" } else { "waiting for transactions" };
            say!("mining      {backend}, {doing}")?;
            let HashRates { over_10_s, over_60_s, over_15_min, max } = status.hash_rate;
            let [short, medium, long, max] = [over_10_s, over_60_s, over_15_min, max].map(hash_rate);
            say!("hash rate   {short} over 10 s, {medium} over 60 s, {long} over 15 min, {max} at most")?;
        }
        None => say!("mining      none")?,
    }
    if let Some(peer) = status.syncing {
        say!("syncing     with node {peer}")?;
    }
    if status.peers.is_empty() {
        say!("peers       none")?;
    } else {
        say!("")?;
        peers::print(status)?;
    }
    say!("\nSince its start:")?;
    let UsageStatus { requests, cost_usd, events, .. } = &status.usage;
    if !requests.is_empty() {
        let requests = requests.iter().map(|(name, count)| (name.as_str(), *count));
        say!("{}", notices::usage_text(requests, *cost_usd))?;
    }
    for (name, count) in events {
        say!("{:<24}{count:>8}", name.replace('_', " "))?;
    }
    for (name, count) in &status.counters {
        say!("{:<24}{count:>8}", name.replace('_', " "))?;
    }
    Ok(())
}

/// Replays a stopped node's chain.
pub fn verify(common: &CommonArgs, args: &NodeArgs) -> Result<Exit> {
    let (network, directory, id) = locate(common, args)?;
    let snapshot = open(&directory, id, &network)?;
    let verdict = store::verify(&snapshot, &network, &mut |_, _| {});
    if verdict == Err(VerifyError::Empty) {
        // Its node was killed before it had stored the first block.
        return Err(open_failed(&directory, id, OpenError::Missing(directory.store(id))));
    }
    let summary = verdict.context("the store is not sound").or_exit(Exit::Broken)?;
    let Summary { tip, height, transactions, accounts, supply, side_blocks, waiting } = summary;
    if args.json {
        let json = serde_json::json!({
            "node": id,
            "tip": tip,
            "height": height,
            "transactions": transactions,
            "accounts": accounts,
            "supply": supply.to_string(),
            "sideBlocks": side_blocks,
            "waiting": waiting,
        });
        say!("{json}")?;
    } else {
        say!("node {id}: every rule holds from the first block to {tip} at height {height}")?;
        say!("{transactions} transactions, {accounts} accounts with {supply} in all")?;
        say!("{side_blocks} blocks on other branches, {waiting} transactions waiting")?;
    }
    Ok(Exit::Done)
}

/// A hash rate for people.
pub fn hash_rate(rate: f64) -> String {
    let (value, unit) = match rate {
        rate if 1e9 <= rate => (rate / 1e9, "GH/s"),
        rate if 1e6 <= rate => (rate / 1e6, "MH/s"),
        rate if 1e3 <= rate => (rate / 1e3, "kH/s"),
        rate if 0.0 < rate => (rate, "H/s"),
        _ => return "-".to_owned(),
    };
    format!("{value:.1} {unit}")
}

/// Enough of a block's hash to tell it from others, whatever the difficulty.
pub fn short_hash(hash: &Hash) -> String {
    let mut text = hash.to_string();
    text.truncate(HASH_DIGITS);
    text
}

/// A table without lines.
pub fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(columns.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Aligns columns of numbers.
pub fn align_right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A time without fractions of a second.
pub(super) fn seconds(timestamp: Timestamp) -> String {
    let mut text = timestamp.to_string();
    text.truncate("2020-05-08 08:40:07".len());
    text
}

/// An account's name, or so much of its id that a table stays narrow.
fn short_account(account: &str) -> String {
    match account.len() {
        // Nobody: the first block has no miner.
        40 if account.bytes().all(|digit| digit == b'0') => "-".to_owned(),
        40 => format!("{}...", &account[..HASH_DIGITS]),
        _ => account.to_owned(),
    }
}

/// Asks the node if it runs, or else its store.
pub(super) fn ask(common: &CommonArgs, args: &NodeArgs, query: Query) -> Result<Box<RawValue>> {
    let (network, directory, id) = locate(common, args)?;
    if let Some(answer) = control::ask(&directory.socket(id), &Request::Query(query.clone()))? {
        return Ok(answer);
    }
    let snapshot = open(&directory, id, &network)?;
    query::answer(&snapshot, &network, &query)
}

pub(super) fn locate(common: &CommonArgs, args: &NodeArgs) -> Result<(Network, Directory, NodeId)> {
    let directory = Directory::new(common, ".");
    let network = config::network(common, &directory)?;
    let id = directory.node_or_lowest(args.id)?;
    Ok((network, directory, id))
}

pub(super) fn open(directory: &Directory, id: NodeId, network: &Network) -> Result<Snapshot> {
    Ok(open_reader(directory, id, network)?.snapshot()?)
}

/// As [`open`], for several looks.
pub(super) fn open_reader(directory: &Directory, id: NodeId, network: &Network) -> Result<Reader> {
    let reader = Reader::open(&directory.store(id), &network.id);
    reader.map_err(|error| open_failed(directory, id, error))
}

fn print_json(value: &RawValue) -> Result<Exit> {
    say!("{value}")?;
    Ok(Exit::Done)
}

/// Prints a table without the blanks at the ends of its lines.
pub fn print_table(table: &Table) -> Result<()> {
    table.lines().try_for_each(|line| say!("{}", line.trim_end()))
}
