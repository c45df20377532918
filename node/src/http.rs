//! Web pages, a JSON API and metrics of one node, on a thread of their own.
//! Invariant: what is shown comes from the feed and from snapshots of the store, so the run loop waits for no browser.

mod api;
mod charts;
mod guard;
mod live;
mod metrics;
mod pages;
mod window;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, net};

use axum::error_handling::HandleErrorLayer;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::routing::get;
use axum::{BoxError, Router, middleware};
use crossbeam_channel::Sender;
use quarry_core::network::Network;
use quarry_core::units::NodeId;
use tokio::sync::oneshot;
use tower::ServiceBuilder;
use tower::buffer::BufferLayer;
use tower::limit::RateLimitLayer;
use tower::load_shed::LoadShedLayer;

use crate::args::HttpChoice;
use crate::control::Ask;
use crate::fates::Fates;
use crate::feed::Feed;
use crate::store::Reader;

/// The port of node 0 where none is named.
const PORT: u16 = 8080;
/// The most bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The most requests in a second.
const REQUESTS_PER_SECOND_MAX: u64 = 2000;
/// The most requests that wait for their turn.
const WAITING_MAX: usize = 256;
/// What a page may load and do: only what this server sends.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

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
    /// Takes transactions to the run loop.
    pub asks: Sender<Ask>,
    /// What a request that changes something must bring, where others than this machine can reach the server.
    pub token: Option<String>,
}

/// What every request can look at.
struct Shared {
    site: Site,
    live: live::Live,
    is_local: bool,
}

/// A server at work. Dropping it ends it.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
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

impl Server {
    /// Starts to serve.
    pub fn start(address: SocketAddr, site: Site) -> io::Result<Self> {
        let listener = net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let shared =
            Arc::new(Shared { site, live: live::Live::default(), is_local: address.ip().is_loopback() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
            runtime.block_on(async {
                let listener = match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => listener,
                    Err(error) => return tracing::error!("no web pages: {error}"),
                };
                // Streams have no end: what is open is dropped with the runtime.
                tokio::select! {
                    result = axum::serve(listener, router(&shared)) => {
                        if let Err(error) = result {
                            tracing::error!("no more web pages: {error}");
                        }
                    }
                    () = live::run(&shared) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by then.
            let _ = thread.join();
        }
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    let bounds = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|_: BoxError| async {
            (StatusCode::TOO_MANY_REQUESTS, "too many requests; try again in a second\n")
        }))
        .layer(BufferLayer::new(WAITING_MAX))
        .layer(LoadShedLayer::new())
        .layer(RateLimitLayer::new(REQUESTS_PER_SECOND_MAX, Duration::from_secs(1)));
    Router::new()
        .merge(pages::routes())
        .merge(api::routes())
        .route("/events", get(live::events))
        .route("/metrics", get(metrics::metrics))
        .route("/healthy", get(metrics::healthy))
        .route("/ready", get(metrics::ready))
        .route("/style.css", get(|| asset("text/css", include_str!("http/style.css"))))
        .route("/live.js", get(|| asset("text/javascript", include_str!("http/live.js"))))
        .fallback(pages::not_found)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), guard::check))
        .layer(middleware::map_response(async |mut response: axum::response::Response| {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }))
        .layer(bounds)
        .with_state(Arc::clone(shared))
}

async fn asset(kind: &'static str, text: &'static str) -> impl axum::response::IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=3600")], text)
}
