//! `devnet`: a whole network on this machine. The nodes and the generator are processes of this same program, so that
//! any of them can be killed and started again; this one only starts them, watches, and stops them.

mod medium;
mod orders;
#[cfg_attr(not(feature = "http"), path = "devnet/no_page.rs")]
mod page;
mod process;
mod screen;

use std::cell::Cell;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use crossbeam_channel::{Receiver, never, select};
use quarry_core::network::{AccountEntry, Difficulty, Network, NetworkFile};
use quarry_core::units::{Amount, Height, NodeId};

use crate::args::{CommonArgs, DevnetArgs, MiningArgs};
use crate::commands::inspect::print_table;
use crate::commands::node::{create_data, open_search, stop_signal};
use crate::commands::output::say;
use crate::commands::tune;
use crate::config::{self, Directory, TransportFile, program};
use crate::control::{self, Request};
use crate::exit::{Exit, OrExit as _};
use crate::query::{BalancesAnswer, Query};
use page::Page;
use process::{Process, Processes};
use screen::{Screen, Standings};

/// The network's name, by which a devnet knows its own directory.
const NAME: &str = "devnet";
/// What each account holds in the first block.
const BALANCE: Amount = Amount(1000);
/// How many accounts or nodes a line names.
const LIST_MAX: usize = 5;
/// How often the live line or table is renewed.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often something that is about to happen is looked for.
const POLL: Duration = Duration::from_millis(20);
/// How long a node has to start, and the nodes to agree at the end.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same over a service elsewhere, where a queue's name may be blocked for a minute.
const REMOTE_PATIENCE: Duration = Duration::from_secs(100);
/// How long the nodes may mine at the end what the generator has sent.
const LAST_BLOCKS: Duration = Duration::from_secs(3);

/// A network that is running.
struct Devnet<'a> {
    args: &'a DevnetArgs,
    common: &'a CommonArgs,
    directory: Directory,
    network: Network,
    transport: TransportFile,
    ids: Vec<NodeId>,
    stop: Receiver<()>,
    /// Whether the user has asked twice to stop.
    is_hurried: Cell<bool>,
}

/// Runs a network until told to stop.
pub fn run(common: &CommonArgs, args: &DevnetArgs) -> Result<Exit> {
    let directory = Directory::new(common, "devnet");
    if common.network.is_some() {
        let error = anyhow!("devnet writes its own network file");
        return Err(Exit::Usage.hinted(error, "leave --network and QUARRY_NETWORK out"));
    }
    let stop = stop_signal(false)?;
    let ids: Vec<_> = (0..args.nodes).map(NodeId).collect();
    check_unused(&directory, &ids)?;
    check_own(&directory)?;
    let transport = medium::settle(common, &directory, args.fresh)?;
    let network = prepare(&directory, args)?;
    medium::note(&directory, &transport)?;
    let is_hurried = Cell::new(false);
    Devnet { args, common, directory, network, transport, ids, stop, is_hurried }.run()
}

/// Refuses a directory in which nodes are running.
fn check_unused(directory: &Directory, ids: &[NodeId]) -> Result<()> {
    let mut all = directory.nodes();
    all.extend(ids);
    for id in all {
        if control::status(&directory.socket(id))?.is_some() {
            let error = anyhow!("node {id} runs in {} already", directory.path().display());
            return Err(Exit::InUse.hinted(error, "stop it, or name another directory with --dir"));
        }
    }
    Ok(())
}

/// Refuses the directory of another network.
fn check_own(directory: &Directory) -> Result<()> {
    let path = directory.network_file();
    let is_foreign = path.exists() && read_network(directory)?.name != NAME;
    if is_foreign {
        let error = anyhow!("{} is not a devnet's network file", path.display());
        return Err(Exit::Foreign.hinted(error, "name another directory with --dir"));
    }
    Ok(())
}

/// Makes the directory and its network file, or takes over those of an earlier run.
fn prepare(directory: &Directory, args: &DevnetArgs) -> Result<Network> {
    let path = directory.network_file();
    if args.fresh {
        clear(directory).with_context(|| format!("clearing {}", directory.path().display()))?;
    }
    create_data(directory)?;
    if !path.exists() {
        let accounts = (0..args.nodes.max(4)).map(|id| AccountEntry::open(&format!("node{id}"), BALANCE));
        let file = NetworkFile {
            name: NAME.into(),
            difficulty: first_difficulty(args)?,
            block_time: args.block_time.unwrap_or(0),
            accounts: accounts.collect(),
            ..NetworkFile::demo()
        };
        fs::write(&path, config::network_text(&file)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let network = read_network(directory)?;
    let zeros = zeros(&network);
    let block_time = network.block_time_us / 1_000_000;
    let had = match (args.difficulty, args.block_time) {
        (Some(difficulty), _) if (zeros - f64::from(difficulty)).abs() > 1e-3 => {
            format!("a difficulty of {zeros} zeros")
        }
        (_, Some(wanted)) if u64::from(wanted) != block_time => format!("a block time of {block_time} s"),
        _ => return Ok(network),
    };
    let error = anyhow!("{} has {had} from an earlier run", path.display());
    Err(Exit::Foreign.hinted(error, "delete that run with --fresh, or name another directory with --dir"))
}

/// The difficulty of the first blocks: where it is to follow the hash rate, one that suits this machine.
fn first_difficulty(args: &DevnetArgs) -> Result<Difficulty> {
    let mining = node_mining(args);
    if let (None, Some(block_time)) = (args.difficulty, args.block_time)
        && let Some(search) = open_search(&mining)?
    {
        // All nodes share a card; on the CPU each has what it is measured to have, until all cores are busy.
        let busy = mining.threads.map_or(1.0, |threads| threads.get() as f64)
            * mining.cpu_limit.0.map_or(1.0, |limit| limit.as_percent() / 100.0);
        let nodes = match search.name().starts_with("cpu") {
            true => f64::from(args.nodes).min(cores() as f64 / busy),
            false => 1.0,
        };
        return Ok(Difficulty::Bits(tune::suggest(&*search, f64::from(block_time) * nodes)?.0));
    }
    Ok(Difficulty::Zeros(args.difficulty.unwrap_or(5)))
}

/// What each node mines with.
fn node_mining(args: &DevnetArgs) -> MiningArgs {
    let share = NonZeroUsize::new(cores() / usize::from(args.nodes)).unwrap_or(NonZeroUsize::MIN);
    let mut mining = args.mining.clone();
    mining.threads.get_or_insert(share);
    mining
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn read_network(directory: &Directory) -> Result<Network> {
    let path = directory.network_file();
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    config::parse_network(&text)
        .with_context(|| format!("in network file {}", path.display()))
        .or_exit(Exit::Usage)
}

/// The network's difficulty in hex zeros.
fn zeros(network: &Network) -> f64 {
    // Two decimals are enough for people, and none are shown where there is nothing to show.
    network.bits.target().map_or(0.0, |target| (target.zeros() * 100.0).round() / 100.0)
}

/// Deletes what a devnet writes, and nothing else.
fn clear(directory: &Directory) -> io::Result<()> {
    let ignore_missing = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    for id in directory.nodes() {
        ignore_missing(fs::remove_file(directory.blockchain(id)))?;
        ignore_missing(fs::remove_file(directory.ledger(id)))?;
    }
    ignore_missing(fs::remove_dir_all(directory.data()))?;
    ignore_missing(fs::remove_file(directory.transport_file()))?;
    ignore_missing(fs::remove_file(directory.network_file()))
}

impl Devnet<'_> {
    fn run(&self) -> Result<Exit> {
        // Whatever happens, nothing that was started is left running: see `Processes`.
        let mut nodes = Processes::default();
        for id in &self.ids {
            nodes.0.push(self.start_node(*id)?);
        }
        self.wait_for_start(&mut nodes)?;
        let mut generator = Processes(self.start_generator()?.into_iter().collect());
        let mut page = Page::open(self)?;
        self.print_first_screen(&nodes, page.as_ref())?;
        self.watch(&mut nodes, page.as_mut())?;

        say!("\nstopping ...")?;
        if let Some(page) = page {
            page.close();
        }
        self.rejoin()?;
        generator.end(|| self.hurry());
        let settled = self.settle(&nodes);
        nodes.end(|| self.hurry());
        let exit = settled?;
        for status in self.ask().up() {
            say!("node {}, started by hand, goes on: stop it with kill {}", status.id, status.pid)?;
        }
        say!("stopped; `{} devnet --dir {}` goes on from here", program(), self.place())?;
        Ok(exit)
    }

    fn start_node(&self, id: NodeId) -> Result<Process> {
        let mut command = self.command();
        command.arg(id.to_string()).args(node_mining(self.args).options()).args(page::options(self.args));
        if self.args.mine_empty || 0 < self.network.block_time_us {
            command.arg("--mine-empty");
        }
        command.args(["--delay", &self.args.delay.to_string()]);
        Process::start(&self.directory, node_name(id), command)
    }

    fn start_generator(&self) -> Result<Option<Process>> {
        if self.args.rate.0 == 0.0 {
            return Ok(None);
        }
        let mut command = self.command();
        command.args(["generate", "--rate", &self.args.rate.to_string()]);
        if let Some(seed) = self.args.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        Process::start(&self.directory, "generator".into(), command).map(Some)
    }

    /// This program, with what all commands share.
    fn command(&self) -> Command {
        let program = std::env::current_exe().unwrap_or_else(|_| program().into());
        let mut command = Command::new(program);
        command.arg("--dir").arg(self.directory.path());
        command.args(["--log", &self.common.log, "--log-format", self.common.log_format.name()]);
        command.args(medium::options(&self.transport));
        for name in ["QUARRY_NETWORK", "QUARRY_TRANSPORT", "QUARRY_QUEUE_PREFIX", "QUARRY_HTTP"] {
            command.env_remove(name);
        }
        command
    }

    /// Waits until every node answers, or says why one has ended instead.
    fn wait_for_start(&self, nodes: &mut Processes) -> Result<()> {
        let started = Instant::now();
        let patience = if medium::is_remote(&self.transport) { REMOTE_PATIENCE } else { PATIENCE };
        while !self.ask().are_up() {
            for node in &mut nodes.0 {
                if let Some(words) = node.last_words()? {
                    bail!("{} did not start: {words}", node.name);
                }
            }
            if patience < started.elapsed() || self.hurry() {
                bail!("the nodes do not answer; their logs are in {}", self.directory.data().display());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Shows where the nodes stand, and does what is asked on the page, until told to stop or until the time is up.
    fn watch(&self, nodes: &mut Processes, mut page: Option<&mut Page>) -> Result<()> {
        let started = Instant::now();
        let orders = page.as_ref().map_or_else(never, |page| page.orders().clone());
        let duration = self.args.duration.map(|seconds| Duration::from_secs(u64::from(seconds.get())));
        let mut screen = Screen::default();
        loop {
            let standings = self.ask();
            screen.show(started.elapsed(), &standings, &self.directory)?;
            if let Some(page) = &mut page {
                page.show(self, &standings, nodes);
            }
            let left = duration.map(|duration| duration.saturating_sub(started.elapsed()));
            select! {
                recv(self.stop) -> _ => return Ok(()),
                recv(orders) -> asked => if let (Ok(asked), Some(page)) = (asked, &mut page) {
                    let outcome = self.carry_out(asked.order, nodes);
                    page.note(&outcome);
                    // Who asked may have gone.
                    let _ = asked.answer.send(outcome);
                },
                default(left.unwrap_or(INTERVAL).min(INTERVAL)) => {}
            }
            if duration.is_some_and(|duration| duration <= started.elapsed()) {
                return Ok(());
            }
        }
    }

    /// Brings the network to rest once nothing more is sent, so that all stores end alike; says how it went.
    fn settle(&self, nodes: &Processes) -> Result<Exit> {
        self.wait_for(LAST_BLOCKS, || {
            let standings = self.ask();
            standings.agree() && standings.up().all(|status| status.mempool == 0)
        });
        if self.hurry() {
            bail!("killed the nodes that were still running; whether they agree was not asked");
        }
        // After this each node's own blocks are known to it and on their way to all: equal tips stay equal.
        for status in self.ask().up() {
            if nodes.0.iter().any(|node| node.id() == status.pid) {
                control::ask(&self.directory.socket(status.id), &Request::StopMining)?;
            }
        }
        let agreed = self.wait_for(PATIENCE, || self.ask().agree());
        let standings = self.ask();
        print_table(&standings.table())?;
        if !agreed {
            bail!("the nodes do not agree on a tip");
        }
        let mut exit = Exit::Done;
        for status in standings.up() {
            let Some((height, held)) = self.money(status.id)? else { continue };
            if self.network.supply_at(height) != Some(held) {
                say!("on node {} all accounts together hold {held} at height {height}", status.id)?;
                exit = Exit::Failed;
            }
        }
        if exit == Exit::Done && 0 < standings.up().count() {
            let total = self.network.supply_at(Height(0)).unwrap_or_default();
            say!("{}; all accounts together hold {total}, as at the start", standings.agreement())?;
        }
        Ok(exit)
    }

    /// What all accounts of a node hold and at which height; `None` where it is down or they are too many to add up.
    fn money(&self, id: NodeId) -> Result<Option<(Height, Amount)>> {
        let query = Request::Query(Query::Balances { account: None });
        let Some(answer) = control::ask(&self.directory.socket(id), &query)? else { return Ok(None) };
        let answer: BalancesAnswer = serde_json::from_str(answer.get())?;
        let mut sum = Amount::default();
        for entry in &answer.balances {
            let balance = entry.balance.parse()?;
            sum = sum.checked_add(balance).context("the balances exceed what an amount can say")?;
        }
        Ok((!answer.more).then_some((answer.height, sum)))
    }

    fn ask(&self) -> Standings {
        Standings::ask(&self.directory, &self.ids)
    }

    /// Waits until something is done; `false` where that takes too long for the user or for this program.
    fn wait_for(&self, patience: Duration, is_done: impl Fn() -> bool) -> bool {
        let started = Instant::now();
        while !is_done() {
            if patience < started.elapsed() || self.hurry() {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    /// Whether the user has asked once more to stop.
    fn hurry(&self) -> bool {
        if self.stop.try_recv().is_ok() {
            self.is_hurried.set(true);
        }
        self.is_hurried.get()
    }

    fn place(&self) -> std::path::Display<'_> {
        self.directory.path().display()
    }

    fn print_first_screen(&self, nodes: &Processes, page: Option<&Page>) -> Result<()> {
        let (network, place, program) = (&self.network, self.place(), program());
        let zeros = zeros(network);
        let follows = match network.block_time_us / 1_000_000 {
            0 => String::new(),
            block_time => format!(" at first, then a block every {block_time} s"),
        };
        say!("network    {} ({}): {zeros} leading hex zeros{follows}", network.name, network.id.0.short())?;
        let accounts = network.accounts.iter().map(|it| format!("{} {}", it.name, it.balance));
        say!("accounts   {}", list(accounts))?;
        say!(
            "nodes      {}: processes {}",
            nodes.0.len(),
            list(nodes.0.iter().map(|it| it.id().to_string()))
        )?;
        let rate = self.args.rate;
        match rate.0 {
            0.0 => say!("generator  none")?,
            _ => say!("generator  {rate} transactions a second, each to all nodes but a random one")?,
        }
        if let Some(queues) = medium::describe(&self.transport) {
            say!("queues     {queues}")?;
        }
        if let Some(page) = page {
            say!("page       http://{}/", page.address())?;
        }
        say!("files      {place}/blockchain<ID>.txt and ledger<ID>.txt; logs in {place}/quarry")?;
        say!("try        watch cat {place}/blockchain0.txt")?;
        say!("           {program} chain --dir {place}")?;
        if let (Some(node), Some(id)) = (nodes.0.last(), self.ids.last()) {
            say!("           kill -9 {}, and later: {program} {id} --dir {place}", node.id())?;
        }
        say!("stop       Ctrl-C\n")
    }
}

/// By what the process of a node is known.
fn node_name(id: NodeId) -> String {
    format!("node{id}")
}

/// The first few of something, in a line.
fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(LIST_MAX);
    let first = items.take(LIST_MAX).collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}
