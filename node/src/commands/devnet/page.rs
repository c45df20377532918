//! A page with all nodes of a devnet side by side, and buttons for what can happen to them.
//! Invariant: the page only shows what the devnet's loop has published, and only that loop carries out what it asks.

mod view;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use axum::Router;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use crossbeam_channel::{Receiver, Sender, bounded};
use quarry_core::units::{Hash, NodeId};
use serde::Deserialize;

use super::Devnet;
use super::orders::{Asked, Deed, Order, Outcome, Switch};
use super::process::Processes;
use super::screen::{Standing, Standings};
use crate::args::{DevnetArgs, HttpChoice};
use crate::clock;
use crate::commands::output::say;
use crate::control::{self, Request};
use crate::exit::Exit;
use crate::http::stream::Parts;
use crate::http::{Guard, Server};
use crate::query::{PathAnswer, Query};

/// The port where none is named.
const PORT: u16 = 8079;
/// How many of a node's newest blocks are compared with the others'.
const COMPARED: u32 = 200;
/// The most orders that wait for the loop.
const WAITING_MAX: usize = 16;
/// How long the loop may take for one, and those before it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a node has to list its blocks.
const PATH_PATIENCE: Duration = Duration::from_secs(1);
/// How many events the page lists.
const EVENTS_MAX: usize = 12;

/// The page. Dropping it ends its server.
pub(super) struct Page {
    server: Server,
    orders: Receiver<Asked>,
    parts: Parts,
    /// The newest blocks of each node as last seen, and the tip that they belong to.
    paths: BTreeMap<NodeId, (Hash, Vec<PathAnswer>)>,
    events: VecDeque<view::Happening>,
    before: Option<view::Summary>,
}

/// What every request can look at.
#[derive(Clone)]
struct Desk {
    frame: Arc<view::Fixed>,
    orders: Sender<Asked>,
    parts: Parts,
}

impl Page {
    /// Opens the page where the command line wants it, if it wants one.
    pub(super) fn open(devnet: &Devnet<'_>) -> Result<Option<Self>> {
        let choice = devnet.args.http;
        let address = match choice {
            HttpChoice::Off => return Ok(None),
            HttpChoice::Auto => SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            HttpChoice::At(address) => address,
        };
        if !address.ip().is_loopback() {
            let error = anyhow!("{address} can be reached from elsewhere, and the page can stop processes");
            return Err(
                Exit::Usage.hinted(error, "name an address of this machine alone, such as 127.0.0.1:8079")
            );
        }
        match Self::start(address, devnet) {
            Ok(page) => Ok(Some(page)),
            // Nobody has asked for this very address.
            Err(error) if choice == HttpChoice::Auto => {
                say!("page       none: {address}: {error}")?;
                Ok(None)
            }
            Err(error) => Err(Exit::InUse.hinted(
                anyhow::Error::new(error).context(format!("listening on {address}")),
                "name another address with --http, or `--http off`",
            )),
        }
    }

    fn start(address: SocketAddr, devnet: &Devnet<'_>) -> io::Result<Self> {
        let (sender, orders) = bounded(WAITING_MAX);
        let parts = Parts::default();
        let frame = Arc::new(view::Fixed::new(&devnet.network, &devnet.ids));
        let guard = Guard { is_local: true, token: None, names: Vec::new() };
        let routes = routes(Desk { frame, orders: sender, parts: parts.clone() });
        let server = Server::start(address, guard, routes, std::future::pending())?;
        let (paths, events) = (BTreeMap::new(), VecDeque::new());
        Ok(Self { server, orders, parts, paths, events, before: None })
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Ends its server.
    pub(super) fn close(self) {
        drop(self.server);
    }

    /// What is asked on it.
    pub(super) fn orders(&self) -> &Receiver<Asked> {
        &self.orders
    }

    /// Notes what came of an order.
    pub(super) fn note(&mut self, outcome: &Outcome) {
        happened(&mut self.events, outcome.clone().unwrap_or_else(|failure| failure));
    }

    /// Shows where the nodes stand.
    pub(super) fn show(&mut self, devnet: &Devnet<'_>, standings: &Standings, nodes: &mut Processes) {
        for status in standings.up() {
            let is_known = self.paths.get(&status.id).is_some_and(|(tip, _)| *tip == status.tip);
            if !is_known && let Ok(path) = path(devnet, status.id) {
                let tip = path.first().map_or(status.tip, |newest| newest.hash);
                self.paths.insert(status.id, (tip, path));
            }
        }
        let columns: Vec<_> = standings
            .iter()
            .map(|(id, standing)| view::Column {
                id,
                standing,
                is_own: nodes.running(&super::node_name(id)).is_some(),
                path: self.paths.get(&id).map_or(&[], |(_, path)| path),
            })
            .collect();
        let summary = view::Summary::new(standings, &columns);
        let news = summary.since(self.before.as_ref());
        for words in news {
            happened(&mut self.events, words);
        }
        self.parts.publish(Arc::new(view::parts(&columns, &summary, &self.events)));
        self.before = Some(summary);
    }
}

fn happened(events: &mut VecDeque<view::Happening>, words: String) {
    let time = clock::utc().to_string().chars().skip(11).take(8).collect();
    events.push_front(view::Happening { time, words });
    events.truncate(EVENTS_MAX);
}

/// The options that say to a node where its pages are to be.
pub(super) fn options(args: &DevnetArgs) -> Vec<String> {
    let choice = match args.http {
        HttpChoice::Off => "off".to_owned(),
        HttpChoice::Auto => "auto".to_owned(),
        // At any free port: the page knows it, and another devnet may have the usual ones.
        HttpChoice::At(address) => SocketAddr::new(address.ip(), 0).to_string(),
    };
    vec![format!("--http={choice}")]
}

fn path(devnet: &Devnet<'_>, node: NodeId) -> Result<Vec<PathAnswer>> {
    let query = Request::Query(Query::Path { count: COMPARED });
    let answer = control::ask_within(&devnet.directory.socket(node), &query, PATH_PATIENCE)?;
    let answer = answer.context("it does not run")?;
    Ok(serde_json::from_str(answer.get())?)
}

/// What a node's buttons send.
#[derive(Debug, Deserialize)]
struct Pressed {
    order: Switch,
}

/// What the payment's form sends.
#[derive(Debug, Deserialize)]
struct Paid {
    from: String,
    to: String,
    amount: String,
    node: NodeId,
}

fn routes(desk: Desk) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/events", get(async |State(desk): State<Desk>| desk.parts.respond()))
        .route("/node/{id}", post(press))
        .route("/pay", post(pay))
        .fallback(async |State(desk): State<Desk>| {
            (StatusCode::NOT_FOUND, desk.frame.refusal("There is no such page.")).into_response()
        })
        .with_state(desk)
}

async fn page(State(desk): State<Desk>) -> Response {
    desk.frame.page(&desk.parts.newest()).into_response()
}

async fn press(State(desk): State<Desk>, Path(node): Path<NodeId>, Form(form): Form<Pressed>) -> Response {
    desk.ask(Order { node, deed: Deed::Switch(form.order) }).await
}

async fn pay(State(desk): State<Desk>, Form(form): Form<Paid>) -> Response {
    desk.ask(Order { node: form.node, deed: Deed::Pay(form.from, form.to, form.amount) }).await
}

impl Desk {
    /// Has an order carried out, off the thread that serves everybody else.
    async fn ask(&self, order: Order) -> Response {
        let orders = self.orders.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            let (answer, outcome) = bounded(1);
            orders.send_timeout(Asked { order, answer }, PATIENCE).ok()?;
            outcome.recv_timeout(PATIENCE).ok()
        });
        match outcome.await {
            Ok(Some(Ok(_))) => Redirect::to("/").into_response(),
            Ok(Some(Err(refusal))) => {
                (StatusCode::UNPROCESSABLE_ENTITY, self.frame.refusal(&refusal)).into_response()
            }
            _ => {
                let words = "The devnet is busy or about to stop; it may still happen.";
                (StatusCode::SERVICE_UNAVAILABLE, self.frame.refusal(words)).into_response()
            }
        }
    }
}
