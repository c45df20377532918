//! The embedded transport: a spool of append-only files that the nodes of one machine share, without a daemon.
//! Invariant: a message that `send` has accepted is delivered until it is acknowledged, whoever is killed meanwhile.
//!
//! The layout and the reasons are in `local/README.md`.

pub mod cursor;
pub mod frame;

mod bell;
mod inbox;
mod log;
mod names;
mod outbox;
mod progress;
mod pump;
mod recent;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use quarry_core::units::NodeId;

use crate::transport::local::bell::{Bell, Doorbell};
use crate::transport::local::inbox::Inbox;
use crate::transport::local::outbox::Outbox;
use crate::transport::local::progress::Progress;
use crate::transport::local::pump::Pump;
use crate::transport::{
    Handover, Incoming, Outgoing, Receipt, ReceiptInner, Transport, TransportError, Usage,
};

pub(crate) use progress::Position;

/// How long an inbox that is taken may be taken yet.
const TAKEN_PATIENCE: Duration = Duration::from_millis(300);
/// How often to look whether it still is.
const TAKEN_LOOK: Duration = Duration::from_millis(5);
/// More would be read into memory at once.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The limits of a spool; the default suits a network of a few nodes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The largest payload that is sent or received; 64 MiB at most.
    pub message_bytes_max: usize,
    /// What may wait in one inbox, to within a segment per sender; transactions may take half of it, so that they
    /// never crowd out blocks. Past it, `send` refuses with [`TransportError::InboxFull`]: what was accepted is kept.
    pub inbox_bytes_max: u64,
    /// The size at which a log goes on in a new file.
    pub segment_bytes: u64,
    /// Flush every message and every acknowledgement to the disk: also survives power cuts, and costs most of the speed.
    pub fsync: bool,
}

impl Options {
    fn bounded(self) -> Self {
        Self { message_bytes_max: self.message_bytes_max.min(MESSAGE_BYTES_MAX), ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            message_bytes_max: 256 << 10,
            inbox_bytes_max: 256 << 20,
            segment_bytes: 2 << 20,
            fsync: false,
        }
    }
}

/// Opens the inbox of node `id` under `dir`, creating both where they are missing, and delivers from it.
///
/// Fails with [`TransportError::InboxTaken`] while another process or instance runs under this id.
pub fn join(dir: &Path, id: NodeId, options: Options) -> Result<Local, TransportError> {
    let options = options.bounded();
    let inbox = names::inbox(dir, id);
    let lock = lock(&inbox, id)?;
    let (running, incoming) = Running::start(dir, id, &options, lock)?;
    let outbox = Outbox::new(dir, names::Sender::Node(id), options)?;
    Ok(Local { outbox, incoming, running: Mutex::new(Some(running)) })
}

/// A sender without an inbox, such as the generator: it never receives anything.
///
/// `name` begins its file names, which are made unique, so any number of clients may share a name.
pub fn client(dir: &Path, name: &str, options: Options) -> Result<Local, TransportError> {
    let outbox = Outbox::new(dir, names::Sender::client(name)?, options.bounded())?;
    Ok(Local { outbox, incoming: crossbeam_channel::never(), running: Mutex::default() })
}

/// The inboxes that exist under `dir`; none where there is no such directory yet.
pub fn inboxes(dir: &Path) -> Result<BTreeSet<NodeId>, TransportError> {
    names::inboxes(dir)
}

/// A node's or a client's end of the spool.
#[derive(Debug)]
pub struct Local {
    outbox: Outbox,
    incoming: Receiver<Incoming>,
    running: Mutex<Option<Running>>,
}

impl Transport for Local {
    fn send(&self, to: NodeId, message: Outgoing) -> Result<Handover, TransportError> {
        self.outbox.send(to, &message).map(|()| Handover::Durable)
    }

    fn incoming(&self) -> &Receiver<Incoming> {
        &self.incoming
    }

    fn acknowledge(&self, receipts: Vec<Receipt>) -> Result<(), TransportError> {
        let running = self.running.lock().expect("nothing that holds the lock panics");
        let Some(running) = &*running else {
            return Ok(());
        };
        let positions = receipts.into_iter().filter_map(position);
        if running.progress.acknowledge(positions)? {
            running.wake();
        }
        Ok(())
    }

    fn leave(&self) -> Result<(), TransportError> {
        let mut running = self.running.lock().expect("nothing that holds the lock panics");
        match running.take() {
            Some(mut running) => running.remove(),
            None => Ok(()),
        }
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// Which message it is, if it is one of a spool's.
fn position(Receipt(receipt): Receipt) -> Option<Position> {
    match receipt {
        ReceiptInner::Local(position) => Some(position),
        #[cfg(feature = "sqs")]
        ReceiptInner::Sqs(_) => None,
    }
}

/// A node's inbox while it is open: the threads that deliver from it, and the lock that keeps others out.
#[derive(Debug)]
struct Running {
    inbox: PathBuf,
    progress: Arc<Progress>,
    wake: Sender<()>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Let go of after the threads have ended: fields are dropped after `drop`.
    _lock: File,
}

impl Running {
    fn start(
        dir: &Path,
        id: NodeId,
        options: &Options,
        lock: File,
    ) -> Result<(Self, Receiver<Incoming>), TransportError> {
        let inbox = names::inbox(dir, id);
        let (out, incoming) = crossbeam_channel::bounded(pump::AHEAD_MAX);
        let (wake, woken) = crossbeam_channel::bounded(1);
        let progress = Arc::new(Progress::default());
        let stop = Arc::new(AtomicBool::new(false));
        let pump =
            Pump::new(dir, id, Inbox::new(&inbox, options, progress.clone()), out, woken, stop.clone());
        let bell = Bell::hang(&inbox, pump::TICK);
        let (ring, stopped) = (wake.clone(), stop.clone());

        let mut running = Self { inbox, progress, wake, stop, threads: Vec::new(), _lock: lock };
        running.spawn("inbox", move || pump.run())?;
        running.spawn("bell", move || listen(&bell, &ring, &stopped))?;
        Ok((running, incoming))
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), TransportError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
        self.threads.push(thread.map_err(TransportError::io("start a thread for", &self.inbox))?);
        Ok(())
    }

    fn wake(&self) {
        let _when_full_it_is_woken_already = self.wake.try_send(());
    }

    /// Removes the inbox while it is locked, so that whoever opens it next makes a new one.
    fn remove(&mut self) -> Result<(), TransportError> {
        self.stop();
        match fs::remove_dir_all(&self.inbox) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(TransportError::io("remove", &self.inbox)(error))
            }
            _ => Ok(()),
        }
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake();
        if let (Ok(doorbell), Ok(socket)) = (Doorbell::at(&self.inbox), UnixDatagram::unbound()) {
            doorbell.ring(&socket);
        }
        for thread in self.threads.drain(..) {
            let _a_panic_was_printed = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Wakes the pump when the bell rings, and once more for what was written after the ring.
fn listen(bell: &Bell, wake: &Sender<()>, stop: &AtomicBool) {
    loop {
        let rung = bell.wait();
        if wake.send(()).is_err() || stop.load(Ordering::Relaxed) {
            return;
        }
        if rung {
            thread::sleep(bell::LOOK_AGAIN);
            let _when_full_it_looks_anyway = wake.try_send(());
        }
    }
}

/// Takes the inbox for this process, until the file is closed.
fn lock(inbox: &Path, id: NodeId) -> Result<File, TransportError> {
    let path = inbox.join(names::LOCK);
    let deadline = Instant::now() + TAKEN_PATIENCE;
    loop {
        fs::create_dir_all(inbox).map_err(TransportError::io("create", inbox))?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(TransportError::io("open", &path))?;
        match file.try_lock() {
            // A node that leaves removes its inbox while it holds the lock: then this one locks nothing.
            Ok(()) if file.metadata().is_ok_and(|metadata| metadata.nlink() == 0) => {}
            Ok(()) => return Ok(file),
            // A process that is just ending, or a child of it that has not begun its own program, may hold it yet.
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(TAKEN_LOOK),
            Err(TryLockError::WouldBlock) => {
                let holder = format!("another process holds its inbox {}", inbox.display());
                return Err(TransportError::InboxTaken { id, holder });
            }
            Err(TryLockError::Error(error)) => return Err(TransportError::io("lock", &path)(error)),
        }
    }
}
