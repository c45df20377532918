//! A web server on a thread of its own: routes, behind what bounds and checks every request.
//! Invariant: nothing reaches a route that the guard has not let through.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, net};

use axum::error_handling::HandleErrorLayer;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{BoxError, Router, middleware};
use tokio::sync::oneshot;
use tower::ServiceBuilder;
use tower::buffer::BufferLayer;
use tower::limit::RateLimitLayer;
use tower::load_shed::LoadShedLayer;

use super::guard::{self, Guard};

/// The most bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The most requests in a second.
const REQUESTS_PER_SECOND_MAX: u64 = 2000;
/// The most requests that wait for their turn.
const WAITING_MAX: usize = 256;
/// What a page may load and do: only what this server sends.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A server at work. Dropping it ends it.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts to serve; `work` is done beside that for as long as the server runs.
    pub(crate) fn start(
        address: SocketAddr,
        guard: Guard,
        routes: Router,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let listener = net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
            runtime.block_on(async {
                let listener = match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => listener,
                    Err(error) => return tracing::error!("no web pages: {error}"),
                };
                // Streams have no end: what is open is dropped with the runtime.
                tokio::select! {
                    result = axum::serve(listener, guarded(routes, guard)) => {
                        if let Err(error) = result {
                            tracing::error!("no more web pages: {error}");
                        }
                    }
                    () = work => {}
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

fn guarded(routes: Router, guard: Guard) -> Router {
    let bounds = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|_: BoxError| async {
            (StatusCode::TOO_MANY_REQUESTS, "too many requests; try again in a second\n")
        }))
        .layer(BufferLayer::new(WAITING_MAX))
        .layer(LoadShedLayer::new())
        .layer(RateLimitLayer::new(REQUESTS_PER_SECOND_MAX, Duration::from_secs(1)));
    routes
        .route("/style.css", get(|| asset("text/css", include_str!("style.css"))))
        .route("/live.js", get(|| asset("text/javascript", include_str!("live.js"))))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::check))
        .layer(middleware::map_response(async |mut response: Response| {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }))
        .layer(bounds)
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    // Another version of the program may serve at the same address in a minute.
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text)
}
