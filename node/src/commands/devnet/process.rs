//! The processes of a devnet.
//! Invariant: none outlives the one that started it, however that one ends.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::config::Directory;

/// How long a process has to stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether it has.
const POLL: Duration = Duration::from_millis(5);

/// A process of the network. It is told to stop by the end of its standard input, so it stops even if this process is
/// killed; it has a process group of its own, so Ctrl-C in the terminal reaches only this process.
pub(super) struct Process {
    pub(super) name: String,
    log: PathBuf,
    child: Child,
}

/// Processes that are stopped when this is dropped.
#[derive(Default)]
pub(super) struct Processes(pub(super) Vec<Process>);

impl Process {
    /// Starts a command of this program, which logs to a file of its own.
    pub(super) fn start(directory: &Directory, name: String, mut command: Command) -> Result<Self> {
        let log = directory.data().join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let child = command
            .arg("--until-stdin-closes")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name, log, child })
    }

    /// The number by which the system knows it.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What a process that has ended had to say.
    pub(super) fn last_words(&mut self) -> Result<Option<String>> {
        let Some(status) = self.child.try_wait()? else { return Ok(None) };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let error = log.lines().rev().find_map(|line| line.strip_prefix("error: "));
        let words = error.map_or_else(|| format!("{status}; see {}", self.log.display()), ToOwned::to_owned);
        Ok(Some(words))
    }

    /// Tells it to stop, by the end of its standard input.
    pub(super) fn ask_to_end(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Ends it without a word, as a crash would.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    fn has_ended(&mut self) -> bool {
        // Whatever cannot be waited for is none of ours any more.
        self.child.try_wait().map_or(true, |status| status.is_some())
    }
}

impl Processes {
    /// The process of a name, where it runs.
    pub(super) fn running(&mut self, name: &str) -> Option<&mut Process> {
        let process = self.0.iter_mut().find(|process| process.name == name)?;
        (!process.has_ended()).then_some(process)
    }

    /// Takes the place of one of the same name that has ended.
    pub(super) fn replace(&mut self, process: Process) {
        self.0.retain(|other| other.name != process.name);
        self.0.push(process);
    }

    /// Stops them all, and kills those that are still there when it takes too long.
    pub(super) fn end(&mut self, is_hurried: impl Fn() -> bool) {
        for process in &mut self.0 {
            process.ask_to_end();
        }
        let started = Instant::now();
        for process in &mut self.0 {
            while !process.has_ended() {
                if PATIENCE < started.elapsed() || is_hurried() {
                    // It may end in this very moment.
                    let _ = process.child.kill();
                }
                std::thread::sleep(POLL);
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.end(|| false);
    }
}
