//! A node of the network: takes one event at a time and says what is to be done about it.
//!
//! [`Node::step`] reads the store through its own pending changes and appends to them; the caller takes them with
//! [`Node::take_changes`], makes them durable, applies them to the store, performs the effects in order and only then
//! acknowledges the messages. Several steps may share one such commit. Invariant: no effect is visible outside before
//! the changes that it rests on are durable.

mod blocks;
mod contacts;
mod gossip;
mod syncing;
mod transactions;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

pub use self::gossip::{EXCHANGES, MESH_MAX, fan_out};
use crate::chain::{self, Tip};
use crate::effect::{Effect, Event, Notice, Now};
use crate::mempool::Mempool;
use crate::message::Message;
use crate::network::Network;
use crate::original;
use crate::orphans::Orphans;
use crate::peers::Peers;
use crate::store::{Changes, Overlay, Store, StoreError};
use crate::sync::Sync;
use crate::template::Template;
use crate::units::{AccountId, Hash, NodeId, TxId};

/// What a node is told at its start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its number.
    pub id: NodeId,
    /// The account that its blocks name, and that gets the reward.
    pub miner: AccountId,
    /// Whether it mines.
    pub mine: bool,
    /// Whether it mines blocks without transactions.
    pub mine_empty: bool,
    /// Makes its nonces and draws unlike those of other nodes and of its own earlier runs. It stays a secret: who knows it
    /// knows whom the node will tell of its next block.
    pub seed: u64,
    /// How often it tells its peers where it stands while its tip moves, in microseconds.
    pub status_interval_us: u64,
    /// How seldom it does so in the end while its tip rests: the interval doubles up to here.
    pub status_interval_max_us: u64,
    /// How long it collects transactions before it relays them, at most, in microseconds: it does so once in that time.
    pub relay_window_us: u64,
    /// How long it waits for a reply, in microseconds.
    pub reply_timeout_us: u64,
    /// Up to how many peers it tells all of them what is new, rather than a few who tell others: [`MESH_MAX`].
    pub mesh_max: usize,
}

/// A node of the network.
pub struct Node<S> {
    network: Arc<Network>,
    options: Options,
    store: S,
    pending: Changes,
    tip: Tip,
    mempool: Mempool,
    orphans: Orphans,
    peers: Peers,
    sync: Option<Sync>,
    outbox: BTreeMap<u64, Hash>,
    outbox_next: u64,
    reannounce: bool,
    relay: Relay,
    mining: Mining,
    /// Where its nonces begin, and its search for a block; both are seen by others.
    first_nonce: u64,
    extra_nonce: u64,
    nonces: u64,
    /// Whom to tell.
    draws: ChaCha8Rng,
    status_due_us: u64,
    /// How long the wait was that ends then.
    status_wait_us: u64,
}

/// When each waiting transaction is to be sent on, by [`Now::elapsed_us`]: always at the end of a window.
#[derive(Debug)]
struct Relay {
    window_us: u64,
    /// Where in its windows the clock was at its start.
    phase_us: u64,
    waits: BTreeMap<TxId, Wait>,
    order: BTreeSet<(u64, TxId)>,
}

/// Until when a transaction waits to be sent on.
#[derive(Debug, Clone, Copy)]
struct Wait {
    due_us: u64,
    /// Until when peers who send it can put that off.
    latest_us: u64,
}

/// The nonce search.
#[derive(Debug, Default)]
struct Mining {
    /// What is being searched; `None` while there is nothing to mine, or until the next look.
    template: Option<Arc<Template>>,
    /// When the last look was, by [`Now::elapsed_us`]; `None` where the tip has moved since.
    assembled_us: Option<u64>,
    /// How many transactions were looked at then.
    scanned: u64,
    /// Whether the mempool has changed since then.
    outdated: bool,
    /// Whether a search runs outside, be it for an old template.
    searching: bool,
    templates: u64,
}

impl<S: Store> Node<S> {
    /// A node that goes on where the store ends; an empty store is filled with the first block.
    pub fn open(network: Arc<Network>, options: Options, store: S, now: Now) -> Result<Self, StoreError> {
        let mut pending = Changes::default();
        let tip = match chain::tip(&store)? {
            Some(tip) => tip,
            None => {
                pending = chain::genesis(&network);
                let hash = network.genesis.hash();
                Tip { hash, header: network.genesis, work: Default::default() }
            }
        };
        if pending.is_empty() && store.path(Default::default())? != Some(network.genesis.hash()) {
            return Err(StoreError("it holds the chain of another network".into()));
        }
        let mempool = Mempool::restore(store.mempool()?.into_iter());
        let outbox: BTreeMap<_, _> = store.outbox()?.into_iter().collect();
        let outbox_next = outbox.last_key_value().map_or(0, |(number, _)| number + 1);
        let relay = Relay::new(options.relay_window_us, options.seed);
        let [first_nonce, extra_nonce] = public_starts(options.seed);
        let mut node = Self {
            network,
            status_due_us: now.elapsed_us + options.status_interval_us,
            status_wait_us: options.status_interval_us,
            peers: Peers::new(options.id),
            draws: ChaCha8Rng::seed_from_u64(options.seed),
            options,
            store,
            pending,
            tip,
            mempool,
            orphans: Orphans::default(),
            sync: None,
            outbox,
            outbox_next,
            reannounce: true,
            relay,
            mining: Mining::default(),
            first_nonce,
            extra_nonce,
            nonces: 0,
        };
        let waiting: Vec<_> = node.mempool.iter().map(|it| it.id()).collect();
        for id in waiting {
            node.relay.soon(id, now.elapsed_us);
        }
        Ok(node)
    }

    /// Takes an event and appends what is to be done to `effects`. An error is final: storage cannot be read.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) -> Result<(), StoreError> {
        match event {
            Event::Message { from, bytes } => {
                // No transport brings a node its own messages: whoever uses its name is a stranger.
                let from = from.filter(|from| *from != self.options.id);
                match Message::decode(&bytes, &self.network) {
                    Ok(message) => self.message(now, from, message, effects)?,
                    Err(error) => effects.push(Effect::Tell(Notice::MessageRefused { from, error })),
                }
            }
            Event::Original { bytes } => match original::transaction(&bytes, &self.network) {
                Ok(transaction) => self.transactions(now, None, vec![transaction], effects)?,
                Err(error) => effects.push(Effect::Tell(Notice::OriginalRefused(error))),
            },
            Event::Peers(members) => self.members(now, &members, effects)?,
            Event::Found { template, extra_nonce, nonce } => {
                self.found(now, template, extra_nonce, nonce, effects)?
            }
            Event::Announced(number) => self.announced(number),
            Event::Tick => {}
            Event::Stopping => {
                let message = Message::Bye { from: self.options.id, nonce: self.fresh_nonce() };
                let listening = self.peers.listening();
                self.send_all(listening, &message, None, effects);
                return Ok(());
            }
        }
        self.run_timers(now, effects)
    }

    /// The changes of the steps since the last call. The caller applies them to the store before the next step.
    #[must_use]
    pub fn take_changes(&mut self) -> Changes {
        core::mem::take(&mut self.pending)
    }

    /// When [`Event::Tick`] is due if nothing else happens, by [`Now::elapsed_us`].
    pub fn deadline(&self) -> u64 {
        let sync = self.sync.as_ref().map(|sync| sync.deadline_us);
        let review = self.sync.as_ref().and_then(|sync| sync.review_us);
        let relay = self.relay.order.first().map(|(due, _)| *due);
        let times = [Some(self.status_due_us), sync, review, relay, self.template_due()];
        times.into_iter().flatten().min().expect("the status is always due some time")
    }

    /// The store, to apply changes to.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The node's number.
    pub fn id(&self) -> NodeId {
        self.options.id
    }

    /// The network's parameters.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// The last block of the best chain.
    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    /// The transactions that wait.
    pub fn mempool(&self) -> &Mempool {
        &self.mempool
    }

    /// The other nodes.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The blocks whose parents are unknown.
    pub fn orphans(&self) -> &Orphans {
        &self.orphans
    }

    /// The peer whose chain is being fetched, if any.
    pub fn syncing(&self) -> Option<NodeId> {
        self.sync.as_ref().map(|sync| sync.peer)
    }

    /// The template that is being mined, if any.
    pub fn template(&self) -> Option<&Arc<Template>> {
        self.mining.template.as_ref()
    }

    fn message(
        &mut self,
        now: Now,
        from: Option<NodeId>,
        message: Message,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let claimed = match &message {
            Message::Transactions(_) | Message::Block(_) => None,
            Message::GetHeaders(request) | Message::GetBlocks(request) => Some(request.from),
            Message::Status(status) => Some(status.from),
            Message::Headers { from, .. } | Message::Blocks { from, .. } | Message::Bye { from, .. } => {
                Some(*from)
            }
        };
        if let Some(claimed) = claimed.filter(|claimed| Some(*claimed) != from) {
            effects.push(Effect::Tell(Notice::SenderMismatch { from, claimed }));
            return Ok(());
        }
        if let Some(peer) = from.filter(|_| !matches!(message, Message::Bye { .. })) {
            self.heard(now, peer, &message, effects)?;
        }
        match message {
            Message::Transactions(transactions) => self.transactions(now, from, transactions, effects),
            Message::Block(block) => self.block(now, from, block, effects),
            Message::GetHeaders(request) => self.serve_headers(now, &request, effects),
            Message::Headers { from, nonce, headers, more } => {
                self.sync_headers(now, from, nonce, &headers, more, effects)
            }
            Message::GetBlocks(request) => self.serve_blocks(now, &request, effects),
            Message::Blocks { from, nonce, blocks } => self.sync_blocks(now, from, nonce, blocks, effects),
            Message::Status(status) => {
                self.take_status(now, &status, effects);
                Ok(())
            }
            Message::Bye { from, .. } => {
                self.take_bye(now, from, effects);
                Ok(())
            }
        }
    }

    fn run_timers(&mut self, now: Now, effects: &mut Vec<Effect>) -> Result<(), StoreError> {
        if self.status_due_us <= now.elapsed_us {
            self.status_wait_us = self.next_status_wait();
            self.status_due_us = now.elapsed_us + self.status_wait_us;
            self.expire(now, effects);
            self.status_round(now, effects);
        }
        self.check_sync(now, effects)?;
        self.flush_relay(now, effects);
        self.refresh_template(now, effects)
    }

    fn fresh_nonce(&mut self) -> u64 {
        self.nonces += 1;
        self.last_nonce()
    }

    fn last_nonce(&self) -> u64 {
        self.first_nonce.wrapping_add(self.nonces)
    }

    fn send(&self, to: NodeId, message: &Message, effects: &mut Vec<Effect>) {
        let (bytes, bulk) = (message.encode(&self.network).into(), message.is_bulk());
        effects.push(Effect::Send { to, bytes, bulk, announcement: None });
    }

    fn send_all(
        &self,
        peers: Vec<NodeId>,
        message: &Message,
        announcement: Option<u64>,
        effects: &mut Vec<Effect>,
    ) {
        let (bytes, bulk): (Arc<[u8]>, bool) = (message.encode(&self.network).into(), message.is_bulk());
        let sends =
            peers.into_iter().map(|to| Effect::Send { to, bytes: Arc::clone(&bytes), bulk, announcement });
        effects.extend(sends);
    }

    fn overlay(&self) -> Overlay<'_> {
        Overlay::new(&self.store, &self.pending)
    }
}

/// Two numbers that follow from a seed and do not give it away.
fn public_starts(seed: u64) -> [u64; 2] {
    let digest = Hash::of(&[b"quarry nonces\0", &seed.to_be_bytes()]).0;
    let number =
        |start: usize| digest[start..start + 8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    [number(0), number(8)]
}
