//! `chain`, `block`, `balance`, `status` and `verify`: what a node knows.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow};
use comfy_table::{CellAlignment, Table};
use quarry_core::network::Network;
use quarry_core::units::{Hash, Height, NodeId, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::args::{BalanceArgs, BlockArgs, ChainArgs, CommonArgs, NodeArgs};
use crate::commands::node::open_failed;
use crate::config::{self, Directory};
use crate::control::{self, HashRates, Request};
use crate::exit::{Exit, OrExit as _};
use crate::query::{self, BalancesAnswer, BlockAnswer, Query};
use crate::store::{self, Reader, Snapshot, Summary};

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
    let mut table = table(&["height", "time (UTC)", "transactions", "miner", "hash"]);
    for block in blocks {
        let BlockSummary { index, timestamp, miner, hash, transactions } = block;
        table.add_row([
            index.to_string(),
            timestamp.to_string(),
            transactions.len().to_string(),
            miner,
            hash.to_string(),
        ]);
    }
    print_table(&table)
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
        std::io::stdout().write_all(&header.collect::<Result<Vec<u8>>>()?)?;
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
        println!("{name:<14}{}", field(name));
    }
    println!("{:<14}{}", "confirmations", answer.confirmations);
    let mut table = table(&["from", "to", "amount", "time (UTC)", "id"]);
    // Raw values: an amount is shown as it was written, not as a float.
    let transactions: Vec<BTreeMap<&str, &RawValue>> = serde_json::from_str(field("transactions"))?;
    for transaction in transactions {
        let field = |name: &str| transaction.get(name).map_or("", |value| value.get().trim_matches('"'));
        table.add_row(["from_node", "to_node", "amount", "timestamp", "unique_id"].map(field));
    }
    print_table(&table)
}

/// Shows balances.
pub fn balance(common: &CommonArgs, args: &BalanceArgs) -> Result<Exit> {
    let answer = ask(common, &args.node, Query::Balances { account: args.account.clone() })?;
    if args.node.json {
        return print_json(&answer);
    }
    let answer: BalancesAnswer = serde_json::from_str(answer.get())?;
    let mut table = table(&["account", "balance", "id"]);
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for entry in answer.balances {
        table.add_row([entry.account, entry.balance, entry.id]);
    }
    print_table(&table)?;
    println!("at height {}{}", answer.height, if answer.more { "; there are more accounts" } else { "" });
    Ok(Exit::Done)
}

/// Shows where a running node stands.
pub fn status(common: &CommonArgs, args: &NodeArgs) -> Result<Exit> {
    let directory = Directory::new(common, ".");
    let id = directory.node_or_lowest(args.id)?;
    let Some(status) = control::status(&directory.socket(id))? else {
        let place = directory.path().display();
        return Err(Exit::NotFound.error(anyhow!("node {id} does not run in {place}")));
    };
    if args.json {
        println!("{}", serde_json::to_string(&status)?);
        return Ok(Exit::Done);
    }
    println!("node          {} (process {}, up {:.0} s)", status.id, status.pid, status.uptime_s);
    println!("network       {}", status.network);
    println!("tip           {} at height {}", status.tip, status.height);
    println!("mempool       {} transactions", status.mempool);
    let doing = if status.searching { "searching" } else { "idle" };
    let backend = status.backend.as_deref().unwrap_or("none");
    println!("mining        {backend}, {doing}");
    let HashRates { over_10_s, over_60_s, over_15_min, max } = status.hash_rate;
    let [short, medium, long, max] = [over_10_s, over_60_s, over_15_min, max].map(hash_rate);
    println!("hash rate     {short} over 10 s, {medium} over 60 s, {long} over 15 min, {max} at most");
    for peer in &status.peers {
        let height = peer.height.map_or("?".to_owned(), |height| height.to_string());
        let heard =
            peer.heard_s.map_or("never heard of".to_owned(), |seconds| format!("heard {seconds:.0} s ago"));
        println!(
            "peer          node {}: height {height}, {heard}{}",
            peer.id,
            if peer.stopped { ", stopped" } else { "" }
        );
    }
    for (name, count) in &status.counters {
        println!("{name:<25}{count}");
    }
    Ok(Exit::Done)
}

/// Replays a stopped node's chain.
pub fn verify(common: &CommonArgs, args: &NodeArgs) -> Result<Exit> {
    let (network, directory, id) = locate(common, args)?;
    let snapshot = open(&directory, id, &network)?;
    let summary = store::verify(&snapshot, &network, &mut |_, _| {})
        .context("the store is not sound")
        .or_exit(Exit::Broken)?;
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
        println!("{json}");
    } else {
        println!("node {id}: every rule holds from the first block to {tip} at height {height}");
        println!("{transactions} transactions, {accounts} accounts with {supply} in all");
        println!("{side_blocks} blocks on other branches, {waiting} transactions waiting");
    }
    Ok(Exit::Done)
}

/// A hash rate for people.
pub fn hash_rate(rate: f64) -> String {
    let (value, unit) = match rate {
        rate if 1e9 <= rate => (rate / 1e9, "GH/s"),
        rate if 1e6 <= rate => (rate / 1e6, "MH/s"),
        rate if 1e3 <= rate => (rate / 1e3, "kH/s"),
        rate => (rate, "H/s"),
    };
    format!("{value:.1} {unit}")
}

/// Asks the node if it runs, or else its store.
fn ask(common: &CommonArgs, args: &NodeArgs, query: Query) -> Result<Box<RawValue>> {
    let (network, directory, id) = locate(common, args)?;
    if let Some(answer) = control::ask(&directory.socket(id), &Request::Query(query.clone()))? {
        return Ok(answer);
    }
    let snapshot = open(&directory, id, &network)?;
    query::answer(&snapshot, &network, &query)
}

fn locate(common: &CommonArgs, args: &NodeArgs) -> Result<(Network, Directory, NodeId)> {
    let directory = Directory::new(common, ".");
    let network = config::network(common, &directory)?;
    let id = directory.node_or_lowest(args.id)?;
    Ok((network, directory, id))
}

fn open(directory: &Directory, id: NodeId, network: &Network) -> Result<Snapshot> {
    let reader = Reader::open(&directory.store(id), &network.id).map_err(open_failed)?;
    Ok(reader.snapshot()?)
}

fn print_json(value: &RawValue) -> Result<Exit> {
    println!("{value}");
    Ok(Exit::Done)
}

fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(columns.iter().copied());
    table
}

fn print_table(table: &Table) -> Result<Exit> {
    println!("{table}");
    Ok(Exit::Done)
}
