//! The emulator that the tests run against: one for all, started with the first, and gone with the test process.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// Names another endpoint to run the tests against.
const ENDPOINT: &str = "QUARRY_TEST_SQS_ENDPOINT";
/// Ends the emulator when standard input closes, which it does however the test process ends.
const WATCH: &str = "\"$0\" & cat >/dev/null; kill $!; wait $!";
const START: Duration = Duration::from_secs(60);

/// Where the queues are.
pub(crate) fn endpoint() -> &'static str {
    static ENDPOINT_IN_USE: OnceLock<String> = OnceLock::new();
    static SHARED: OnceLock<Emulator> = OnceLock::new();
    ENDPOINT_IN_USE.get_or_init(|| match std::env::var(ENDPOINT) {
        Ok(endpoint) => endpoint,
        Err(_) => SHARED.get_or_init(|| Emulator::start(free_port())).endpoint(),
    })
}

/// A running MiniStack, empty at first.
pub(crate) struct Emulator {
    port: u16,
    child: Child,
}

impl Emulator {
    pub(crate) fn start(port: u16) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let program = root.join("target/python/bin/ministack");
        assert!(program.exists(), "no {}: scripts/setup.sh installs it", program.display());
        let log = log(port);
        let output = File::create(&log).unwrap();
        let child = Command::new("sh")
            .arg("-c")
            .arg(WATCH)
            .arg(program)
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("SERVICES", "sqs")
            .env("LOG_LEVEL", "WARNING")
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let emulator = Self { port, child };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            assert!(start.elapsed() < START, "the emulator does not start: {}", said());
            thread::sleep(Duration::from_millis(20));
        }
        emulator
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
        let _ = fs::remove_file(log(self.port));
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn log(port: u16) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ministack-{}-{port}.log", std::process::id()))
}
