//! A web server on a thread of its own: routes, behind what bounds and checks every request.
//! Invariant: nothing reaches a route that the guard has not let through, and no client holds a connection for long
//! without asking for something or taking what it asked for.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, net};

use axum::error_handling::HandleErrorLayer;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use axum::{BoxError, Router, middleware};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tower::buffer::BufferLayer;
use tower::limit::RateLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;
use tower::{Service, ServiceBuilder};

use super::guard::{self, Guard};

/// The most bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The most requests in a second.
const REQUESTS_PER_SECOND_MAX: u64 = 2000;
/// How long an answer may take to begin, the time included in which the request's body comes in.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The most requests that wait for their turn.
const WAITING_MAX: usize = 256;
/// What a page may load and do: only what this server sends.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What connections may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The most that are open. All together take a quarter of the files that a process can usually have open.
    connections_max: usize,
    /// How long a connection may be without a whole head of a request, be it idle or slow.
    head_timeout: Duration,
    /// How long a client may take nothing of what it is sent.
    write_timeout: Duration,
}

const LIMITS: Limits = Limits {
    connections_max: 256,
    head_timeout: Duration::from_secs(10),
    write_timeout: Duration::from_secs(30),
};

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
        Self::start_within(LIMITS, address, guard, routes, work)
    }

    fn start_within(
        limits: Limits,
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
                let listener = match TcpListener::from_std(listener) {
                    Ok(listener) => listener,
                    Err(error) => return tracing::error!("no web pages: {error}"),
                };
                // Streams have no end: what is open is dropped with the runtime.
                tokio::select! {
                    () = serve(listener, limits, guarded(routes, guard)) => {}
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

/// Serves those who connect. `axum::serve` knows neither a limit of connections nor a time-out.
async fn serve(mut listener: TcpListener, limits: Limits, routes: Router) {
    let service = TowerToHyperService::new(bounded(routes));
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout);
    let seats = Arc::new(Semaphore::new(limits.connections_max));
    // Who finds no seat waits to be accepted, which costs this process nothing.
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        let (stream, _) = Listener::accept(&mut listener).await;
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&stream, millis(limits.write_timeout))
        {
            tracing::debug!("a web client may take its time: {error}");
        }
        let connection = protocol.serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(async move {
            // How it ended is the client's affair.
            let _ = connection.await;
            drop(seat);
        });
    }
}

#[cfg(target_os = "linux")]
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// Routes with bounds that all of them share: a layer of a `Router` would be laid around each route by itself.
fn bounded(
    routes: Router,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async |uri: Uri, error: BoxError| match error.is::<Elapsed>() {
            true => refusal(&uri, StatusCode::REQUEST_TIMEOUT, "the request took too long"),
            false => refusal(&uri, StatusCode::TOO_MANY_REQUESTS, "too many requests; try again in a second"),
        }))
        .layer(TimeoutLayer::new(ANSWER_TIMEOUT))
        .layer(BufferLayer::new(WAITING_MAX))
        .layer(LoadShedLayer::new())
        .layer(RateLimitLayer::new(REQUESTS_PER_SECOND_MAX, Duration::from_secs(1)))
        .service(routes)
}

/// Says no as the API does to its clients, and in plain words to others.
pub(super) fn refusal(uri: &Uri, code: StatusCode, words: &str) -> Response {
    if uri.path().starts_with("/api/") {
        (code, axum::Json(serde_json::json!({ "error": words }))).into_response()
    } else {
        (code, format!("{words}\n")).into_response()
    }
}

fn guarded(routes: Router, guard: Guard) -> Router {
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
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    // Another version of the program may serve at the same address in a minute.
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpStream};
    use std::time::Instant;

    use super::*;

    fn server(limits: Limits, routes: Router) -> Server {
        let guard = Guard { is_local: true, token: None, names: Vec::new() };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Server::start_within(limits, address, guard, routes, std::future::pending()).unwrap()
    }

    fn connect(server: &Server, words: &str) -> TcpStream {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        stream.write_all(words.as_bytes()).unwrap();
        stream
    }

    fn request(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    }

    /// What comes before the server hangs up.
    fn rest(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// Hundreds of connections with half a request used to stay open for ever, until the node could not open a file.
    #[test]
    fn those_who_ask_for_nothing_make_room() {
        let limits = Limits { connections_max: 4, head_timeout: Duration::from_millis(300), ..LIMITS };
        let server = server(limits, Router::new());
        let half = "GET / HTTP/1.1\r\nHost: localhost\r\n";
        let silent: Vec<_> =
            [half, "", half, &request("/style.css"), half].map(|words| connect(&server, words)).into();
        let answer = rest(connect(&server, &request("/style.css")));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        for stream in silent {
            rest(stream);
        }
    }

    /// Each route used to have a limit of its own, for each method.
    #[test]
    fn all_routes_share_the_limit_of_requests() {
        let paths: Vec<_> = (0..8).map(|number| format!("/{number}")).collect();
        let routes = paths.iter().fold(Router::new(), |routes, path| routes.route(path, get(async || "")));
        let server = server(LIMITS, routes);
        let last = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let started = Instant::now();
        let clients: Vec<_> =
            paths.iter().map(|path| connect(&server, &(request(path).repeat(1000) + last))).collect();
        let answers = clients.into_iter().map(rest).collect::<String>();
        let seconds = started.elapsed().as_secs() + 2;
        let [all, taken] = ["HTTP/1.1 ", "HTTP/1.1 200 "].map(|words| answers.matches(words).count());
        assert_eq!(all, 8008);
        let taken = u64::try_from(taken).unwrap();
        assert!((1..=REQUESTS_PER_SECOND_MAX * seconds).contains(&taken), "{taken} in {seconds} s");
    }
}
