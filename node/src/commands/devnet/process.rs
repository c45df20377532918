//! The processes of a devnet.
//! Invariant: none outlives the one that started it, however that one ends.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
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
    /// Where in the log its own words begin.
    log_start: u64,
    child: Child,
}

/// Processes that are stopped when this is dropped.
#[derive(Default)]
pub(super) struct Processes(pub(super) Vec<Process>);

impl Process {
    /// Starts a command of this program, which logs to a file of its own, behind what is there of earlier ones.
    pub(super) fn start(directory: &Directory, name: String, mut command: Command) -> Result<Self> {
        let log = directory.data().join(format!("{name}.log"));
        let place = || format!("opening {}", log.display());
        let output = File::options().append(true).create(true).open(&log).with_context(place)?;
        let log_start = output.metadata().with_context(place)?.len();
        let child = command
            .arg("--until-stdin-closes")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name, log, log_start, child })
    }

    /// The number by which the system knows it.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What a process that has ended had to say.
    pub(super) fn last_words(&mut self) -> Result<Option<String>> {
        let Some(status) = self.child.try_wait()? else { return Ok(None) };
        let log = self.words().unwrap_or_default();
        let error = log.lines().rev().find_map(|line| line.strip_prefix("error: "));
        let words = error.map_or_else(|| format!("{status}; see {}", self.log.display()), ToOwned::to_owned);
        Ok(Some(words))
    }

    fn words(&self) -> io::Result<String> {
        let mut log = File::open(&self.log)?;
        log.seek(SeekFrom::Start(self.log_start))?;
        io::read_to_string(log)
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::args::{CommonArgs, LogFormat, MediumArgs};

    /// Starts something that says this and ends; answers its last words.
    fn last_words(directory: &Directory, says: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("echo '{says}' >&2; exit 3")]);
        let mut process = Process::start(directory, "node0".into(), command).unwrap();
        process.child.wait().unwrap();
        process.last_words().unwrap().unwrap()
    }

    /// The log of a node that was killed by its button was gone once it was started again, and with it what it had
    /// said last.
    #[test]
    fn a_log_keeps_the_words_of_earlier_processes_and_tells_them_apart() {
        let place = tempfile::tempdir().unwrap();
        let common = CommonArgs {
            dir: Some(place.path().into()),
            network: None,
            log_format: LogFormat::Human,
            log: String::new(),
            medium: MediumArgs::default(),
        };
        let directory = Directory::new(&common, ".");
        fs::create_dir_all(directory.data()).unwrap();
        let log = directory.data().join("node0.log");
        assert_eq!(last_words(&directory, "error: no room"), "no room");
        assert_eq!(last_words(&directory, "bye"), format!("exit status: 3; see {}", log.display()));
        assert_eq!(last_words(&directory, "error: lost"), "lost");
        assert_eq!(fs::read_to_string(&log).unwrap(), "error: no room\nbye\nerror: lost\n");
    }
}
