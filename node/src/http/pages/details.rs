//! The pages of one block, one transaction and one account.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::{Markup, html};
use quarry_core::json::TransactionJson;
use quarry_core::network::Network;
use quarry_core::store::Store as _;
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Height, TxId};

use super::{account_link, failure, page, short};
use crate::args::BlockRef;
use crate::exit::{self, Exit};
use crate::http::{Shared, Site};
use crate::query;
use crate::standing::{self, State as Standing};

/// The newest blocks in which an account's transactions are looked for.
const BLOCKS_MAX: usize = 100;
/// The most transactions that a page lists.
const LISTED_MAX: usize = 200;

/// A page, or the words that say why there is none.
type Page = Result<Result<Markup, String>>;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/block/{block}", get(block))
        .route("/tx/{id}", get(transaction))
        .route("/account/{account}", get(account))
}

async fn block(State(shared): State<Arc<Shared>>, Path(text): Path<String>) -> Response {
    shared.read(move |shared| answer(shared, "block", block_page(shared, &text))).await
}

fn block_page(shared: &Shared, text: &str) -> Page {
    let (network, store) = (&shared.site.network, shared.site.reader.snapshot()?);
    let hash = match text.parse() {
        Ok(BlockRef::Hash(hash)) => Some(hash),
        Ok(BlockRef::Height(height)) => store.path(height)?,
        Err(reason) => return Ok(Err(reason)),
    };
    let Some(block) = hash.map(|hash| store.block(&hash)).transpose()?.flatten() else {
        return Ok(Err(format!("There is no block {}.", short(text))));
    };
    let (header, hash) = (&block.header, block.header.hash());
    let is_on_path = store.path(header.index)? == Some(hash);
    let next = store.path(header.index.next())?.filter(|_| is_on_path);
    let depth = query::height(&store)?.0.saturating_sub(header.index.0) + 1;
    Ok(Ok(html! {
        section.wide {
            h2 { "Block " (header.index) @if !is_on_path { " " span.tag { "not on the best chain" } } }
            dl.details {
                dt { "Hash" } dd { code { (hash) } }
                dt { "Before" } dd {
                    @if header.index == Height(0) { "the first block" }
                    @else { a href={ "/block/" (header.prev_hash) } { code { (header.prev_hash) } } }
                }
                @if let Some(next) = next { dt { "After" } dd { a href={ "/block/" (next) } { code { (next) } } } }
                dt { "Depth" } dd { @if is_on_path { (depth) " blocks" } @else { "–" } }
                dt { "Time" } dd { (header.timestamp) " UTC" }
                dt { "Miner" } dd { (account_link(network, &header.miner)) }
                dt { "Difficulty" } dd {
                    @if let Ok(target) = header.bits.target() { (format!("{:.2}", target.zeros())) " hex zeros, " }
                    "bits " code { (header.bits) }
                }
                dt { "Nonces" } dd { (header.nonce) ", extra " (block.extra_nonce) }
                dt { "Root" } dd { code { (header.tx_root) } }
            }
        }
        section.wide {
            h2 { (block.transactions.len()) " transactions" }
            (transactions(network, block.transactions.iter()))
        }
    }))
}

async fn transaction(State(shared): State<Arc<Shared>>, Path(text): Path<String>) -> Response {
    shared.read(move |shared| answer(shared, "transaction", transaction_page(shared, &text))).await
}

fn transaction_page(shared: &Shared, text: &str) -> Page {
    let Site { network, reader, fates, .. } = &shared.site;
    let id: TxId = match text.parse() {
        Ok(id) => id,
        Err(reason) => return Ok(Err(format!("{reason}"))),
    };
    let standing = match standing::of(reader, network, Some(fates), &id) {
        Err(reason) if exit::code(&reason) == Exit::NotFound => return Ok(Err(format!("{reason:#}"))),
        standing => standing?,
    };
    let json =
        standing.transaction.as_ref().map(|json| serde_json::from_str::<TransactionJson<'_>>(json.get()));
    let transaction = json.transpose()?.map(|json| json.parse(network)).transpose()?;
    Ok(Ok(html! {
        section.wide {
            h2 { "Transaction" }
            dl.details {
                dt { "Id" } dd { code { (id) } }
                dt { "State" } dd {
                    @if let (Some(height), Some(block)) = (standing.height, standing.block) {
                        "mined in block " a href={ "/block/" (block) } { (height) } ", "
                        (standing.confirmations) " deep"
                    } @else {
                        (standing.state.name())
                    }
                    @if let Some(since) = standing.since {
                        @if standing.state == Standing::Pending { " since " } @else { " at " } (since) " UTC"
                    }
                }
                @if let Some(reason) = &standing.reason {
                    dt { @if standing.state == Standing::Pending { "Waits" } @else { "Reason" } } dd { (reason) }
                }
                @if let Some(expires) = standing.expires { dt { "Expires" } dd { (expires) " UTC" } }
                @if let Some(transaction) = &transaction { (payment(network, transaction)) }
            }
        }
    }))
}

fn payment(network: &Network, transaction: &Transaction) -> Markup {
    let payment = transaction.payment();
    html! {
        dt { "From" } dd { (account_link(network, &payment.from)) }
        dt { "To" } dd { (account_link(network, &payment.to)) }
        dt { "Amount" } dd { (payment.amount) }
        dt { "Time" } dd { (payment.timestamp) " UTC" }
        dt { "Signed" } dd { @if transaction.authorization().is_some() { "yes" } @else { "no: the account is open" } }
    }
}

async fn account(State(shared): State<Arc<Shared>>, Path(text): Path<String>) -> Response {
    shared.read(move |shared| answer(shared, "account", account_page(shared, &text))).await
}

fn account_page(shared: &Shared, text: &str) -> Page {
    let (network, store) = (&shared.site.network, shared.site.reader.snapshot()?);
    let id: AccountId = match network.account(text) {
        Ok(id) => id,
        Err(reason) => return Ok(Err(format!("{reason}"))),
    };
    let balance = store.balance(&id)?.unwrap_or_default();
    let mut found = Vec::new();
    for block in query::newest_blocks(&store)?.take(BLOCKS_MAX) {
        let block = block?;
        let concerns = |it: &&Transaction| it.payment().from == id || it.payment().to == id;
        found.extend(block.transactions.iter().rev().filter(concerns).cloned());
        if LISTED_MAX <= found.len() {
            found.truncate(LISTED_MAX);
            break;
        }
    }
    Ok(Ok(html! {
        section.wide {
            h2 { "Account " (short(&network.account_text(&id))) }
            dl.details {
                dt { "Balance" } dd { strong { (balance) } }
                dt { "Id" } dd { code { (id) } }
                dt { "Kind" } dd {
                    @if network.is_open(&id) { "open: anybody may spend from it" } @else { "keyed" }
                }
            }
        }
        section.wide {
            h2 { "Newest transactions" }
            (transactions(network, found.iter()))
            p.quiet { "Those of the newest " (BLOCKS_MAX) " blocks, up to " (LISTED_MAX) "." }
        }
    }))
}

fn transactions<'a>(network: &Network, list: impl ExactSizeIterator<Item = &'a Transaction>) -> Markup {
    if list.len() == 0 {
        return html! { p.quiet { "None." } };
    }
    html! {
        div.scroll { table {
            thead { tr { th { "Id" } th { "From" } th { "To" } th.number { "Amount" } th { "Time (UTC)" } } }
            tbody {
                @for transaction in list.take(LISTED_MAX) {
                    @let payment = transaction.payment();
                    tr {
                        td { a href={ "/tx/" (transaction.id()) } {
                            code { (short(&transaction.id().to_string())) }
                        } }
                        td { (account_link(network, &payment.from)) }
                        td { (account_link(network, &payment.to)) }
                        td.number { (payment.amount) }
                        td { (super::second(payment.timestamp)) }
                    }
                }
            }
        } }
    }
}

fn answer(shared: &Shared, title: &str, content: Page) -> Response {
    match content {
        Ok(Ok(content)) => page(shared, title, &content).into_response(),
        Ok(Err(words)) => failure(shared, StatusCode::NOT_FOUND, &words),
        Err(error) => failure(shared, StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    }
}
