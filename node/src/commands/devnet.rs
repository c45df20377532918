//! `devnet`: a whole network on this machine. The nodes and the generator are processes of this same program, so that
//! any of them can be killed and started again; this one only starts them, watches, and stops them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use comfy_table::Table;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use quarry_core::network::{AccountEntry, Difficulty, Network, NetworkFile};
use quarry_core::units::{Amount, NodeId};

use crate::args::{CommonArgs, DevnetArgs};
use crate::commands::inspect::hash_rate;
use crate::commands::node::stop_signal;
use crate::config::{self, Directory};
use crate::control::{self, NodeStatus};
use crate::exit::{Exit, OrExit as _};

/// How often the live line or table is renewed.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the nodes have to agree at the end, and a process to stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// What each account of a devnet holds in the first block.
const BALANCE: Amount = Amount(1000);

/// A process of the network. It is told to stop by the end of its standard input, so it stops even if this process is
/// killed; it has a process group of its own, so Ctrl-C in the terminal reaches only this process.
struct Process {
    name: String,
    child: Child,
}

/// Where all nodes stand; `None` for one that does not answer.
type Statuses = BTreeMap<NodeId, Option<NodeStatus>>;

/// Runs a network until told to stop.
pub fn run(common: &CommonArgs, args: &DevnetArgs) -> Result<Exit> {
    let directory = Directory::new(common, "devnet");
    if common.network.is_some() {
        return Err(Exit::Usage.error(anyhow!("devnet writes its own network file: leave --network out")));
    }
    let stop = stop_signal(false)?;
    let network = prepare(&directory, args)?;
    let ids: Vec<_> = (0..args.nodes).map(NodeId).collect();
    for id in &ids {
        if control::status(&directory.socket(*id)).is_ok_and(|status| status.is_some()) {
            let place = directory.path().display();
            return Err(Exit::InUse
                .error(anyhow!("node {id} runs in {place} already: stop it, or name another --dir")));
        }
    }
    let mut nodes = Vec::new();
    for id in &ids {
        nodes.push(start_node(&directory, *id, args)?);
    }
    let generator = start_generator(&directory, args)?;
    print_first_screen(&directory, &network, &nodes, args);
    watch(&directory, &ids, args, &stop)?;
    println!("\nstopping the generator, then the nodes ...");
    end(vec![generator])?;
    let agreed = wait_for_agreement(&directory, &ids);
    print_summary(&directory, &network, &ids);
    end(nodes)?;
    println!("stopped; `node devnet --dir {}` goes on where this ended", directory.path().display());
    if agreed { Ok(Exit::Done) } else { Err(anyhow!("the nodes did not agree on a tip within {PATIENCE:?}")) }
}

/// Makes the directory and its network file, or takes over those of an earlier run.
fn prepare(directory: &Directory, args: &DevnetArgs) -> Result<Network> {
    if args.fresh {
        clear(directory).with_context(|| format!("clearing {}", directory.path().display()))?;
    }
    fs::create_dir_all(directory.data())
        .with_context(|| format!("creating {}", directory.data().display()))?;
    let path = directory.network_file();
    let mut wanted = NetworkFile::demo();
    wanted.name = "devnet".into();
    wanted.accounts =
        (0..args.nodes.max(4)).map(|id| AccountEntry::open(&format!("node{id}"), BALANCE)).collect();
    if !path.exists() {
        wanted.difficulty = Difficulty::Zeros(args.difficulty.unwrap_or(5));
        fs::write(&path, config::network_text(&wanted)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let network = config::parse_network(&text)
        .with_context(|| format!("in {}", path.display()))
        .or_exit(Exit::Usage)?;
    let zeros =
        network.bits.target().map(|target| target.zeros()).context("a network's bits have a target")?;
    match args.difficulty {
        Some(difficulty) if (zeros - f64::from(difficulty)).abs() > 1e-3 => Err(Exit::Foreign.error(anyhow!(
            "{} is the network of an earlier run, with a difficulty of {zeros} zeros: add --fresh to delete that run, \
             or name another --dir",
            path.display()
        ))),
        _ => Ok(network),
    }
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
    ignore_missing(fs::remove_file(directory.network_file()))
}

fn start_node(directory: &Directory, id: NodeId, args: &DevnetArgs) -> Result<Process> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = NonZeroUsize::new(cores / usize::from(args.nodes)).unwrap_or(NonZeroUsize::MIN);
    let threads = args.mining.threads.unwrap_or(share);
    let arguments = [
        id.to_string(),
        "--backend".into(),
        args.mining.backend.to_string(),
        "--threads".into(),
        threads.to_string(),
        "--until-stdin-closes".into(),
    ];
    start(directory, format!("node{id}"), &arguments)
}

fn start_generator(directory: &Directory, args: &DevnetArgs) -> Result<Process> {
    let mut arguments =
        vec!["generate".into(), "--until-stdin-closes".into(), "--rate".into(), args.rate.to_string()];
    if let Some(seed) = args.seed {
        arguments.extend(["--seed".into(), seed.to_string()]);
    }
    start(directory, "generator".into(), &arguments)
}

fn start(directory: &Directory, name: String, arguments: &[String]) -> Result<Process> {
    let log =
        File::create(log_path(directory, &name)).with_context(|| format!("creating the log of {name}"))?;
    let program = std::env::current_exe().context("finding this program's own file")?;
    let child = Command::new(program)
        .args(arguments)
        .arg("--dir")
        .arg(directory.path())
        .env_remove("QUARRY_NETWORK")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    Ok(Process { name, child })
}

/// Shows where the nodes stand until told to stop or until the time is up.
fn watch(directory: &Directory, ids: &[NodeId], args: &DevnetArgs, stop: &Receiver<()>) -> Result<()> {
    let started = Instant::now();
    let duration = args.duration.map(|seconds| Duration::from_secs(u64::from(seconds.get())));
    let mut screen = Screen::default();
    loop {
        let left =
            duration.map_or(INTERVAL, |duration| duration.saturating_sub(started.elapsed()).min(INTERVAL));
        match stop.recv_timeout(left) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if duration.is_some_and(|duration| duration <= started.elapsed()) {
            return Ok(());
        }
        screen.show(started.elapsed(), &statuses(directory, ids), directory.path())?;
    }
}

fn statuses(directory: &Directory, ids: &[NodeId]) -> Statuses {
    // A node that is being killed may break off in the middle of an answer: it is down, then.
    ids.iter().map(|id| (*id, control::status(&directory.socket(*id)).ok().flatten())).collect()
}

fn tips(statuses: &Statuses) -> BTreeSet<quarry_core::units::Hash> {
    statuses.values().flatten().map(|status| status.tip).collect()
}

fn wait_for_agreement(directory: &Directory, ids: &[NodeId]) -> bool {
    let started = Instant::now();
    loop {
        let statuses = statuses(directory, ids);
        if statuses.values().flatten().all(|status| status.mempool == 0 || !status.searching)
            && tips(&statuses).len() <= 1
        {
            return true;
        }
        if PATIENCE < started.elapsed() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn end(processes: Vec<Process>) -> Result<()> {
    let mut processes = processes;
    for process in &mut processes {
        drop(process.child.stdin.take());
    }
    let started = Instant::now();
    for process in &mut processes {
        while process.child.try_wait()?.is_none() {
            if PATIENCE < started.elapsed() {
                println!("{} does not stop: killing it", process.name);
                process.child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

fn log_path(directory: &Directory, name: &str) -> std::path::PathBuf {
    directory.data().join(format!("{name}.log"))
}

fn print_first_screen(directory: &Directory, network: &Network, nodes: &[Process], args: &DevnetArgs) {
    let zeros = network.bits.target().map_or(0.0, |target| target.zeros());
    println!("network    {} ({}), {zeros} leading hex zeros", network.name, network.id.0.short());
    let accounts = network.accounts.iter().map(|account| format!("{} {}", account.name, account.balance));
    println!("accounts   {}", accounts.collect::<Vec<_>>().join(", "));
    let processes = nodes.iter().map(|process| format!("{} (process {})", process.name, process.child.id()));
    println!("nodes      {}", processes.collect::<Vec<_>>().join(", "));
    println!("generator  {} transactions a second, each to all nodes but a random one", args.rate);
    let place = directory.path().display();
    println!(
        "files      {place}/blockchain<ID>.txt and ledger<ID>.txt, logs in {}",
        directory.data().display()
    );
    println!("try        watch cat {place}/blockchain0.txt");
    println!(
        "           node chain --dir {place}; kill -9 a node, then start it again: node 2 --dir {place}"
    );
    println!("stop       Ctrl-C\n");
}

fn print_summary(directory: &Directory, network: &Network, ids: &[NodeId]) {
    let statuses = statuses(directory, ids);
    println!("{}", table(&statuses, directory.path()));
    let total = network.supply_at(quarry_core::units::Height(0)).unwrap_or_default();
    let reorganisations: u64 =
        statuses.values().flatten().map(|it| it.counters.get("reorganisations").unwrap_or(&0)).sum();
    println!(
        "{}; {reorganisations} reorganisations in all; all accounts together hold {total}",
        agreement(&statuses),
    );
}

fn agreement(statuses: &Statuses) -> String {
    let (tips, down) = (tips(statuses).len(), statuses.values().filter(|status| status.is_none()).count());
    let down = if down == 0 { String::new() } else { format!(", {down} down") };
    match tips {
        0 => "no node answers".to_owned(),
        1 => format!("all nodes agree{down}"),
        tips => format!("{tips} different tips{down}"),
    }
}

fn table(statuses: &Statuses, place: &Path) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["node", "height", "tip", "mempool", "hash rate", "mined", "reorgs", ""]);
    for (id, status) in statuses {
        let Some(status) = status else {
            table.add_row([
                id.to_string(),
                "down".into(),
                format!("start it again: node {id} --dir {}", place.display()),
            ]);
            continue;
        };
        let counter = |name: &str| status.counters.get(name).unwrap_or(&0).to_string();
        table.add_row([
            id.to_string(),
            status.height.to_string(),
            status.tip.short(),
            status.mempool.to_string(),
            hash_rate(status.hash_rate.over_10_s),
            counter("blocks_mined"),
            counter("reorganisations"),
            if status.searching { "searching".into() } else { "idle".to_owned() },
        ]);
    }
    table
}

/// The live part of the output: a table that is drawn over itself on a terminal, or else a line each time.
#[derive(Default)]
struct Screen {
    lines: usize,
}

impl Screen {
    fn show(&mut self, elapsed: Duration, statuses: &Statuses, place: &Path) -> io::Result<()> {
        let mut output = io::stdout().lock();
        let seconds = elapsed.as_secs();
        if !output.is_terminal() {
            let known: Vec<_> = statuses.values().flatten().collect();
            let height = known.iter().map(|it| it.height.0).max().unwrap_or(0);
            let mempool = known.iter().map(|it| it.mempool).max().unwrap_or(0);
            let rate = hash_rate(known.iter().map(|it| it.hash_rate.over_10_s).sum());
            return writeln!(
                output,
                "{seconds:>5} s  height {height}  {}  {rate}  mempool {mempool}  {}",
                known.iter().max_by_key(|it| it.height).map_or_else(String::new, |it| it.tip.short()),
                agreement(statuses)
            );
        }
        let text = format!("{}\n{seconds} s, {}", table(statuses, place), agreement(statuses));
        if 0 < self.lines {
            // Up to the table's first line, and clear from there.
            write!(output, "\x1b[{}A\x1b[J", self.lines)?;
        }
        writeln!(output, "{text}")?;
        self.lines = text.lines().count();
        output.flush()
    }
}
