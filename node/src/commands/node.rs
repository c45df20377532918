//! `node ID`: runs one node until it is told to stop.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, bounded};
use miner::NonceSearch;
use quarry_core::network::Network;
use quarry_core::node::{MESH_MAX, Node, Options};
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Amount, NodeId};
use tracing::{info, warn};

#[cfg(feature = "http")]
use crate::args::HttpChoice;
use crate::args::{CommonArgs, MiningArgs, RunArgs};
use crate::clock::Clock;
use crate::config::{self, Directory};
use crate::connection::{self, Connection};
use crate::control;
#[cfg(feature = "http")]
use crate::control::Asks;
use crate::ec2;
use crate::exit::{Exit, OrExit as _};
use crate::fates::Fates;
#[cfg(feature = "http")]
use crate::feed::{Feed, Publisher};
#[cfg(feature = "http")]
use crate::http;
use crate::mining::Mining;
use crate::printout::{Printout, Target};
use crate::runtime::{Runtime, State};
#[cfg(feature = "http")]
use crate::store::Reader;
use crate::store::{OpenError, RedbStore};
use crate::transport::Transport;
use crate::transport::delayed::Delayed;

/// How long a node waits for a reply.
const REPLY_TIMEOUT_US: u64 = 10_000_000;

/// Runs the node that the command line describes.
pub fn run(common: &CommonArgs, args: &RunArgs) -> Result<Exit> {
    let id = args.id.context("which node? give its number, such as `node 0`").or_exit(Exit::Usage)?;
    let directory = Directory::new(common, ".");
    let network = Arc::new(config::network(common, &directory)?);
    create_data(&directory)?;
    let stop = stop_signal(args.until_stdin_closes)?;

    let connection = connect(common, args, &directory, &network)?;
    let transport =
        connection.medium.join(id).map_err(|error| connection::join_failed(error, id, &directory))?;
    let transport = delay(transport, args.delay)?;
    let store = RedbStore::open(&directory.store(id), &network.id)
        .map_err(|error| open_failed(&directory, id, error))?;
    let reader = store.reader();
    let clock = Clock::start();
    let options = Options {
        id,
        miner: miner_account(&network, id, args.miner.as_deref())?,
        mine: args.mining.backend.0.is_some(),
        mine_empty: args.mine_empty,
        seed: rand::random(),
        status_interval_us: connection.cadence.status_interval_us,
        status_interval_max_us: connection.cadence.status_interval_max_us,
        relay_window_us: connection.cadence.relay_window_us,
        reply_timeout_us: REPLY_TIMEOUT_US,
        mesh_max: MESH_MAX,
    };
    let mut node = Node::open(Arc::clone(&network), options, store, clock.now())
        .with_context(|| format!("opening {}", directory.store(id).display()))?;
    let genesis = node.take_changes();
    node.store_mut().apply(&genesis)?;
    let mining = start_mining(&args.mining)?;
    greet(&node, &directory, mining.as_ref());
    if !connection.is_local() {
        info!("its inbox is in {}", connection.place);
    }

    let target = Target { id, blockchain: directory.blockchain(id), ledger: directory.ledger(id) };
    let printout = Printout::start(target, Arc::clone(&network), reader.clone())?;
    let (asks, fates) = (control::asks(), Fates::default());
    fates.come(&waiting(&node));
    #[cfg(feature = "http")]
    let (publisher, site) = open_pages(id, args, &network, &reader, &fates, clock, &asks.0)?;
    #[cfg(feature = "http")]
    let pages = site.as_ref().map(http::Server::address);
    #[cfg(not(feature = "http"))]
    let (publisher, pages) = (None, None);
    let socket = directory.socket(id);
    let desk = control::Desk { network, reader, fates: fates.clone(), asks: asks.0.clone() };
    let server = control::Server::start(socket.clone(), desk)
        .with_context(|| format!("listening on {}", socket.display()))?;
    let static_peers = args.peers.as_ref().map(|peers| peers.0.clone());
    let (state, leave) = (State::default(), args.leave);
    Runtime {
        asks,
        server,
        mining,
        printout,
        publisher,
        node,
        transport,
        fates,
        static_peers,
        pages,
        stop,
        leave,
        clock,
        state,
    }
    .run()?;
    Ok(Exit::Done)
}

/// What waits when a node starts.
fn waiting(node: &Node<RedbStore>) -> BTreeMap<u64, Option<Arc<Transaction>>> {
    let mempool = node.mempool();
    mempool.iter().filter_map(|it| Some((mempool.arrival(&it.id())?, Some(Arc::clone(it))))).collect()
}

/// Opens the web pages, where they are wanted.
#[cfg(feature = "http")]
fn open_pages(
    id: NodeId,
    args: &RunArgs,
    network: &Arc<Network>,
    reader: &Reader,
    fates: &Fates,
    clock: Clock,
    asks: &Asks,
) -> Result<(Option<Publisher>, Option<http::Server>)> {
    let Some(address) = http::address(args.http, id) else { return Ok((None, None)) };
    let feed = Feed::default();
    let site = http::Site {
        network: Arc::clone(network),
        reader: reader.clone(),
        feed: feed.clone(),
        fates: fates.clone(),
        clock,
        asks: asks.clone(),
        token: std::env::var("QUARRY_HTTP_TOKEN").ok().filter(|token| !token.is_empty()),
        names: args.http_names.clone(),
    };
    match http::serve(address, site) {
        Ok(server) => {
            info!("to look at it in a browser: http://{}/", server.address());
            Ok((Some(Publisher::new(feed)), Some(server)))
        }
        // Nobody has asked for this very address.
        Err(error) if args.http == HttpChoice::Auto => {
            info!("no web pages: {address}: {error}");
            Ok((None, None))
        }
        Err(error) => Err(Exit::InUse.hinted(
            anyhow::Error::new(error).context(format!("listening on {address}")),
            "name another address with --http, or `--http off`",
        )),
    }
}

/// Lets messages take longer, where that is wanted.
fn delay(transport: Box<dyn Transport>, delay_ms: u32) -> Result<Box<dyn Transport>> {
    if delay_ms == 0 {
        return Ok(transport);
    }
    info!("each message is taken {delay_ms} ms after it has come");
    Ok(Box::new(Delayed::new(transport, Duration::from_millis(u64::from(delay_ms)))?))
}

/// Makes the directory of a network's files.
pub fn create_data(directory: &Directory) -> Result<()> {
    fs::create_dir_all(directory.data())
        .with_context(|| format!("creating {}", directory.data().display()))
        .or_hint(|| "name a directory that can be written to with --dir".into())
}

/// A channel that says when to stop: on Ctrl-C, on a termination signal and, where wanted, at the end of standard input.
pub fn stop_signal(until_stdin_closes: bool) -> Result<Receiver<()>> {
    let (sender, receiver) = bounded(2);
    let on_signal = sender.clone();
    // A full channel says it already.
    ctrlc::set_handler(move || _ = on_signal.try_send(())).context("listening for Ctrl-C")?;
    if until_stdin_closes {
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            // An unreadable input has ended, too.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = sender.try_send(());
        })?;
    } else {
        std::mem::forget(sender);
    }
    Ok(receiver)
}

/// Gives each way in which a store cannot be opened its exit code, and says what to do about it.
pub fn open_failed(directory: &Directory, id: NodeId, error: OpenError) -> anyhow::Error {
    let (place, program) = (directory.path().display(), config::program());
    let (exit, hint) = match &error {
        OpenError::Locked(_) => (
            Exit::InUse,
            format!("stop it first; `{program} status --node {id} --dir {place}` names its process"),
        ),
        OpenError::ForeignNetwork { .. } => (
            Exit::Foreign,
            "name the network file of that network with --network, or another directory with --dir".into(),
        ),
        OpenError::Version { .. } => (Exit::Foreign, "run the version of this program that wrote it".into()),
        OpenError::Missing(_) | OpenError::NoDirectory(_) => {
            (Exit::NotFound, format!("start the node: {program} {id} --dir {place}"))
        }
        OpenError::NotAStore(path) => {
            (Exit::Failed, format!("move {} away, or name another directory with --dir", path.display()))
        }
        OpenError::Damaged { path, .. } => (
            Exit::Failed,
            format!("move {} away and start the node: it fetches the chain from its peers", path.display()),
        ),
        OpenError::Io { .. } => (Exit::Failed, "name a directory that can be written to with --dir".into()),
    };
    exit.hinted(error, hint)
}

fn connect(
    common: &CommonArgs,
    args: &RunArgs,
    directory: &Directory,
    network: &Network,
) -> Result<Connection> {
    let connection = Connection::new(common, directory, network)?;
    Ok(if args.peers.is_some() { connection.without_discovery() } else { connection })
}

fn miner_account(network: &Network, id: NodeId, named: Option<&str>) -> Result<AccountId> {
    if let Some(name) = named {
        return network.account(name).context("--miner").or_exit(Exit::Usage);
    }
    match network.account(&format!("node{id}")) {
        Ok(account) => Ok(account),
        Err(_) if network.reward == Amount(0) => Ok(AccountId::default()),
        Err(error) => {
            Err(error).context("who gets the reward? name an account with --miner").or_exit(Exit::Usage)
        }
    }
}

/// Gets the backend that the command line names to work; none with `--backend none`.
fn start_mining(args: &MiningArgs) -> Result<Option<Mining>> {
    let Some(search) = open_search(args)? else { return Ok(None) };
    Ok(Some(Mining::start(search, args.midstates.map(|it| it.0))?))
}

/// Opens the backend that the command line names; none with `--backend none`.
pub(super) fn open_search(args: &MiningArgs) -> Result<Option<Box<dyn NonceSearch>>> {
    let Some(backend) = args.backend.0 else { return Ok(None) };
    let cpu_limit = args.cpu_limit.0.unwrap_or_else(ec2::cpu_limit);
    let options = miner::Options {
        threads: args.threads,
        kernel: args.kernel.0,
        cpu_limit,
        devices: args.device.clone(),
        allow_software_gpu: args.allow_software_gpu,
    };
    let search = backend.open(&options).map_err(|error| {
        let exit = match &error {
            #[cfg(feature = "gpu")]
            miner::backend::OpenError::Gpu(_) => Exit::NoDevice,
            _ => Exit::Failed,
        };
        exit.hinted(error, "`node devices` lists what there is; `--backend cpu` does without")
    })?;
    Ok(Some(search))
}

fn greet(node: &Node<RedbStore>, directory: &Directory, mining: Option<&Mining>) {
    let (network, id, tip) = (node.network(), node.id(), node.tip());
    info!(
        network = network.name,
        network_id = %network.id,
        height = %tip.header.index,
        tip = %tip.hash,
        mempool = node.mempool().len(),
        miner = mining.map_or("none", Mining::name),
        "node {id} starts"
    );
    info!("to see what it believes: watch cat {}", directory.blockchain(id).display());
    let open = network.accounts.iter().filter(|account| account.open).count();
    if 0 < open {
        warn!("anybody may spend from {open} accounts, which are open");
    }
}
