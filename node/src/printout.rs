//! `blockchain<ID>.txt` and `ledger<ID>.txt`: what a node believes, for people with `watch cat`.
//!
//! They are written by a thread of their own from a snapshot of the store, only the newest blocks and only so often
//! that it is idle nine tenths of the time; so neither mining nor the chain's length is ever held up by them.
//! Invariant: a reader sees a whole file, old or new.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use quarry_core::block::Block;
use quarry_core::json::TransactionJson;
use quarry_core::network::Network;
use quarry_core::units::NodeId;

use crate::query;
use crate::store::{Reader, Snapshot};

/// How many blocks are written.
const BLOCKS_MAX: usize = 100;
/// The size at which no more blocks are written, however few that are.
const BLOCKS_BYTES_MAX: usize = 1 << 20;
/// How many balances are written.
const BALANCES_MAX: usize = 1000;
/// The least time between two writes.
const INTERVAL: Duration = Duration::from_millis(250);
/// How many times as long as a write it takes until the next.
const PAUSE_FACTOR: u32 = 10;
const RULE: &str = "---------------------------------------------------------------------------";

/// The thread that writes the files; dropping this writes them a last time.
pub struct Printout {
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What is written where.
pub struct Target {
    /// Whose view it is.
    pub id: NodeId,
    /// Where the blocks go.
    pub blockchain: PathBuf,
    /// Where the balances go.
    pub ledger: PathBuf,
}

impl Printout {
    /// Writes the files for the first time and starts the thread.
    pub fn start(target: Target, network: Arc<Network>, reader: Reader) -> Result<Self> {
        print(&target, &network, &reader)?;
        let (wake, woken) = bounded::<()>(1);
        let write = move || {
            if let Err(error) = print(&target, &network, &reader) {
                tracing::warn!("{error:#}");
            }
        };
        let thread = std::thread::Builder::new()
            .name("printout".into())
            .spawn(move || keep_writing(&woken, INTERVAL, write))?;
        Ok(Self { wake: Some(wake), thread: Some(thread) })
    }

    /// Says that the chain has changed.
    pub fn refresh(&self) {
        // A wake-up that waits already will show this change, too.
        let _ = self.wake.as_ref().map(|wake| wake.try_send(()));
    }
}

impl Drop for Printout {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by then.
            let _ = thread.join();
        }
    }
}

/// Writes after each wake-up, though not too often, until the other end hangs up.
fn keep_writing(woken: &Receiver<()>, interval: Duration, write: impl Fn()) {
    let mut is_due = false;
    loop {
        if !is_due && woken.recv().is_err() {
            return;
        }
        is_due = false;
        let started = Instant::now();
        write();
        let next = started + interval.max(started.elapsed() * PAUSE_FACTOR);
        loop {
            match woken.recv_deadline(next) {
                Ok(()) => is_due = true,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) if is_due => return write(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

fn print(target: &Target, network: &Network, reader: &Reader) -> Result<()> {
    let snapshot = reader.snapshot()?;
    replace(&target.blockchain, &blockchain(target.id, network, &snapshot)?)?;
    replace(&target.ledger, &ledger(target.id, network, &snapshot)?)
}

/// The chain in the original's look, newest block first.
fn blockchain(id: NodeId, network: &Network, snapshot: &Snapshot) -> Result<String> {
    let mut text = format!("Node {id} Blockchain:\n{RULE}\n");
    let mut older = 0;
    for block in query::newest_blocks(snapshot)?.take(BLOCKS_MAX) {
        let block = block?;
        block_lines(&mut text, &block, network)?;
        older = block.header.index.0;
        if BLOCKS_BYTES_MAX < text.len() {
            break;
        }
    }
    if 0 < older {
        writeln!(
            text,
            "{older} older blocks: see `node chain --node {id} --count N` and `node block N --node {id}`"
        )?;
    }
    Ok(text)
}

fn block_lines(text: &mut String, block: &Block, network: &Network) -> Result<()> {
    let header = &block.header;
    let transactions: Vec<_> =
        block.transactions.iter().map(|it| TransactionJson::new(it, network)).collect();
    writeln!(text, "index: {}", header.index)?;
    writeln!(text, "prevHash: {}", header.prev_hash)?;
    writeln!(text, "timestamp: {}", header.timestamp)?;
    writeln!(text, "nonce: {}", header.nonce)?;
    writeln!(text, "version: {}", header.version)?;
    writeln!(text, "bits: {}", header.bits)?;
    writeln!(text, "miner: {}", network.account_text(&header.miner))?;
    writeln!(text, "extraNonce: {}", block.extra_nonce)?;
    writeln!(text, "txRoot: {}", header.tx_root)?;
    writeln!(text, "transactions: {}", serde_json::to_string(&transactions)?)?;
    writeln!(text, "hash: {}\n{RULE}", header.hash())?;
    Ok(())
}

fn ledger(id: NodeId, network: &Network, snapshot: &Snapshot) -> Result<String> {
    let mut text = format!("Node {id} Ledger at height {}:\n{RULE}\n", query::height(snapshot)?);
    let mut balances = snapshot.balances(None, BALANCES_MAX + 1)?;
    let more = BALANCES_MAX < balances.len();
    balances.truncate(BALANCES_MAX);
    let mut lines: Vec<_> =
        balances.iter().map(|(account, balance)| (network.account_text(account), *balance)).collect();
    lines.sort();
    for (account, balance) in lines {
        writeln!(text, "{account}: {balance}")?;
    }
    if more {
        writeln!(text, "only {BALANCES_MAX} accounts are shown: see `node balance ACCOUNT --node {id}`")?;
    }
    Ok(text)
}

/// Replaces a file as a whole.
fn replace(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension("txt.tmp");
    fs::write(&draft, text).with_context(|| format!("writing {}", draft.display()))?;
    fs::rename(&draft, path).with_context(|| format!("replacing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn the_last_change_is_written_and_a_stop_does_not_wait_for_the_pause() {
        const LONG: Duration = Duration::from_secs(600);
        let writes = AtomicU32::new(0);
        let write = || _ = writes.fetch_add(1, Ordering::Relaxed);
        let (wake, woken) = bounded::<()>(1);
        let started = Instant::now();
        std::thread::scope(|scope| {
            let woken = &woken;
            scope.spawn(move || keep_writing(woken, LONG, write));
            wake.send(()).unwrap();
            // There is room for this one only once the first write has begun: it falls into the pause.
            wake.send(()).unwrap();
            drop(wake);
        });
        assert_eq!(writes.into_inner(), 2);
        assert!(started.elapsed() < LONG);
    }
}
