//! How a node's notices are logged and counted.

use std::collections::BTreeMap;

use quarry_core::effect::Notice;
use quarry_core::rules::TransactionError;
use tracing::{debug, info, warn};

#[cfg(feature = "sqs")]
use crate::transport::sqs::SqsError;
use crate::transport::{TransportError, Usage};

/// The most lines a second about what others send and this node refuses; more are only counted.
const REFUSALS_PER_SECOND_MAX: u32 = 20;

/// What has happened, logged and counted.
#[derive(Debug, Default)]
pub struct Journal {
    counters: BTreeMap<&'static str, u64>,
    second: u64,
    refusals: u32,
}

impl Journal {
    /// Counts something.
    pub fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }

    /// How often each kind of thing has happened.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    /// Counts a notice and logs it.
    pub fn note(&mut self, notice: &Notice, elapsed_us: u64) {
        self.count(name(notice));
        if !is_refusal(notice) || self.may_log_refusal(elapsed_us) {
            log(notice);
        }
    }

    /// Counts and logs what the transport has met, which may be of a sender's making, too.
    pub fn trouble(&mut self, trouble: &TransportError, elapsed_us: u64) {
        self.count("transport_troubles");
        self.count(kind(trouble));
        if self.may_log_refusal(elapsed_us) {
            warn!("{trouble}");
        }
    }

    /// Whether there is still room for a refusal in this second's log. Anybody who can send can be refused.
    fn may_log_refusal(&mut self, elapsed_us: u64) -> bool {
        let second = elapsed_us / 1_000_000;
        if self.second != second {
            let silent = self.refusals.saturating_sub(REFUSALS_PER_SECOND_MAX);
            if 0 < silent {
                warn!(count = silent, "more was refused than is logged: `status` has the counts");
            }
            (self.second, self.refusals) = (second, 0);
        }
        self.refusals = self.refusals.saturating_add(1);
        self.refusals <= REFUSALS_PER_SECOND_MAX
    }
}

/// Logs what a transport has used, if that is anything.
pub fn log_usage(usage: &Usage) {
    if !usage.requests.is_empty() {
        info!("{}", usage_text(usage.requests.iter().map(|(name, count)| (*name, *count)), usage.cost_usd));
    }
}

/// Requests by kind and what they cost, in a line.
pub fn usage_text<'a>(requests: impl Iterator<Item = (&'a str, u64)>, cost_usd: f64) -> String {
    let mut kinds: Vec<_> = requests.collect();
    kinds.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let total: u64 = kinds.iter().map(|(_, count)| count).sum();
    let kinds: Vec<_> = kinds.iter().map(|(name, count)| format!("{name} {count}")).collect();
    format!("{total} requests ({}), about ${cost_usd:.6}", kinds.join(", "))
}

/// Whether an error in sending is worth a line: an inbox that stays full is named less and less often.
pub fn is_worth_a_line(error: &TransportError) -> bool {
    match error {
        TransportError::InboxFull { refused, .. } => refused.is_power_of_two(),
        #[cfg(feature = "sqs")]
        TransportError::Sqs(SqsError::OutgoingFull { refused, .. }) => refused.is_power_of_two(),
        _ => true,
    }
}

/// Whether the notice is about something that anybody who can send can cause as often as he likes.
fn is_refusal(notice: &Notice) -> bool {
    matches!(
        notice,
        Notice::MessageRefused { .. }
            | Notice::OriginalRefused(_)
            | Notice::SenderMismatch { .. }
            | Notice::TooManyRequests(_)
            | Notice::TransactionRefused { .. }
            | Notice::BlockRefused { .. }
            | Notice::PeerStopped(_)
            | Notice::PeerBack(_)
    )
}

/// Under which name a trouble of the transport is counted.
fn kind(trouble: &TransportError) -> &'static str {
    match trouble {
        TransportError::Damaged { .. } | TransportError::CursorLost { .. } => "troubles_damage",
        TransportError::Io { .. } => "troubles_files",
        #[cfg(feature = "sqs")]
        TransportError::Sqs(error) => match error {
            SqsError::Unreachable { .. } | SqsError::Timeout { .. } => "troubles_unreachable",
            SqsError::Denied { .. }
            | SqsError::ListDenied
            | SqsError::NoRegion
            | SqsError::NoCredentials(_)
            | SqsError::CredentialsRefused { .. } => "troubles_access",
            SqsError::QueueMissing(_) => "troubles_queue_missing",
            SqsError::GivenUp { .. } | SqsError::OutgoingFull { .. } => "troubles_given_up",
            SqsError::Poison { .. } => "troubles_poison",
            _ => "troubles_service",
        },
        _ => "troubles_other",
    }
}

/// Under which name a notice is counted.
fn name(notice: &Notice) -> &'static str {
    match notice {
        Notice::MessageRefused { .. } | Notice::OriginalRefused(_) | Notice::SenderMismatch { .. } => {
            "messages_refused"
        }
        Notice::Unsolicited(_) => "replies_ignored",
        Notice::TooManyRequests(_) => "requests_ignored",
        Notice::Pending(_) => "transactions_accepted",
        Notice::TransactionRefused {
            error: TransactionError::AlreadyMined(_) | TransactionError::AlreadyPending,
            ..
        } => "transactions_known",
        Notice::TransactionRefused { .. } => "transactions_refused",
        Notice::Expired(_) => "transactions_expired",
        Notice::BlockRefused { .. } => "blocks_refused",
        Notice::Orphan(_) => "orphans",
        Notice::SideBranch { .. } => "side_branch_blocks",
        Notice::Extended { from: Some(_), .. } => "blocks_received",
        Notice::Extended { from: None, .. } => "blocks_mined",
        Notice::Reorganised { abandoned: 0, .. } => "catch_ups",
        Notice::Reorganised { .. } => "reorganisations",
        Notice::StaleResult => "stale_results",
        Notice::SyncStarted(_) => "syncs_started",
        Notice::SyncFinished(_) => "syncs_finished",
        Notice::SyncFailed { .. } => "syncs_failed",
        Notice::PeerJoined(_) => "peers_joined",
        Notice::PeerLeft(_) => "peers_left",
        Notice::PeerSilent(_) => "peers_silent",
        Notice::PeerStopped(_) => "peers_stopped",
        Notice::PeerBack(_) => "peers_back",
    }
}

fn log(notice: &Notice) {
    match notice {
        Notice::Unsolicited(peer) => debug!(%peer, "reply ignored: nothing was asked, or not any more"),
        Notice::Pending(id) => debug!(%id, "transaction waits"),
        Notice::Expired(id) => info!(%id, "transaction expired unmined"),
        Notice::Orphan(hash) => debug!(%hash, "block with an unknown parent"),
        Notice::SideBranch { height, hash } => info!(%height, %hash, "block on another branch"),
        Notice::Extended { height, hash, transactions, from: Some(from) } => {
            info!(%height, %hash, transactions, %from, "new tip");
        }
        Notice::Extended { height, hash, transactions, from: None } => {
            info!(%height, %hash, transactions, "mined a block");
        }
        Notice::Reorganised { height, hash, abandoned: 0, applied, .. } => {
            info!(%height, %hash, blocks = applied, "new tip, several blocks on");
        }
        Notice::Reorganised { height, hash, abandoned, applied, returned, dropped } => {
            info!(%height, %hash, abandoned, applied, returned, "moved to a better branch");
            if 0 < *dropped {
                warn!(dropped, "too many transactions wait: some of the abandoned branch are dropped");
            }
        }
        Notice::StaleResult => debug!("the search found a nonce too late"),
        Notice::SyncStarted(peer) => debug!(%peer, "fetching a chain"),
        Notice::SyncFinished(peer) => debug!(%peer, "fetched a chain"),
        Notice::SyncFailed { peer, reason } => info!(%peer, "could not fetch a chain: {reason}"),
        Notice::PeerJoined(peer) => info!(%peer, "peer found"),
        Notice::PeerLeft(peer) => info!(%peer, "peer gone"),
        Notice::PeerSilent(peer) => warn!(%peer, "peer silent: nothing is sent to it until it is heard of"),
        Notice::PeerStopped(peer) => info!(%peer, "peer stops: nothing is sent to it until it is heard of"),
        Notice::PeerBack(peer) => info!(%peer, "peer back"),
        Notice::MessageRefused { .. }
        | Notice::OriginalRefused(_)
        | Notice::SenderMismatch { .. }
        | Notice::TooManyRequests(_)
        | Notice::TransactionRefused { .. }
        | Notice::BlockRefused { .. } => log_refusal(notice),
    }
}

fn log_refusal(notice: &Notice) {
    match notice {
        Notice::MessageRefused { from, error } => {
            warn!(from = sender(*from), "message refused: {error}");
        }
        Notice::OriginalRefused(error) => warn!("message of the original refused: {error}"),
        Notice::SenderMismatch { from, claimed } => {
            warn!(from = sender(*from), "message refused: it claims to be from node {claimed}");
        }
        Notice::TooManyRequests(peer) => warn!(%peer, "request ignored: too many in a minute"),
        Notice::TransactionRefused { id, error, .. } if name(notice) == "transactions_known" => {
            debug!(%id, "transaction known: {error}");
        }
        Notice::TransactionRefused { from, id, error } => {
            info!(from = sender(*from), %id, "transaction refused: {error}");
        }
        Notice::BlockRefused { from, hash, error } => {
            warn!(from = sender(*from), %hash, "block refused: {error}");
        }
        other => unreachable!("{other:?} is no refusal"),
    }
}

fn sender(from: Option<quarry_core::units::NodeId>) -> String {
    from.map_or_else(|| "a client".to_owned(), |id| format!("node {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_all_counted_and_not_all_logged() {
        let mut journal = Journal::default();
        let refusal = Notice::SenderMismatch { from: None, claimed: quarry_core::units::NodeId(1) };
        for _ in 0..1000 {
            journal.note(&refusal, 1_999_999);
        }
        assert_eq!(journal.counters()["messages_refused"], 1000);
        assert!(!journal.may_log_refusal(1_999_999));
        assert!(journal.may_log_refusal(2_000_000), "the next second has room again");
    }
}
