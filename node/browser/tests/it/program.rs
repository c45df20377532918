//! Processes of the program, in a directory of their own.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::{PATIENCE, POLL};

/// A network's directory, deleted with the value.
pub(crate) struct Place(tempfile::TempDir);

/// A process that serves pages. It is killed when this is dropped, and takes what it has started with it.
pub(crate) struct Program {
    child: Child,
    /// Where its pages are, without a slash at the end.
    pub(crate) base: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quarry-browser"));
        command.args(arguments).arg("--dir").arg(self.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QUARRY_")) {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) {
        let outcome = self.command(arguments).output().unwrap();
        assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    }

    /// Starts something that serves pages, and waits until it says where.
    pub(crate) fn start(&self, arguments: &[&str]) -> Program {
        let log = self.path().join(format!("{}.log", arguments[0]));
        let output = File::create(&log).unwrap();
        let child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut program = Program { child, base: String::new() };
        let started = Instant::now();
        loop {
            let text = fs::read_to_string(&log).unwrap();
            if let Some((address, _)) =
                text.split_once("http://").and_then(|(_, rest)| rest.split_once("/\n"))
            {
                program.base = format!("http://{address}");
                return program;
            }
            assert!(started.elapsed() < PATIENCE, "{text}");
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
