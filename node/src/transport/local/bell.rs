//! How a receiver learns at once that something was written: each inbox has a socket that senders ring.
//! Invariant: a ring says only "look"; a lost or a false one costs time, never a message.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::transport::local::names;

/// Socket addresses end at 104 or 108 bytes, by system.
const ADDRESS_BYTES_MAX: usize = 100;
/// How long a ring holds for what is written after it: the receiver looks when it hears it and again after
/// [`LOOK_AGAIN`]. Ringing for each message was a quarter of the cost of sending.
pub(super) const HEARD_FOR: Duration = Duration::from_micros(200);
/// When a receiver that was rung for looks a second time.
pub(super) const LOOK_AGAIN: Duration = Duration::from_micros(300);

/// How often a receiver looks where no bell can be hung.
const POLL: Duration = Duration::from_millis(3);

/// The receiver's side.
#[derive(Debug)]
pub(super) struct Bell {
    socket: Option<UnixDatagram>,
}

impl Bell {
    /// Hangs the bell of an inbox, whose lock the caller holds. Without sockets there, waiting is polling.
    pub(super) fn hang(inbox: &Path, pause: Duration) -> Self {
        let hang = || -> io::Result<UnixDatagram> {
            match fs::remove_file(inbox.join(names::BELL)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let socket = UnixDatagram::bind(Doorbell::at(inbox)?.address)?;
            socket.set_read_timeout(Some(pause))?;
            Ok(socket)
        };
        let socket = hang()
            .inspect_err(
                |error| tracing::info!(%error, inbox = %inbox.display(), "no wake-up socket: polling"),
            )
            .ok();
        Self { socket }
    }

    /// Returns true when the bell has rung since the last call, false after a pause without.
    pub(super) fn wait(&self) -> bool {
        let Some(socket) = &self.socket else {
            thread::sleep(POLL);
            return false;
        };
        match socket.recv(&mut [0; 1]) {
            Ok(_) if silence(socket).is_ok() => return true,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            // Whatever is wrong with the socket, it must not become a loop without a pause.
            _ => thread::sleep(POLL),
        }
        false
    }
}

/// The sender's side.
#[derive(Debug)]
pub(super) struct Doorbell {
    address: PathBuf,
    /// Keeps an address through `/proc/self/fd` valid.
    _inbox: Option<File>,
}

impl Doorbell {
    pub(super) fn at(inbox: &Path) -> io::Result<Self> {
        let address = inbox.join(names::BELL);
        if address.as_os_str().len() <= ADDRESS_BYTES_MAX {
            return Ok(Self { address, _inbox: None });
        }
        let inbox = File::open(inbox)?;
        let address = PathBuf::from(format!("/proc/self/fd/{}/{}", inbox.as_raw_fd(), names::BELL));
        Ok(Self { address, _inbox: Some(inbox) })
    }

    /// Rings. Nobody may be there, or the bell may have rung ten times unheard: both are as good as a ring.
    pub(super) fn ring(&self, socket: &UnixDatagram) {
        let _nobody_there_or_rung_already = socket.send_to(&[0], &self.address);
    }
}

/// Takes what has rung besides, so that many rings wake once.
fn silence(socket: &UnixDatagram) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    while socket.recv(&mut [0; 1]).is_ok() {}
    socket.set_nonblocking(false)
}
