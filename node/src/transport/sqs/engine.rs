//! The thread that everything runs on, from the first request to the last.
//! Invariant: it ends by itself a few seconds after it was told to, whatever the service does.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Sender;
use quarry_core::units::NodeId;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task;
use tokio::time::timeout;

use crate::transport::sqs::acknowledge::{self, Deleting};
use crate::transport::sqs::backoff::Backoff;
use crate::transport::sqs::client::{FailureKind, Link};
use crate::transport::sqs::courier::Couriers;
use crate::transport::sqs::error::SqsError;
use crate::transport::sqs::held::{Deletion, Held};
use crate::transport::sqs::lease::{self, Lease};
use crate::transport::sqs::members::{self, Members};
use crate::transport::sqs::message;
use crate::transport::sqs::meter::Meter;
use crate::transport::sqs::pump::Pump;
use crate::transport::sqs::receive::Receiving;
use crate::transport::sqs::send::Outbox;
use crate::transport::sqs::{Options, names, queue, stopped};
use crate::transport::{Incoming, TransportError};

/// How long what waits to be sent is sent yet.
const FLUSH: Duration = Duration::from_secs(3);
/// How long the rest of a stop may take each.
const FINISH: Duration = Duration::from_secs(3);
/// How long deleting the queue may take.
const LEAVE: Duration = Duration::from_secs(20);

/// What the thread is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Stop,
    Leave,
}

/// Who takes part.
#[derive(Debug)]
pub(super) enum Role {
    Node(NodeId),
    Client(String),
}

/// What others than the thread need.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) outbox: Arc<Outbox>,
    pub(super) held: Arc<Held>,
    pub(super) deletions: mpsc::UnboundedSender<Deletion>,
    pub(super) meter: Meter,
}

/// The thread, and how to end it.
#[derive(Debug)]
pub(super) struct Engine {
    order: oneshot::Sender<Order>,
    thread: JoinHandle<Result<(), TransportError>>,
}

impl Engine {
    /// Starts the thread, and waits until it can work or has failed to.
    pub(super) fn start(
        role: Role,
        options: Options,
        out: Sender<Incoming>,
    ) -> Result<(Self, Shared), TransportError> {
        let runtime = runtime()?;
        let (order, ordered) = oneshot::channel();
        let (ready, is_ready) = crossbeam_channel::bounded(1);
        let work = move || {
            let result = runtime.block_on(run(role, options, out, &ready, ordered));
            // A look-up of a name that still goes on is nobody's concern.
            runtime.shutdown_background();
            result
        };
        let thread = thread::Builder::new().name("sqs".to_owned()).spawn(work);
        let thread = thread.map_err(no_thread)?;
        // A thread that panics says nothing here; the panic is printed.
        let shared = is_ready.recv().map_err(|_| SqsError::Stopped)??;
        Ok((Self { order, thread }, shared))
    }

    /// Ends the thread.
    pub(super) fn end(self, order: Order) -> Result<(), TransportError> {
        // It may have ended already.
        let _ = self.order.send(order);
        self.thread.join().unwrap_or_else(|_| Err(SqsError::Stopped.into()))
    }
}

/// A runtime for one thread.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, TransportError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)
}

fn no_thread(error: std::io::Error) -> TransportError {
    TransportError::io("start a thread for", std::path::Path::new("sqs"))(error)
}

async fn run(
    role: Role,
    options: Options,
    out: Sender<Incoming>,
    ready: &Sender<Result<Shared, TransportError>>,
    order: oneshot::Receiver<Order>,
) -> Result<(), TransportError> {
    let started = match role {
        Role::Node(id) => Running::node(id, options, out).await,
        Role::Client(name) => Running::client(name, options, out).await,
    };
    // Who starts the thread waits for this.
    match started {
        Ok((running, shared)) => {
            let _ = ready.send(Ok(shared));
            running.until(order).await
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            Ok(())
        }
    }
}

/// The tasks.
struct Running {
    pump: Pump,
    pumping: task::JoinHandle<()>,
    outbox: Arc<Outbox>,
    sending: task::JoinHandle<()>,
    stop: watch::Sender<bool>,
    inbox: Option<Inbox>,
}

/// The tasks of a node's own queue.
struct Inbox {
    lease: Lease,
    held: Arc<Held>,
    receiving: task::JoinHandle<()>,
    deleting: task::JoinHandle<()>,
    finish: oneshot::Sender<()>,
}

impl Running {
    async fn node(
        id: NodeId,
        options: Options,
        out: Sender<Incoming>,
    ) -> Result<(Self, Shared), TransportError> {
        queue::check_limit(&options)?;
        let name = names::queue(&options.prefix, id)?;
        let link = Link::open(options).await?;
        let instance = names::instance();
        let opened = queue::patiently(|| queue::ensure(&link, &name, Some(&instance))).await?;
        let lease = Lease { link: link.clone(), queue: name, url: opened.url.clone(), instance };
        lease.take(&opened).await.map_err(|held| match held {
            lease::Held::Failed(failure) => failure.into(),
            lease::Held::By(owner) => TransportError::InboxTaken {
                id,
                holder: format!("process {owner} holds its queue {}", lease.queue),
            },
        })?;
        let known = match link.options.discover {
            true => {
                let members = queue::patiently(|| members::list(&link)).await?;
                Some(members.into_iter().map(|member| member.id).collect::<BTreeSet<_>>())
            }
            false => None,
        };

        let (sightings, noticed) = mpsc::unbounded_channel();
        let (mut running, mut shared, deletions) =
            Self::start(link.clone(), message::Sender::Node(id), out, sightings.clone());
        let pump = running.pump.clone();
        if let Some(known) = known {
            task::spawn(Members { link, own: id, pump: pump.clone(), sightings: noticed, known }.run());
        }
        let ((finish, finished), all_deleted) = (oneshot::channel(), Arc::new(Notify::new()));
        let receiving = Receiving {
            lease: lease.clone(),
            pump: pump.clone(),
            held: Arc::clone(&shared.held),
            all_deleted: Arc::clone(&all_deleted),
            deletions: shared.deletions.clone(),
            members: sightings,
            stop: running.stop.subscribe(),
            backoff: Arc::new(Mutex::new(Backoff::new(format!("receiving from {}", lease.queue)))),
        };
        let backoff = Backoff::new(format!("deleting from {}", lease.queue));
        let deleting = Deleting {
            lease: lease.clone(),
            pump,
            deletions,
            finish: finished,
            held: Arc::clone(&shared.held),
            all_deleted,
            backoff,
        };
        shared.meter = lease.link.meter.clone();
        running.inbox = Some(Inbox {
            held: Arc::clone(&shared.held),
            receiving: task::spawn(receiving.run()),
            deleting: task::spawn(deleting.run()),
            finish,
            lease,
        });
        Ok((running, shared))
    }

    async fn client(
        name: String,
        options: Options,
        out: Sender<Incoming>,
    ) -> Result<(Self, Shared), TransportError> {
        queue::check_limit(&options)?;
        names::queue(&options.prefix, NodeId(0))?;
        let sender = message::Sender::Client(names::client(&name)?);
        let link = Link::open(options).await?;
        let (sightings, _nobody_listens) = mpsc::unbounded_channel();
        let (running, shared, _) = Self::start(link, sender, out, sightings);
        Ok((running, shared))
    }

    /// Starts what nodes and clients have in common.
    fn start(
        link: Link,
        sender: message::Sender,
        out: Sender<Incoming>,
        members: mpsc::UnboundedSender<members::Sighting>,
    ) -> (Self, Shared, mpsc::UnboundedReceiver<Deletion>) {
        let (stop, stopped) = watch::channel(false);
        let (outbox, peers) = Outbox::new(link.options.message_bytes_max);
        let (outbox, pump) = (Arc::new(outbox), Pump::new(out));
        let meter = link.meter.clone();
        let couriers = Couriers { link, sender, outbox: Arc::clone(&outbox), pump: pump.clone(), members };
        let (deletions, to_delete) = mpsc::unbounded_channel();
        let shared = Shared { outbox: Arc::clone(&outbox), held: Arc::default(), deletions, meter };
        let pumping = pump.clone();
        let running = Self {
            pump,
            pumping: task::spawn(async move { pumping.run().await }),
            outbox,
            sending: task::spawn(couriers.run(peers, stopped)),
            stop,
            inbox: None,
        };
        (running, shared, to_delete)
    }

    /// Works until told to stop, or until the node is another process's.
    async fn until(mut self, mut order: oneshot::Receiver<Order>) -> Result<(), TransportError> {
        let ended = tokio::select! {
            // Whoever could give the order is gone: that is one, too.
            order = &mut order => Ok(order.unwrap_or(Order::Stop)),
            error = broken(&mut self.inbox, &self.pump) => Err(error),
        };
        if let Err(error) = &ended {
            self.pump.tell(Incoming::Ended(error.clone().into()));
            tokio::select! {
                () = self.pump.drained() => {}
                _ = &mut order => {}
            }
        }
        // Receivers of the signal may have ended.
        let _ = self.stop.send(true);
        self.outbox.stop();
        let mut sending = self.sending;
        let flush = async {
            if timeout(FLUSH, &mut sending).await.is_err() {
                sending.abort();
                tracing::warn!("not all messages could be sent before the end");
            }
        };
        let result = match self.inbox {
            Some(inbox) => tokio::join!(flush, inbox.end(ended.ok())).1,
            None => {
                flush.await;
                Ok(())
            }
        };
        // What sending caused is heard yet by whoever still listens.
        self.pump.flush();
        self.pumping.abort();
        result
    }
}

impl Inbox {
    /// Stops to receive, deletes what the node is done with, and lets go of the rest.
    async fn end(self, order: Option<Order>) -> Result<(), TransportError> {
        let Self { lease, held, mut receiving, mut deleting, finish } = self;
        if timeout(FINISH, &mut receiving).await.is_err() {
            receiving.abort();
        }
        if order == Some(Order::Leave) {
            deleting.abort();
            let delete = queue::patiently(|| queue::delete(&lease.link, &lease.queue, &lease.url));
            return match timeout(LEAVE, delete).await {
                Ok(Err(failure)) if failure.kind != FailureKind::Missing => Err(failure.into()),
                Ok(_) => Ok(()),
                Err(_) => Err(SqsError::Timeout { action: "DeleteQueue" }.into()),
            };
        }
        // It may have ended.
        let _ = finish.send(());
        let rest = async {
            let _ = (&mut deleting).await;
            acknowledge::release(&lease, &held.take_all()).await;
            if order.is_some() {
                // Otherwise the next start waits for an answer that does not come.
                let _ = lease.give_back().await;
            }
        };
        let _ = timeout(FINISH, rest).await;
        deleting.abort();
        Ok(())
    }
}

/// Waits until the node can no longer receive, or is another process's. Never for a client.
async fn broken(inbox: &mut Option<Inbox>, pump: &Pump) -> SqsError {
    let Some(inbox) = inbox else { return std::future::pending().await };
    let mut backoff = Backoff::new("looking who runs the node");
    let later = std::iter::repeat(&lease::LOOK_INTERVAL);
    for pause in lease::LOOKS.iter().chain(later) {
        tokio::select! {
            () = tokio::time::sleep(*pause) => {}
            _ = &mut inbox.receiving => return SqsError::Stopped,
        }
        match inbox.lease.look().await {
            Ok(()) => pump.tell(backoff.worked()),
            Err(failure) if matches!(failure.error, SqsError::TakenOver { .. }) => return failure.error,
            // A queue that is gone is the receiving task's to bring back.
            Err(failure) => pump.tell(backoff.failed(&failure).1),
        }
    }
    unreachable!("it looks for ever")
}

impl Couriers {
    /// Serves each peer that there is something for, until told to stop and all is sent.
    async fn run(self, mut peers: mpsc::UnboundedReceiver<NodeId>, mut stop: watch::Receiver<bool>) {
        let mut tasks = task::JoinSet::new();
        loop {
            tokio::select! {
                Some(to) = peers.recv() => {
                    tasks.spawn(self.clone().serve(to));
                }
                () = stopped(&mut stop) => break,
            }
        }
        while let Ok(to) = peers.try_recv() {
            tasks.spawn(self.clone().serve(to));
        }
        while tasks.join_next().await.is_some() {}
    }
}
