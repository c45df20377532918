//! The JSON API, version 1, and its description as OpenAPI.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use quarry_core::json::TransactionJson;
use quarry_core::network::Network;
use quarry_core::store::Store as _;
use quarry_core::transaction::Transaction;
use quarry_core::units::{Hash, Height, TxId};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use utoipa::OpenApi;

use super::Shared;
use crate::args::BlockRef;
use crate::control::{self, Refused};
use crate::exit::{self, Exit};
use crate::query::{self, Query};
use crate::store::Snapshot;

/// How many transactions an answer lists, where nothing else is asked for.
const WAITING_MAX: usize = 1000;
/// How many waiting transactions are searched for one; the mempool holds no more.
const SEARCHED_MAX: usize = quarry_core::mempool::MEMPOOL_MAX;

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(title = "Quarry", description = "What a node knows, and a way to give it a transaction."),
    paths(status, blocks, block, transaction, submit, accounts, account, mempool, peers)
)]
struct Description;

/// Where a transaction stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransactionAnswer {
    /// `pending` or `mined`.
    pub(super) state: &'static str,
    /// Its JSON form.
    pub(super) transaction: Box<RawValue>,
    /// The height of its block.
    pub(super) height: Option<Height>,
    /// The hash of its block.
    pub(super) block: Option<Hash>,
    /// How many blocks of the best chain it is deep, its own included.
    pub(super) confirmations: u64,
}

/// A transaction as a snapshot has it, with the height and hash of its block if it is mined.
pub(super) type Found = (Transaction, Option<(Height, Hash)>);

/// How many blocks.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Count {
    /// How many, up to 1000; 20 where it is left out.
    count: Option<u32>,
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/blocks", get(blocks))
        .route("/api/v1/blocks/{block}", get(block))
        .route("/api/v1/transactions", axum::routing::post(submit))
        .route("/api/v1/transactions/{id}", get(transaction))
        .route("/api/v1/accounts", get(accounts))
        .route("/api/v1/accounts/{account}", get(account))
        .route("/api/v1/mempool", get(mempool))
        .route("/api/v1/peers", get(peers))
        .route("/api/v1/openapi.json", get(|| async { axum::Json(Description::openapi()) }))
}

/// Where the node stands.
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, description = "The node's status")))]
async fn status(State(shared): State<Arc<Shared>>) -> Response {
    match shared.site.feed.view() {
        Some(view) => axum::Json(&view.status).into_response(),
        None => error(StatusCode::SERVICE_UNAVAILABLE, "the node is starting"),
    }
}

/// The newest blocks, the tip first.
#[utoipa::path(get, path = "/api/v1/blocks", params(Count), responses((status = 200, description = "Blocks")))]
async fn blocks(State(shared): State<Arc<Shared>>, Parameters(count): Parameters<Count>) -> Response {
    ask(&shared, &Query::Chain { count: count.count.unwrap_or(20) })
}

/// A block by height or hash, and how deep it is.
#[utoipa::path(
    get, path = "/api/v1/blocks/{block}",
    params(("block" = String, Path, description = "A height of the best chain, or any block's hash")),
    responses((status = 200, description = "The block"), (status = 404, description = "There is none"))
)]
async fn block(State(shared): State<Arc<Shared>>, Path(block): Path<String>) -> Response {
    match block.parse::<BlockRef>() {
        Ok(block) => ask(&shared, &block.into()),
        Err(reason) => error(StatusCode::BAD_REQUEST, &reason),
    }
}

/// Where a transaction stands: waiting, or mined in which block.
#[utoipa::path(
    get, path = "/api/v1/transactions/{id}",
    params(("id" = String, Path, description = "The transaction's unique_id")),
    responses((status = 200, description = "The transaction"), (status = 404, description = "It is unknown"))
)]
async fn transaction(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let id: TxId = match id.parse() {
        Ok(id) => id,
        Err(reason) => return error(StatusCode::BAD_REQUEST, &reason.to_string()),
    };
    answer(shared.site.reader.snapshot().map_err(Into::into).and_then(|store| {
        let Some((transaction, place)) = find(&store, &id)? else {
            return Err(Exit::NotFound.error(anyhow::anyhow!("{}", unknown(&store)?)));
        };
        let height = query::height(&store)?;
        Ok(to_raw_value(&TransactionAnswer {
            state: if place.is_some() { "mined" } else { "pending" },
            transaction: json(&transaction, &shared.site.network)?,
            height: place.map(|(height, _)| height),
            block: place.map(|(_, hash)| hash),
            confirmations: place.map_or(0, |(at, _)| height.0.saturating_sub(at.0) + 1),
        })?)
    }))
}

/// Takes a transaction in its JSON form.
#[utoipa::path(
    post, path = "/api/v1/transactions", request_body(content = String, content_type = "application/json"),
    responses(
        (status = 202, description = "It waits to be mined"), (status = 422, description = "It breaks a rule"),
        (status = 401, description = "The token is missing or wrong")
    )
)]
async fn submit(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let parsed = serde_json::from_slice::<TransactionJson<'_>>(&body).map_err(|error| error.to_string());
    let network = &shared.site.network;
    match parsed.and_then(|json| json.parse(network).map_err(|error| error.to_string())) {
        Err(reason) => error(StatusCode::BAD_REQUEST, &reason),
        Ok(transaction) => {
            let id = transaction.id();
            match give(&shared, transaction).await {
                Ok(()) => {
                    let body = serde_json::json!({ "unique_id": id, "state": "pending" });
                    (StatusCode::ACCEPTED, axum::Json(body)).into_response()
                }
                Err(reason) if reason.is::<Refused>() => {
                    error(StatusCode::UNPROCESSABLE_ENTITY, &reason.to_string())
                }
                Err(reason) => error(StatusCode::SERVICE_UNAVAILABLE, &reason.to_string()),
            }
        }
    }
}

/// The balances of all accounts, up to 1000.
#[utoipa::path(get, path = "/api/v1/accounts", responses((status = 200, description = "Balances")))]
async fn accounts(State(shared): State<Arc<Shared>>) -> Response {
    ask(&shared, &Query::Balances { account: None })
}

/// An account's balance.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}",
    params(("account" = String, Path, description = "The account's name or id")),
    responses((status = 200, description = "The balance"), (status = 404, description = "No such account"))
)]
async fn account(State(shared): State<Arc<Shared>>, Path(account): Path<String>) -> Response {
    ask(&shared, &Query::Balances { account: Some(account) })
}

/// The newest of the waiting transactions, up to 1000.
#[utoipa::path(get, path = "/api/v1/mempool", responses((status = 200, description = "Transactions")))]
async fn mempool(State(shared): State<Arc<Shared>>) -> Response {
    answer(shared.site.reader.snapshot().map_err(Into::into).and_then(|store| {
        let waiting = store.newest_waiting(WAITING_MAX)?;
        let network = &shared.site.network;
        let list: Vec<_> = waiting.iter().map(|it| TransactionJson::new(it, network)).collect();
        Ok(to_raw_value(&list)?)
    }))
}

/// The other nodes, as this one sees them.
#[utoipa::path(get, path = "/api/v1/peers", responses((status = 200, description = "Peers")))]
async fn peers(State(shared): State<Arc<Shared>>) -> Response {
    match shared.site.feed.view() {
        Some(view) => axum::Json(&view.status.peers).into_response(),
        None => error(StatusCode::SERVICE_UNAVAILABLE, "the node is starting"),
    }
}

/// Gives a transaction to the run loop, off the thread that serves everybody else.
pub(super) async fn give(shared: &Arc<Shared>, transaction: Transaction) -> Result<()> {
    let asks = shared.site.asks.clone();
    tokio::task::spawn_blocking(move || control::submit(&asks, transaction)).await?
}

/// Where a transaction stands.
pub(super) fn find(store: &Snapshot, id: &TxId) -> Result<Option<Found>> {
    if let Some(height) = store.mined(id)? {
        let Some(hash) = store.path(height)? else { return Ok(None) };
        let block = store.block(&hash)?;
        let found = block.and_then(|block| block.transactions.iter().find(|it| it.id() == *id).cloned());
        return Ok(found.map(|transaction| (transaction, Some((height, hash)))));
    }
    let waiting = store.newest_waiting(SEARCHED_MAX)?;
    Ok(waiting.into_iter().find(|it| it.id() == *id).map(|transaction| (transaction, None)))
}

/// What can be said of a transaction that is not found.
pub(super) fn unknown(store: &Snapshot) -> Result<String> {
    let from = store.indexed_from()?;
    Ok(format!(
        "this transaction neither waits nor is it in a block from height {from} on; older are not indexed"
    ))
}

fn json(transaction: &Transaction, network: &Network) -> Result<Box<RawValue>> {
    Ok(to_raw_value(&TransactionJson::new(transaction, network))?)
}

fn ask(shared: &Shared, query: &Query) -> Response {
    let snapshot = shared.site.reader.snapshot().map_err(Into::into);
    answer(snapshot.and_then(|store| query::answer(&store, &shared.site.network, query)))
}

fn answer(result: Result<Box<RawValue>>) -> Response {
    match result {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], String::from(Box::<str>::from(json)))
            .into_response(),
        Err(reason) if exit::code(&reason) == Exit::NotFound => {
            error(StatusCode::NOT_FOUND, &reason.to_string())
        }
        Err(reason) => error(StatusCode::INTERNAL_SERVER_ERROR, &format!("{reason:#}")),
    }
}

fn error(code: StatusCode, reason: &str) -> Response {
    (code, axum::Json(serde_json::json!({ "error": reason }))).into_response()
}
