//! `generate`: random transactions between the open accounts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use quarry_core::message::Message;
use quarry_core::network::{MESSAGE_OVERHEAD, Network, TRANSACTION_JSON_MAX};
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::{AccountId, Amount, NodeId, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tracing::{debug, info, warn};

use crate::args::{CommonArgs, GenerateArgs};
use crate::clock;
use crate::commands::node::stop_signal;
use crate::config::{self, Directory};
use crate::connection::{self, Connection};
use crate::exit::Exit;
use crate::notices::{self, is_worth_a_line};
use crate::transport::{Handover, Incoming, Kind, Outgoing, Transport};

/// The amounts that are drawn, in cents.
const AMOUNTS: std::ops::RangeInclusive<u64> = 10..=200;
/// The most transactions that are made at once, unless the rate and the time in which they gather want more.
const TICK_MAX: u64 = 1000;
/// The longest time between two ticks that is made up for.
const LAG_MAX: Duration = Duration::from_secs(2);
/// How often to look for nodes while there are none, and the longest pause between two ticks.
const LOOK: Duration = Duration::from_secs(1);
/// How many messages may wait to be sent before no more transactions are made.
const IN_FLIGHT_MAX: u64 = 1000;
/// How long the end waits for what is not sent yet.
const FLUSH: Duration = Duration::from_secs(30);
/// How often a wait looks whether to go on.
const POLL: Duration = Duration::from_millis(100);

/// How many transactions are due at a rate.
struct Pace {
    /// Transactions a second; infinity for no pause at all.
    rate: f64,
    due: f64,
    last: Instant,
    /// How often it is time to send, at the most.
    gather: Duration,
}

struct Generator {
    network: Network,
    connection: Connection,
    client: Box<dyn Transport>,
    fixed_nodes: Option<Vec<NodeId>>,
    accounts: Vec<AccountId>,
    rng: StdRng,
    last: Timestamp,
    nodes: Vec<NodeId>,
    looked: Option<Instant>,
    /// How many messages the transport has taken and not sent yet.
    in_flight: u64,
    unsent: u64,
}

/// Sends random transactions until told to stop.
pub fn run(common: &CommonArgs, args: &GenerateArgs) -> Result<Exit> {
    let directory = Directory::new(common, ".");
    let network = config::network(common, &directory)?;
    let accounts: Vec<_> = network.accounts.iter().filter(|it| it.open).map(|it| it.id).collect();
    if accounts.len() < 2 {
        let error = anyhow!("network `{}` has fewer than two open accounts to pay between", network.name);
        return Err(
            Exit::Usage.hinted(error, "keyed accounts pay with `send --key`; `init --open` makes open ones")
        );
    }
    if args.rate.0 == 0.0 {
        return Err(
            Exit::Usage.hinted(anyhow!("--rate 0 sends nothing"), "as fast as possible is --rate max")
        );
    }
    let connection = Connection::new(common, &directory, &network)?;
    let client = connection.medium.client("generator").map_err(connection::failed)?;
    let fixed_nodes = args.peers.as_ref().map(|peers| peers.0.clone());
    let seed = args.seed.unwrap_or_else(rand::random);
    let rng = StdRng::seed_from_u64(seed);
    let stop = stop_signal(args.until_stdin_closes)?;
    info!(seed, rate = %args.rate, "generator starts");
    let (last, nodes) = (Timestamp::default(), Vec::new());
    let (looked, in_flight, unsent) = (None, 0, 0);
    Generator {
        network,
        connection,
        client,
        fixed_nodes,
        accounts,
        rng,
        last,
        nodes,
        looked,
        in_flight,
        unsent,
    }
    .run(args, &stop)?;
    Ok(Exit::Done)
}

impl Pace {
    fn new(rate: f64, gather: Duration) -> Self {
        Self { rate, due: 0.0, last: Instant::now(), gather }
    }

    /// How many have become due since the last call.
    fn due(&mut self) -> u64 {
        let elapsed = self.last.elapsed();
        self.last = Instant::now();
        if self.rate.is_infinite() {
            return TICK_MAX;
        }
        // A machine that was asleep does not make up for it.
        self.due += elapsed.min(LAG_MAX).as_secs_f64() * self.rate;
        // Small and positive; what is cut off stays due.
        let now = (self.due as u64).min(self.at_once_max());
        self.due -= now as f64;
        now
    }

    /// The most that are made at once: twice what is gathered, to make up for a late tick.
    fn at_once_max(&self) -> u64 {
        // Far below 2^53.
        TICK_MAX.max((2.0 * self.rate * self.gather.as_secs_f64()) as u64)
    }

    /// How long to wait until the next call.
    fn tick(&self) -> Duration {
        if self.rate.is_infinite() {
            return Duration::ZERO;
        }
        let fifth = Duration::try_from_secs_f64(0.2 / self.rate).unwrap_or(LOOK);
        fifth.clamp(self.gather, LOOK)
    }
}

impl Generator {
    fn run(&mut self, args: &GenerateArgs, stop: &Receiver<()>) -> Result<()> {
        let count_max = args.count.unwrap_or(u64::MAX);
        let gather = Duration::from_millis(self.connection.cadence.gather_ms);
        let (mut count, mut pace) = (0, Pace::new(args.rate.0, gather));
        while count < count_max {
            self.look_for_nodes()?;
            self.hear()?;
            let tick = if IN_FLIGHT_MAX <= self.in_flight {
                POLL
            } else if self.nodes.is_empty() {
                pace = Pace::new(args.rate.0, gather);
                LOOK
            } else {
                let now = pace.due().min(count_max - count);
                self.send(now)?;
                count += now;
                pace.tick()
            };
            match stop.recv_timeout(tick) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.flush(stop)?;
        notices::log_usage(&self.client.usage());
        info!(count, unsent = self.unsent, "generator stops");
        Ok(())
    }

    fn look_for_nodes(&mut self) -> Result<()> {
        let look =
            if self.nodes.is_empty() { LOOK } else { Duration::from_millis(self.connection.cadence.look_ms) };
        if self.looked.is_some_and(|looked| looked.elapsed() < look) {
            return Ok(());
        }
        let nodes: Vec<_> = match &self.fixed_nodes {
            Some(nodes) => nodes.clone(),
            None => self.connection.medium.inboxes().map_err(connection::failed)?.into_iter().collect(),
        };
        if nodes.is_empty() && self.looked.is_none() {
            info!("no node has an inbox in {} yet: waiting", self.connection.place);
        }
        if nodes != self.nodes {
            let list = nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            match nodes.len() {
                1 => info!("sending to node {list}"),
                _ => info!("sending to all of nodes {list} but a random one each time"),
            }
        }
        (self.nodes, self.looked) = (nodes, Some(Instant::now()));
        Ok(())
    }

    /// Sends some transactions, each to all nodes but a random one; all of a tick that go to a node share messages.
    fn send(&mut self, count: u64) -> Result<()> {
        let mut batches: Vec<Vec<Transaction>> = vec![Vec::new(); self.nodes.len()];
        for _ in 0..count {
            let transaction = self.transaction();
            let left_out =
                if 1 < self.nodes.len() { self.rng.random_range(0..self.nodes.len()) } else { usize::MAX };
            for (position, batch) in batches.iter_mut().enumerate() {
                if position != left_out {
                    batch.push(transaction.clone());
                }
            }
        }
        let room = (self.network.limits.message_bytes - MESSAGE_OVERHEAD) / TRANSACTION_JSON_MAX;
        let chunk = usize::try_from(room).unwrap_or(usize::MAX);
        for (id, batch) in self.nodes.clone().into_iter().zip(batches) {
            for part in batch.chunks(chunk) {
                self.send_to(id, part.to_vec())?;
            }
        }
        Ok(())
    }

    fn send_to(&mut self, id: NodeId, transactions: Vec<Transaction>) -> Result<()> {
        let count = transactions.len();
        let payload: Arc<[u8]> = Message::Transactions(transactions).encode(&self.network).into();
        match self.client.send(id, Outgoing { kind: Kind::Transactions, payload, ticket: 0 }) {
            Ok(Handover::Durable) => {}
            Ok(Handover::Queued) => self.in_flight += 1,
            Err(error) => {
                if is_worth_a_line(&error) {
                    warn!(node = %id, "not sent: {error}");
                }
                self.unsent += u64::try_from(count)?;
            }
        }
        Ok(())
    }

    /// Takes in what has become of messages.
    fn hear(&mut self) -> Result<()> {
        while let Ok(incoming) = self.client.incoming().try_recv() {
            match incoming {
                Incoming::Sent(_) => self.in_flight = self.in_flight.saturating_sub(1),
                Incoming::Trouble(trouble) => warn!("{trouble}"),
                Incoming::Recovered(recovery) => info!("{recovery}"),
                Incoming::Ended(error) => return Err(connection::failed(error)),
                Incoming::Delivery(_) | Incoming::Peers(_) => {}
            }
        }
        Ok(())
    }

    /// Waits until everything is sent, unless told to stop or that takes too long.
    fn flush(&mut self, stop: &Receiver<()>) -> Result<()> {
        let started = Instant::now();
        self.hear()?;
        while 0 < self.in_flight && started.elapsed() < FLUSH {
            if stop.recv_timeout(POLL) != Err(RecvTimeoutError::Timeout) {
                break;
            }
            self.hear()?;
        }
        if 0 < self.in_flight {
            warn!(messages = self.in_flight, "some messages may not have been sent");
        }
        Ok(())
    }

    fn transaction(&mut self) -> Transaction {
        let pair: Vec<_> = self.accounts.sample(&mut self.rng, 2).copied().collect();
        // Two payments are never the same transaction.
        self.last = clock::utc().max(self.last.saturating_add(1));
        let amount = Amount(self.rng.random_range(AMOUNTS));
        let payment = Payment { from: pair[0], to: pair[1], amount, timestamp: self.last };
        let transaction = Transaction::new(&self.network.id, payment, None);
        debug!(
            id = %transaction.id(),
            from = self.network.account_text(&payment.from),
            to = self.network.account_text(&payment.to),
            %amount,
            "sending"
        );
        transaction
    }
}
