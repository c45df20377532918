//! The pages. Each is complete without JavaScript and loads nothing but this server's style sheet and script.

mod details;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use quarry_core::network::Network;
use quarry_core::units::TxId;
use serde::Deserialize;

use super::layout::{self, Frame};
use super::stream::Part;
use super::window::Window;
use super::{Shared, charts, live};
use crate::args::BlockRef;
use crate::control::{NodeStatus, PeerStatus};
use crate::feed::View;
use crate::standing;

/// The overview's parts: their ids, titles and whether they take the whole width.
const PARTS: [(&str, &str, bool); 8] = [
    ("figures", "", true),
    ("strip", "Newest blocks", true),
    ("rate", "Hash rate of this node", false),
    ("intervals", "Block intervals", false),
    ("blocks", "Latest blocks", true),
    ("balances", "Balances", false),
    ("peers", "Peers", false),
    ("delay", "Delay", true),
];

/// What is looked for.
#[derive(Debug, Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/", get(overview)).route("/search", get(search)).merge(details::routes())
}

async fn overview(State(shared): State<Arc<Shared>>) -> Response {
    let parts = match live::parts(&shared) {
        Ok(Some(parts)) => parts,
        Ok(None) => return failure(&shared, StatusCode::SERVICE_UNAVAILABLE, "The node is starting."),
        Err(error) => return failure(&shared, StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    };
    let content = html! {
        div.grid {
            @for ((_, title, is_wide), part) in PARTS.iter().zip(parts.iter()) {
                section.wide[*is_wide] {
                    @if !title.is_empty() { h2 { (title) } }
                    (layout::part(part))
                }
            }
        }
    };
    page(&shared, "overview", &content).into_response()
}

/// Renders the overview's parts, in the order of [`PARTS`].
pub(super) fn overview_parts(network: &Network, view: &View, window: &Window) -> Vec<Part> {
    let contents = [
        figures(network, view, window),
        charts::strip(window),
        charts::hash_rate(view),
        charts::intervals(network, window),
        blocks(network, window),
        balances(window),
        peers(view),
        delay(window),
    ];
    PARTS.iter().zip(contents).map(|((id, ..), content)| ((*id).to_owned(), content.into_string())).collect()
}

fn figures(network: &Network, view: &View, window: &Window) -> Markup {
    let status = &view.status;
    let miner = match (status.backend.as_deref(), status.searching) {
        (None, _) => "does not mine".to_owned(),
        (Some(backend), true) => backend.to_owned(),
        (Some(backend), false) => format!("while it searches, {backend}"),
    };
    let counter = |name: &str| status.counters.get(name).copied().unwrap_or(0).to_string();
    let count = window.intervals_s().len();
    let mean = window.mean_s().map_or_else(|| "–".into(), charts::seconds);
    let mean_of = match charts::block_time_s(network) {
        None => format!("mean of {count}"),
        Some(target_s) => format!("mean of {count}, aim {}", charts::seconds(target_s)),
    };
    let bits = status.difficulty.log2();
    let rate = window.network_hash_rate().map_or_else(
        || ("–".to_owned(), "needs two blocks".to_owned()),
        |(rate, margin)| (charts::hashes(rate), format!("± {:.0} %, idle times included", 100.0 * margin)),
    );
    let doing = match (status.syncing, status.searching) {
        (Some(peer), _) => format!("fetching the chain of node {peer}"),
        (None, true) => "searching".to_owned(),
        (None, false) => "waiting for transactions".to_owned(),
    };
    let stale = window.stale_rate(view).map_or_else(|| "–".into(), |rate| format!("{:.1} %", 100.0 * rate));
    let figure = |name: &str, value: &str, note: &str| {
        html! { div.figure { dt { (name) } dd { (value) small { (note) } } } }
    };
    html! {
        dl.figures {
            (figure("Height", &status.height.to_string(), &doing))
            (figure("Network hash rate", &rate.0, &rate.1))
            (figure("This node", &charts::hashes(status.hash_rate.over_10_s), &miner))
            (figure("Block interval", &mean, &mean_of))
            (figure("Difficulty", &format!("{bits:.1} bits"), &format!("{:.2} hex zeros", bits / 4.0)))
            (figure("Waiting", &status.mempool.to_string(), "transactions"))
            (figure("Stale blocks", &stale, &format!("of the last {} seen here", view.arrivals.len())))
            (figure("Reorganisations", &counter("reorganisations"), "since the start"))
        }
    }
}

fn blocks(network: &Network, window: &Window) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th.number { "Height" } th { "Hash" } th.number { "Transactions" } th { "Miner" } th { "Time (UTC)" } } }
            tbody {
                @for ((hash, header), count) in window.headers.iter().rev().zip(&window.transactions) {
                    tr {
                        td.number { a href={ "/block/" (hash) } { (header.index) } }
                        td { a href={ "/block/" (hash) } { code { (short(&hash.to_string())) } } }
                        td.number { (count) }
                        td { (account_link(network, &header.miner)) }
                        td { (second(header.timestamp)) }
                    }
                }
            }
        } }
    }
}

fn balances(window: &Window) -> Markup {
    html! {
        table { tbody {
            @for (name, balance) in &window.balances {
                tr { td { a href={ "/account/" (name) } { (name) } } td.number { (balance) } }
            }
        } }
    }
}

fn peers(view: &View) -> Markup {
    if view.status.peers.is_empty() {
        return html! { p.quiet { "None." } };
    }
    html! {
        div.scroll { table {
            thead { tr { th.number { "Node" } th.number { "Height" } th { "Tip" } th { "State" } th.number { "Delay" } th { "Heard" } } }
            tbody {
                @for peer in &view.status.peers {
                    tr {
                        td.number { (peer.id) }
                        td.number { @if let Some(height) = peer.height { (height) } @else { "–" } }
                        td {
                            @match &peer.tip {
                                Some(tip) => code.other[is_other(peer, &view.status)] {
                                    (short(&tip.to_string()))
                                },
                                None => "–",
                            }
                        }
                        td { (peer.state.name()) }
                        td.number { @if let Some(delay_ms) = peer.delay_ms { (format!("{delay_ms:.0} ms")) } @else { "–" } }
                        td {
                            @if let Some(heard_s) = peer.heard_s { (format!("{heard_s:.0} s ago")) }
                            @else { "not yet" }
                        }
                    }
                }
            }
        } }
    }
}

/// Whether a peer is known to be on another branch, rather than to have been behind when it last told.
fn is_other(peer: &PeerStatus, status: &NodeStatus) -> bool {
    peer.tip != Some(status.tip) && peer.height.is_some_and(|height| status.height <= height)
}

fn delay(window: &Window) -> Markup {
    let delays = &window.delays_us;
    let at = |share: usize| {
        let micros = delays[(delays.len() - 1) * share / 100];
        charts::seconds(std::time::Duration::from_micros(micros).as_secs_f64())
    };
    html! {
        @if delays.is_empty() { p.quiet { "No block has come from a peer yet." } }
        @else {
            p {
                "From a block's timestamp to its arrival here: median " strong { (at(50)) } ", 90 % within "
                strong { (at(90)) } ", of " (delays.len()) " blocks."
            }
            p.quiet {
                "An upper bound for the delay of the queues: a timestamp is set when a search begins or is renewed, "
                "and by the miner's clock."
            }
        }
    }
}

async fn search(State(shared): State<Arc<Shared>>, Query(search): Query<Search>) -> Response {
    shared.read(move |shared| find(shared, search.q.trim())).await
}

/// Leads to what is called so.
fn find(shared: &Shared, text: &str) -> Response {
    if let Ok(id) = text.parse::<TxId>()
        && standing::is_known(&shared.site.reader, &shared.site.fates, &id).is_ok_and(|is_known| is_known)
    {
        return Redirect::to(&format!("/tx/{id}")).into_response();
    }
    if text.parse::<BlockRef>().is_ok() {
        return Redirect::to(&format!("/block/{text}")).into_response();
    }
    if shared.site.network.account(text).is_ok() {
        return Redirect::to(&format!("/account/{text}")).into_response();
    }
    let words: String = text.chars().take(80).collect();
    failure(shared, StatusCode::NOT_FOUND, &format!("No block, transaction or account is called “{words}”."))
}

pub(super) async fn not_found(State(shared): State<Arc<Shared>>) -> Response {
    failure(&shared, StatusCode::NOT_FOUND, "There is no such page.")
}

fn failure(shared: &Shared, code: StatusCode, words: &str) -> Response {
    (code, page(shared, "not found", &html! { section.wide { p { (words) } } })).into_response()
}

fn page(shared: &Shared, title: &str, content: &Markup) -> Markup {
    let network = &shared.site.network;
    let node = shared.site.feed.view().map(|view| view.status.id);
    let subject = node.map_or_else(|| network.name.clone(), |node| format!("{}, node {node}", network.name));
    let aside = html! {
        form.search action="/search" role="search" {
            input type="search" name="q" placeholder="height, hash, transaction, account" aria-label="search";
            button { "Search" }
        }
    };
    let footer = html! {
        a href="/api/v1/openapi.json" { "API" } " · " a href="/metrics" { "metrics" } " · network "
        code { (network.id.0.short()) }
    };
    Frame { title, subject: &subject, aside, footer }.around(content)
}

fn account_link(network: &Network, id: &quarry_core::units::AccountId) -> Markup {
    let text = network.account_text(id);
    html! { a href={ "/account/" (text) } { (short(&text)) } }
}

/// The start of a digest; a name as it is.
fn short(text: &str) -> &str {
    if 32 < text.len() { text.get(..16).unwrap_or(text) } else { text }
}

/// A time to the second.
fn second(time: quarry_core::units::Timestamp) -> String {
    time.to_string().chars().take(19).collect()
}
