//! How a node's notices are logged and counted.

use std::collections::BTreeMap;

use quarry_core::effect::Notice;
use quarry_core::rules::TransactionError;
use tracing::{debug, info, warn};

/// How often each kind of thing has happened.
#[derive(Debug, Default, Clone)]
pub struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    /// Counts something.
    pub fn count(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    /// All counters by name.
    pub fn by_name(&self) -> BTreeMap<String, u64> {
        self.0.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }
}

/// Logs a notice and says under which name to count it.
pub fn log(notice: &Notice) -> &'static str {
    match notice {
        Notice::MessageRefused { .. }
        | Notice::SenderMismatch { .. }
        | Notice::Unsolicited(_)
        | Notice::TooManyRequests(_)
        | Notice::TransactionRefused { .. }
        | Notice::BlockRefused { .. } => log_refusal(notice),
        Notice::SyncStarted(_) | Notice::SyncFinished(_) | Notice::SyncFailed { .. } => log_sync(notice),
        Notice::Pending(id) => {
            debug!(%id, "transaction waits");
            "transactions_accepted"
        }
        Notice::Expired(id) => {
            info!(%id, "transaction expired unmined");
            "transactions_expired"
        }
        Notice::Orphan(hash) => {
            debug!(%hash, "block with an unknown parent");
            "orphans"
        }
        Notice::SideBranch { height, hash } => {
            info!(%height, %hash, "block on another branch");
            "side_branch_blocks"
        }
        Notice::Extended { height, hash, transactions, from: Some(from) } => {
            info!(%height, %hash, transactions, %from, "new tip");
            "blocks_received"
        }
        Notice::Extended { height, hash, transactions, from: None } => {
            info!(%height, %hash, transactions, "mined a block");
            "blocks_mined"
        }
        Notice::Reorganised { height, hash, abandoned, applied, returned, dropped } => {
            info!(%height, %hash, abandoned, applied, returned, "moved to a better branch");
            if 0 < *dropped {
                warn!(dropped, "too many transactions wait: some of the abandoned branch are dropped");
            }
            "reorganisations"
        }
        Notice::StaleResult => {
            debug!("the search found a nonce too late");
            "stale_results"
        }
        Notice::PeerJoined(peer) => {
            info!(%peer, "peer found");
            "peers_joined"
        }
        Notice::PeerLeft(peer) => {
            info!(%peer, "peer gone");
            "peers_left"
        }
    }
}

fn log_refusal(notice: &Notice) -> &'static str {
    match notice {
        Notice::MessageRefused { from, error } => {
            warn!(from = sender(*from), "message refused: {error}");
            "messages_refused"
        }
        Notice::SenderMismatch { from, claimed } => {
            warn!(from = sender(*from), "message refused: it claims to be from node {claimed}");
            "messages_refused"
        }
        Notice::Unsolicited(peer) => {
            debug!(%peer, "reply ignored: nothing was asked, or not any more");
            "replies_ignored"
        }
        Notice::TooManyRequests(peer) => {
            warn!(%peer, "request ignored: too many in a minute");
            "requests_ignored"
        }
        Notice::TransactionRefused { id, error: TransactionError::AlreadyMined(height), .. } => {
            debug!(%id, %height, "transaction is mined already");
            "transactions_known"
        }
        Notice::TransactionRefused { id, error: TransactionError::AlreadyPending, .. } => {
            debug!(%id, "transaction waits already");
            "transactions_known"
        }
        Notice::TransactionRefused { from, id, error } => {
            info!(from = sender(*from), %id, "transaction refused: {error}");
            "transactions_refused"
        }
        Notice::BlockRefused { from, hash, error } => {
            warn!(from = sender(*from), %hash, "block refused: {error}");
            "blocks_refused"
        }
        other => unreachable!("{other:?} is no refusal"),
    }
}

fn log_sync(notice: &Notice) -> &'static str {
    match notice {
        Notice::SyncStarted(peer) => {
            debug!(%peer, "fetching a chain");
            "syncs_started"
        }
        Notice::SyncFinished(peer) => {
            debug!(%peer, "fetched a chain");
            "syncs_finished"
        }
        Notice::SyncFailed { peer, reason } => {
            info!(%peer, "could not fetch a chain: {reason}");
            "syncs_failed"
        }
        other => unreachable!("{other:?} is not about sync"),
    }
}

fn sender(from: Option<quarry_core::units::NodeId>) -> String {
    from.map_or_else(|| "a client".to_owned(), |id| format!("node {id}"))
}
