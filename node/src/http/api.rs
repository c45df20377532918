//! The JSON API, version 1, and its description as OpenAPI.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query as Parameters, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use quarry_core::json::TransactionJson;
use quarry_core::transaction::Transaction;
use quarry_core::units::TxId;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::OpenApi;

use super::schema::Refusals;
use super::{Shared, Site, schema};
use crate::args::BlockRef;
use crate::control::{self, Refused};
use crate::exit::{self, Exit};
use crate::query::{self, Query};
use crate::standing;

/// How many transactions an answer lists, where nothing else is asked for.
const WAITING_MAX: usize = 1000;

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(title = "Quarry", description = "What a node knows, and a way to give it a transaction."),
    paths(status, blocks, block, transaction, submit, accounts, account, mempool, peers),
    components(schemas(schema::Failure)),
    modifiers(&Refusals)
)]
struct Description;

/// How many blocks.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Count {
    /// How many, up to 1000; 20 where it is left out.
    count: Option<u32>,
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    let routes = Router::new()
        .route("/status", get(status))
        .route("/blocks", get(blocks))
        .route("/blocks/{block}", get(block))
        .route("/transactions", axum::routing::post(submit))
        .route("/transactions/{id}", get(transaction))
        .route("/accounts", get(accounts))
        .route("/accounts/{account}", get(account))
        .route("/mempool", get(mempool))
        .route("/peers", get(peers))
        .route("/openapi.json", get(|| async { axum::Json(Description::openapi()) }))
        .fallback(async || error(StatusCode::NOT_FOUND, "the API has nothing of that name"))
        .method_not_allowed_fallback(async || {
            error(StatusCode::METHOD_NOT_ALLOWED, "openapi.json says what can be done here")
        });
    Router::new().nest("/api/v1", routes)
}

/// Where the node stands.
#[utoipa::path(get, path = "/api/v1/status", responses(
    (status = 200, description = "The node's status", body = schema::Status)
))]
async fn status(State(shared): State<Arc<Shared>>) -> Response {
    match shared.site.feed.view() {
        Some(view) => axum::Json(&view.status).into_response(),
        None => error(StatusCode::SERVICE_UNAVAILABLE, "the node is starting"),
    }
}

/// The newest blocks, the tip first.
#[utoipa::path(get, path = "/api/v1/blocks", params(Count), responses(
    (status = 200, description = "Blocks", body = [schema::Block]),
    (status = 400, description = "The count is not one", body = schema::Failure)
))]
async fn blocks(
    State(shared): State<Arc<Shared>>,
    count: Result<Parameters<Count>, QueryRejection>,
) -> Response {
    match count {
        Ok(Parameters(count)) => ask(shared, Query::Chain { count: count.count.unwrap_or(20) }).await,
        Err(reason) => error(reason.status(), &reason.body_text()),
    }
}

/// A block by height or hash, and how deep it is.
#[utoipa::path(
    get, path = "/api/v1/blocks/{block}",
    params(("block" = String, Path, description = "A height of the best chain, or any block's hash")),
    responses(
        (status = 200, description = "The block", body = schema::PlacedBlock),
        (status = 400, description = "It is neither a height nor a hash", body = schema::Failure),
        (status = 404, description = "There is none", body = schema::Failure)
    )
)]
async fn block(State(shared): State<Arc<Shared>>, Path(block): Path<String>) -> Response {
    match block.parse::<BlockRef>() {
        Ok(block) => ask(shared, block.into()).await,
        Err(reason) => error(StatusCode::BAD_REQUEST, &reason),
    }
}

/// Where a transaction stands and why: waiting since when and for what, mined in which block, refused by which rule,
/// or expired.
#[utoipa::path(
    get, path = "/api/v1/transactions/{id}",
    params(("id" = String, Path, description = "The transaction's unique_id")),
    responses(
        (status = 200, description = "Where it stands", body = schema::Standing),
        (status = 400, description = "It is not an id", body = schema::Failure),
        (status = 404, description = "It is unknown", body = schema::Failure)
    )
)]
async fn transaction(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let id: TxId = match id.parse() {
        Ok(id) => id,
        Err(reason) => return error(StatusCode::BAD_REQUEST, &reason.to_string()),
    };
    let read = move |shared: &Shared| {
        let Site { network, reader, fates, .. } = &shared.site;
        let standing = standing::of(reader, network, Some(fates), &id);
        answer(standing.and_then(|standing| Ok(to_raw_value(&standing)?)))
    };
    shared.read(read).await
}

/// Takes a transaction in its JSON form.
#[utoipa::path(
    post, path = "/api/v1/transactions", request_body = schema::Transaction, security((), ("token" = [])),
    responses(
        (status = 202, description = "It waits to be mined", body = schema::Taken),
        (status = 400, description = "It is not a transaction", body = schema::Failure),
        (status = 401, description = "The token is missing or wrong", body = schema::Failure),
        (status = 403, description = "It comes from another site's page, or there is no token", body = schema::Failure),
        (status = 408, description = "It comes too slowly", body = schema::Failure),
        (status = 413, description = "It is too large", body = schema::Failure),
        (status = 422, description = "It breaks a rule", body = schema::Failure)
    )
)]
async fn submit(State(shared): State<Arc<Shared>>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(reason) => return error(reason.status(), &reason.body_text()),
    };
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
#[utoipa::path(get, path = "/api/v1/accounts", responses(
    (status = 200, description = "Balances", body = schema::Balances)
))]
async fn accounts(State(shared): State<Arc<Shared>>) -> Response {
    ask(shared, Query::Balances { account: None }).await
}

/// An account's balance.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}",
    params(("account" = String, Path, description = "The account's name or id")),
    responses(
        (status = 200, description = "The balance", body = schema::Balances),
        (status = 404, description = "No such account", body = schema::Failure)
    )
)]
async fn account(State(shared): State<Arc<Shared>>, Path(account): Path<String>) -> Response {
    ask(shared, Query::Balances { account: Some(account) }).await
}

/// The newest of the waiting transactions, up to 1000.
#[utoipa::path(get, path = "/api/v1/mempool", responses(
    (status = 200, description = "Transactions", body = [schema::Transaction])
))]
async fn mempool(State(shared): State<Arc<Shared>>) -> Response {
    let read = |shared: &Shared| {
        answer(shared.site.reader.snapshot().map_err(Into::into).and_then(|store| {
            let waiting = store.newest_waiting(WAITING_MAX)?;
            let network = &shared.site.network;
            let list: Vec<_> = waiting.iter().map(|it| TransactionJson::new(it, network)).collect();
            Ok(to_raw_value(&list)?)
        }))
    };
    shared.read(read).await
}

/// The other nodes, as this one sees them.
#[utoipa::path(get, path = "/api/v1/peers", responses(
    (status = 200, description = "Peers", body = [schema::Peer])
))]
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

async fn ask(shared: Arc<Shared>, query: Query) -> Response {
    let read = move |shared: &Shared| {
        let snapshot = shared.site.reader.snapshot().map_err(Into::into);
        answer(snapshot.and_then(|store| query::answer(&store, &shared.site.network, &query)))
    };
    shared.read(read).await
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
