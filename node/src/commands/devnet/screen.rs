//! What `devnet` shows while it runs: a table that is drawn over itself on a terminal, or else a line each second.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anyhow::Result;
use comfy_table::Table;
use quarry_core::units::{Hash, NodeId};

use crate::commands::inspect::{self, align_right, hash_rate, short_hash};
use crate::commands::output::{self, say};
use crate::config::{Directory, program};
use crate::control::{self, NodeStatus};

/// How long a node has to say where it stands.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most nodes that a table on a terminal has room for.
const TABLE_NODES_MAX: usize = 16;

/// Where a node stands, as far as it says.
#[derive(Debug)]
pub(super) enum Standing {
    /// It answers.
    Up(Box<NodeStatus>),
    /// No process listens.
    Down,
    /// A process listens and does not answer.
    Silent,
}

/// Where all nodes of a network stand.
pub(super) struct Standings(BTreeMap<NodeId, Standing>);

/// The part of the output that changes.
#[derive(Default)]
pub(super) struct Screen {
    /// How many lines of the terminal the last table takes.
    lines: usize,
}

impl Standings {
    /// Asks all nodes at once.
    pub(super) fn ask(directory: &Directory, ids: &[NodeId]) -> Self {
        let ask = |id: NodeId| match control::status_within(&directory.socket(id), PATIENCE) {
            Ok(Some(status)) => Standing::Up(Box::new(status)),
            Ok(None) => Standing::Down,
            Err(_) => Standing::Silent,
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = ids.iter().map(|id| (*id, scope.spawn(move || ask(*id)))).collect();
            let standings = threads.into_iter().map(|(id, thread)| (id, thread.join()));
            Self(standings.map(|(id, standing)| (id, standing.unwrap_or(Standing::Silent))).collect())
        })
    }

    /// All nodes, by number.
    #[cfg(feature = "http")]
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Standing)> {
        self.0.iter().map(|(id, standing)| (*id, standing))
    }

    /// The nodes that answer.
    pub(super) fn up(&self) -> impl Iterator<Item = &NodeStatus> {
        self.0.values().filter_map(|standing| match standing {
            Standing::Up(status) => Some(&**status),
            Standing::Down | Standing::Silent => None,
        })
    }

    /// Whether all nodes that answer have the same tip.
    pub(super) fn agree(&self) -> bool {
        self.tips() <= 1
    }

    /// Whether all nodes answer.
    pub(super) fn are_up(&self) -> bool {
        self.up().count() == self.0.len()
    }

    /// Whether the nodes agree, in words.
    pub(super) fn agreement(&self) -> String {
        let (up, all) = (self.up().count(), self.0.len());
        let missing = if up == all { String::new() } else { format!(", {} of {all} down", all - up) };
        match self.tips() {
            0 => "no node answers".to_owned(),
            1 => format!("all agree{missing}"),
            tips => format!("{tips} different tips{missing}"),
        }
    }

    /// A row for each node.
    pub(super) fn table(&self) -> Table {
        let mut table =
            inspect::table(&["node", "height", "tip", "mempool", "hash rate", "mined", "reorgs", "doing"]);
        align_right(&mut table, &[0, 1, 3, 4, 5, 6]);
        for (id, standing) in &self.0 {
            let doing = match standing {
                Standing::Up(status) => {
                    table.add_row(row(status));
                    continue;
                }
                Standing::Down => "down",
                Standing::Silent => "no answer",
            };
            table.add_row([&id.to_string(), "", "", "", "", "", "", doing]);
        }
        table
    }

    fn tips(&self) -> usize {
        self.up().map(|status| status.tip).collect::<BTreeSet<Hash>>().len()
    }

    fn line(&self) -> String {
        let best = self.up().max_by_key(|status| status.height);
        let height = best.map_or_else(|| "-".into(), |status| status.height.to_string());
        let tip = best.map_or_else(|| "-".into(), |status| short_hash(&status.tip));
        let mempool = self.up().map(|status| status.mempool).max().unwrap_or(0);
        // Not the sum: nodes that share a machine are not all at this rate at the same time.
        let sum: f64 = self.up().map(|status| status.hash_rate.over_10_s).sum();
        let rate = hash_rate(sum / self.up().count().max(1) as f64);
        let agreement = self.agreement();
        format!("height {height:<6} {tip:<16}  {rate:>10} a node  mempool {mempool:<5}  {agreement}")
    }
}

fn row(status: &NodeStatus) -> [String; 8] {
    let counter = |name: &str| status.counters.get(name).unwrap_or(&0).to_string();
    let doing = match (status.syncing, status.searching) {
        _ if status.cut_off => "cut off".to_owned(),
        (Some(peer), _) => format!("syncing with {peer}"),
        (None, true) => "searching".to_owned(),
        (None, false) => "waiting".to_owned(),
    };
    [
        status.id.to_string(),
        status.height.to_string(),
        short_hash(&status.tip),
        status.mempool.to_string(),
        hash_rate(status.hash_rate.over_10_s),
        counter("blocks_mined"),
        counter("reorganisations"),
        doing,
    ]
}

impl Screen {
    /// Shows where the nodes stand.
    pub(super) fn show(
        &mut self,
        elapsed: Duration,
        standings: &Standings,
        directory: &Directory,
    ) -> Result<()> {
        let seconds = elapsed.as_secs();
        if !io::stdout().is_terminal() || TABLE_NODES_MAX < standings.0.len() {
            return say!("{seconds:>5} s  {}", standings.line());
        }
        let table = standings.table();
        let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.push(format!("{seconds} s, {}", standings.agreement()));
        for (id, standing) in &standings.0 {
            if let Standing::Down = standing {
                let (program, place) = (program(), directory.path().display());
                lines.push(format!("start node {id} again: {program} {id} --dir {place}"));
            }
        }
        // Some terminals do not know their width, and say 0.
        let width = table.width().map(usize::from).filter(|width| 0 < *width).unwrap_or(80);
        let mut text = String::new();
        if 0 < self.lines {
            // Up to the table's first line, and clear from there.
            text.push_str(&format!("\x1b[{}A\x1b[J", self.lines));
        }
        self.lines = lines.iter().map(|line| line.chars().count().div_ceil(width).max(1)).sum();
        text.push_str(&lines.join("\n"));
        text.push('\n');
        output::bytes(text.as_bytes())
    }
}
