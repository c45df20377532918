//! Web pages, a JSON API and metrics of one node, on a thread of their own.
//! Invariant: what is shown comes from the feed and from snapshots of the store, so the run loop waits for no browser.

mod api;
mod charts;
mod guard;
pub(crate) mod layout;
mod live;
mod metrics;
mod pages;
mod schema;
mod server;
pub(crate) mod stream;
mod window;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use quarry_core::network::Network;
use quarry_core::units::NodeId;
use tokio::sync::Semaphore;

use crate::args::HttpChoice;
use crate::clock::Clock;
use crate::control::Asks;
use crate::fates::Fates;
use crate::feed::Feed;
use crate::store::Reader;
pub(crate) use guard::Guard;
pub use server::Server;

/// The port of node 0 where none is named.
const PORT: u16 = 8080;
/// How many requests read the store at once.
const READERS_MAX: usize = 2;

/// What the pages are about.
pub struct Site {
    /// The network.
    pub network: Arc<Network>,
    /// The chain.
    pub reader: Reader,
    /// Where the node stands.
    pub feed: Feed,
    /// What became of transactions.
    pub fates: Fates,
    /// The run loop's clock.
    pub clock: Clock,
    /// Takes transactions to the run loop.
    pub asks: Asks,
    /// What a request that changes something must bring, where others than this machine can reach the server.
    pub token: Option<String>,
    /// The names by which the server may be asked for, besides `localhost` and addresses.
    pub names: Vec<String>,
}

/// What every request can look at.
struct Shared {
    site: Site,
    live: live::Live,
    readers: Semaphore,
}

impl Shared {
    /// Answers from the store, off the thread that serves everybody else; few at once, so that the search goes on.
    async fn read(self: Arc<Self>, answer: impl FnOnce(&Self) -> Response + Send + 'static) -> Response {
        let this = Arc::clone(&self);
        let answered = match self.readers.acquire().await {
            Ok(_turn) => tokio::task::spawn_blocking(move || answer(&this)).await.ok(),
            Err(_) => None,
        };
        answered.unwrap_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }
}

/// Where a node's pages are to be, if anywhere.
pub fn address(choice: HttpChoice, id: NodeId) -> Option<SocketAddr> {
    match choice {
        HttpChoice::Off => None,
        HttpChoice::At(address) => Some(address),
        HttpChoice::Auto => {
            let port = PORT.checked_add(id.0)?;
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
        }
    }
}

/// Starts to serve a node's pages.
pub fn serve(address: SocketAddr, site: Site) -> io::Result<Server> {
    let guard =
        Guard { is_local: address.ip().is_loopback(), token: site.token.clone(), names: site.names.clone() };
    let shared = Arc::new(Shared { site, live: live::Live::default(), readers: Semaphore::new(READERS_MAX) });
    let routes = routes().with_state(Arc::clone(&shared));
    Server::start(address, guard, routes, async move { live::run(&shared).await })
}

fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .merge(pages::routes())
        .merge(api::routes())
        .route("/events", get(live::events))
        .route("/metrics", get(metrics::metrics))
        .route("/healthy", get(metrics::healthy))
        .route("/ready", get(metrics::ready))
        .fallback(pages::not_found)
}
