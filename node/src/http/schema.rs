//! The shapes of the API's answers, for its description only; a test holds real answers against them.
#![expect(dead_code, reason = "only their descriptions are used")]

use std::collections::BTreeMap;

use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, ResponseBuilder};
use utoipa::{Modify, ToSchema};

/// Adds what every request may be answered, and how a client shows that it may change something.
pub(super) struct Refusals;

impl Modify for Refusals {
    fn modify(&self, description: &mut OpenApi) {
        let refusals = [
            ("421", "The server is not asked for by a name that it has"),
            ("429", "Too many requests; another second has room for more"),
            ("500", "The store cannot be read"),
            ("503", "The node is starting, stopping or too busy"),
        ];
        let operations = description.paths.paths.values_mut().flat_map(|item| {
            let PathItem { get, post, .. } = item;
            get.iter_mut().chain(post)
        });
        for operation in operations {
            for (code, words) in refusals {
                let content = Content::new(Some(Ref::from_schema_name("Failure")));
                let response = ResponseBuilder::new().description(words).content("application/json", content);
                operation.responses.responses.entry(code.into()).or_insert_with(|| response.build().into());
            }
        }
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let words =
            "What QUARRY_HTTP_TOKEN was at the node's start; needed where others can reach the server";
        let scheme = SecurityScheme::Http(bearer.description(Some(words)).build());
        description.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// Where a node stands.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct Status {
    /// Its number.
    id: u16,
    /// Its process.
    pid: u32,
    /// Its network.
    network: String,
    /// For how many seconds it has run.
    uptime_s: f64,
    /// Its clock, UTC.
    time: String,
    /// The height of its tip.
    height: u64,
    /// Its tip.
    tip: String,
    /// How many hashes the next block takes on average, if it comes now.
    difficulty: f64,
    /// How many transactions wait.
    mempool: u64,
    /// Whether it mines, and has something to mine.
    searching: bool,
    /// What mines, if anything does.
    #[schema(required)]
    backend: Option<String>,
    hash_rate: HashRates,
    /// Whether it is cut off because it was asked to be.
    cut_off: bool,
    /// Where its web pages are.
    #[schema(required)]
    pages: Option<String>,
    /// The peer whose chain it fetches, if any.
    #[schema(required)]
    syncing: Option<u16>,
    peers: Vec<Peer>,
    /// How often things have happened since its start, by name.
    counters: BTreeMap<String, u64>,
    usage: Usage,
}

/// Hashes a second over stretches of searching.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct HashRates {
    #[schema(rename = "over10S")]
    over_10_s: f64,
    #[schema(rename = "over60S")]
    over_60_s: f64,
    #[schema(rename = "over15Min")]
    over_15_min: f64,
    /// The most over any 10 seconds.
    max: f64,
}

/// What the transport has used.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct Usage {
    /// Billed requests by the name of the operation.
    requests: BTreeMap<String, u64>,
    requests_total: u64,
    /// What they cost by list price, in US dollars.
    cost_usd: f64,
    /// How often other things have happened.
    events: BTreeMap<String, u64>,
}

/// Another node, as this one sees it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct Peer {
    id: u16,
    /// The height of its tip, by its last status.
    #[schema(required)]
    height: Option<u64>,
    /// Its tip, by its last status.
    #[schema(required)]
    tip: Option<String>,
    /// How many seconds ago it was last heard of.
    #[schema(required)]
    heard_s: Option<f64>,
    state: PeerState,
    /// How many milliseconds a message takes to it.
    #[schema(required)]
    delay_ms: Option<f64>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
enum PeerState {
    Alive,
    Suspect,
    Parked,
    Stopped,
}

/// A transaction.
#[derive(ToSchema)]
pub(super) struct Transaction {
    /// The account that is paid, by name or id.
    to_node: String,
    /// The account that pays.
    from_node: String,
    /// With two decimals.
    amount: f64,
    /// UTC.
    timestamp: String,
    /// A digest of the network and of all that is above.
    unique_id: String,
    /// Where the account is keyed.
    public_key: Option<String>,
    /// Where the account is keyed.
    signature: Option<String>,
}

/// A block.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct Block {
    /// Its height.
    index: u64,
    prev_hash: String,
    /// UTC.
    timestamp: String,
    nonce: u64,
    version: u32,
    /// The target, compact.
    bits: String,
    miner: String,
    extra_nonce: u64,
    tx_root: String,
    transactions: Vec<Transaction>,
    /// One SHA-256 of the header.
    hash: String,
}

/// A block, and where it stands.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct PlacedBlock {
    block: Block,
    /// Its 116 bytes in hex.
    header: String,
    /// How many blocks of the best chain it is deep, itself included; 0 on another branch.
    confirmations: u64,
}

/// Balances at a height.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct Balances {
    height: u64,
    balances: Vec<Balance>,
    /// Whether there are more accounts than fit an answer.
    more: bool,
}

#[derive(ToSchema)]
struct Balance {
    /// Its name, or its id where it has none.
    account: String,
    id: String,
    /// With two decimals.
    balance: String,
}

/// A transaction that was taken.
#[derive(ToSchema)]
pub(super) struct Taken {
    unique_id: String,
    /// `pending`.
    state: String,
}

/// Where a transaction stands.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct Standing {
    state: State,
    /// Where the node has it.
    #[schema(required)]
    transaction: Option<Transaction>,
    /// UTC: since when it is so, as far as that is known.
    #[schema(required)]
    since: Option<String>,
    /// What it waits for, or the rule that it breaks.
    #[schema(required)]
    reason: Option<String>,
    /// UTC: when it becomes too old to be mined, while it waits.
    #[schema(required)]
    expires: Option<String>,
    /// The height of its block.
    #[schema(required)]
    height: Option<u64>,
    /// The hash of its block.
    #[schema(required)]
    block: Option<String>,
    /// How many blocks of the best chain it is deep, its own included.
    confirmations: u64,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
enum State {
    Pending,
    Mined,
    Refused,
    Expired,
}

/// Why there is no other answer.
#[derive(ToSchema)]
pub(super) struct Failure {
    error: String,
}
