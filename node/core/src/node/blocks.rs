//! How a node takes blocks, announces its own, and chooses what to mine.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Mining, Node};
use crate::block::Block;
use crate::chain::{self, Accepted, Context, Switch};
use crate::effect::{Effect, Notice, Now};
use crate::message::Message;
use crate::rules::{BlockError, CheckedBlock, check_block};
use crate::store::{Store, StoreError};
use crate::sync::Sync;
use crate::template::{Parts, Template};
use crate::transaction::Transaction;
use crate::units::{Hash, NodeId};

/// How many blocks of the tip's difficulty a pushed block's branch may be behind.
const SIDE_BRANCH_BLOCKS_MAX: usize = 288;
/// How soon a template follows another when only the mempool has changed.
const TEMPLATE_INTERVAL_US: u64 = 50_000;
/// How much longer that takes for each transaction that was looked at, so that it takes up little of the time.
const TEMPLATE_INTERVAL_PER_SCAN_US: u64 = 25;
/// How old a template may grow before it gets a new timestamp.
const TEMPLATE_AGE_MAX_US: u64 = 10_000_000;

impl<S: Store> Node<S> {
    /// Takes a block that a peer or client pushed.
    pub(super) fn block(
        &mut self,
        now: Now,
        from: Option<NodeId>,
        block: Arc<Block>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let hash = block.header.hash();
        let error = match check_block(block, &self.network) {
            Ok(block) => match self.check_worth(&block)? {
                Ok(()) => {
                    let before = self.tip.hash;
                    drop(self.accept(now, from, block, effects)?);
                    return self.pass_on(now, &before, effects);
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        effects.push(Effect::Tell(Notice::BlockRefused { from, hash, error }));
        Ok(())
    }

    /// Refuses a pushed block of a branch that has fallen far behind: such branches are cheap to make where the
    /// difficulty follows them down, and would fill the disk. One that is better after all is fetched by a sync.
    fn check_worth(&self, block: &CheckedBlock) -> Result<Result<(), BlockError>, StoreError> {
        let parent = match self.network.block_time_us {
            0 => None,
            _ => self.overlay().record(&block.block().header.prev_hash)?,
        };
        let Some(parent) = parent else { return Ok(Ok(())) };
        let (work, tip) = (parent.work + block.work(), self.tip.work);
        let target = self.tip.header.bits.target().expect("the tip's header has been checked");
        let slack = core::iter::repeat_n(target.work(), SIDE_BRANCH_BLOCKS_MAX).sum();
        Ok(if tip <= work + slack { Ok(()) } else { Err(BlockError::TooLittleWork(Box::new((work, tip)))) })
    }

    /// Takes the result of the nonce search.
    pub(super) fn found(
        &mut self,
        now: Now,
        template: u64,
        extra_nonce: u64,
        nonce: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let Some(current) = self.mining.template.take_if(|current| current.id == template) else {
            effects.push(Effect::Tell(Notice::StaleResult));
            return Ok(());
        };
        self.mining.searching = false;
        self.mining.assembled_us = None;
        let block = current.block(extra_nonce, nonce);
        let hash = block.header.hash();
        let result = match check_block(block, &self.network) {
            Ok(block) => self.accept(now, None, block, effects)?,
            Err(error) => {
                effects.push(Effect::Tell(Notice::BlockRefused { from: None, hash, error: error.clone() }));
                Err(error)
            }
        };
        if result.is_ok() {
            let number = self.outbox_next;
            self.outbox_next += 1;
            self.outbox.insert(number, hash);
            self.pending.outbox.insert(number, Some(hash));
            self.announce(number, &hash, effects)?;
        }
        Ok(())
    }

    /// Sends a block of the outbox to the peers; those that do not listen fetch it when they are back.
    pub(super) fn announce(
        &mut self,
        number: u64,
        hash: &Hash,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        if self.peers.listening().is_empty() {
            self.announced(number);
            return Ok(());
        }
        let Some(block) = self.overlay().block(hash)? else { return Ok(()) };
        let audience = self.audience();
        self.send_all(audience, &Message::Block(block), Some(number), effects);
        Ok(())
    }

    /// Takes a block out of the outbox: everybody who was there to hear of it has.
    pub(super) fn announced(&mut self, number: u64) {
        if self.outbox.remove(&number).is_some() {
            self.pending.outbox.insert(number, None);
        }
    }

    /// Adds a checked block, and the orphans that waited for it, to the chain. The result is that of the block itself.
    pub(super) fn accept(
        &mut self,
        now: Now,
        from: Option<NodeId>,
        block: CheckedBlock,
        effects: &mut Vec<Effect>,
    ) -> Result<Result<(), BlockError>, StoreError> {
        let mut result = Ok(());
        let first = block.hash();
        let mut queue = VecDeque::from([(block, from)]);
        while let Some((block, from)) = queue.pop_front() {
            let hash = block.hash();
            match self.accept_one(now, from, block, effects)? {
                Ok(true) => queue.extend(self.orphans.take_children(&hash)),
                Ok(false) => {}
                Err(error) => {
                    effects.push(Effect::Tell(Notice::BlockRefused { from, hash, error: error.clone() }));
                    if hash == first {
                        result = Err(error);
                    }
                }
            }
        }
        Ok(result)
    }

    /// Whether the block is in the tree now and was not before.
    fn accept_one(
        &mut self,
        now: Now,
        from: Option<NodeId>,
        block: CheckedBlock,
        effects: &mut Vec<Effect>,
    ) -> Result<Result<bool, BlockError>, StoreError> {
        let mempool = &self.mempool;
        let is_verified = |transaction: &Transaction| {
            let known = mempool.transaction(&transaction.id());
            known.is_some_and(|known| known.authorization() == transaction.authorization())
        };
        let context = Context { network: &self.network, now: now.utc, is_verified: &is_verified };
        let accepted = match chain::accept(&self.store, &mut self.pending, &mut self.tip, &block, &context)? {
            Ok(accepted) => accepted,
            Err(error) => return Ok(Err(error)),
        };
        let (hash, height) = (block.hash(), block.block().header.index);
        match accepted {
            Accepted::Known => Ok(Ok(false)),
            Accepted::Orphan => {
                if self.orphans.insert(block, from) {
                    effects.push(Effect::Tell(Notice::Orphan(hash)));
                    if let Some(peer) = from {
                        self.start_sync(now, peer, effects)?;
                    }
                }
                Ok(Ok(false))
            }
            Accepted::SideBranch => {
                effects.push(Effect::Tell(Notice::SideBranch { height, hash }));
                Ok(Ok(true))
            }
            Accepted::NewTip(switch) => {
                self.switched(now, from, &switch, effects)?;
                Ok(Ok(true))
            }
        }
    }

    /// Follows a move of the tip: the mempool, the template and the log.
    fn switched(
        &mut self,
        now: Now,
        from: Option<NodeId>,
        switch: &Switch,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let mined = switch.applied.iter().flat_map(|block| &block.transactions);
        let mined: BTreeSet<_> = mined.map(Transaction::id).collect();
        for id in &mined {
            self.mempool.remove(id, &mut self.pending);
            self.relay.forget(id);
        }
        let abandoned = switch.abandoned.iter().rev().flat_map(|block| &block.transactions);
        let (mut returned, mut dropped) = (0, 0);
        for transaction in abandoned.filter(|it| !mined.contains(&it.id())) {
            match self.take_back(now, transaction) {
                true => returned += 1,
                false => dropped += 1,
            }
        }
        self.mining.template = None;
        self.mining.assembled_us = None;
        self.hasten_status(now);
        let (height, hash) = (self.tip.header.index, self.tip.hash);
        let notice = if switch.abandoned.is_empty() && switch.applied.len() == 1 {
            Notice::Extended { height, hash, transactions: mined.len(), from }
        } else {
            let (abandoned, applied) = (switch.abandoned.len(), switch.applied.len());
            Notice::Reorganised { height, hash, abandoned, applied, returned, dropped }
        };
        effects.push(Effect::Tell(notice));
        Ok(())
    }

    /// Starts, renews or ends the nonce search as the tip, the mempool, a running sync and the clock want it.
    pub(super) fn refresh_template(&mut self, now: Now, effects: &mut Vec<Effect>) -> Result<(), StoreError> {
        if self.is_behind() {
            self.mining.assembled_us = None;
            self.rest(effects);
            return Ok(());
        }
        if self.template_due().is_none_or(|due| now.elapsed_us < due) {
            return Ok(());
        }
        let (id, options) = (self.mining.templates + 1, &self.options);
        let overlay = self.overlay();
        let parts =
            Parts { tip: &self.tip, mempool: &self.mempool, overlay: &overlay, network: &self.network };
        let template = Template::assemble(id, self.extra_nonce, options.miner, now.utc, &parts)?;
        self.mining.outdated = false;
        self.mining.assembled_us = Some(now.elapsed_us);
        self.mining.scanned = u64::try_from(template.scanned).unwrap_or(u64::MAX);
        // A network with a reward ends where no amount can say how much money there is.
        let is_over = self.network.supply_at(self.tip.header.index.next()).is_none();
        if is_over || (template.transaction_count() == 0 && !self.options.mine_empty) {
            self.rest(effects);
            return Ok(());
        }
        let template = Arc::new(template);
        self.mining.templates = id;
        self.mining.searching = true;
        self.mining.template = Some(Arc::clone(&template));
        effects.push(Effect::Mine(template));
        Ok(())
    }

    /// When the template is to be looked at again: at once after a move of the tip, soon after a change of the
    /// mempool, and from time to time for the time.
    pub(super) fn template_due(&self) -> Option<u64> {
        let Mining { template, assembled_us, outdated, scanned, .. } = &self.mining;
        if !self.options.mine || self.is_behind() {
            return None;
        }
        match (*assembled_us, outdated, template) {
            (None, _, _) => Some(0),
            (Some(assembled_us), true, _) => Some(
                assembled_us + TEMPLATE_INTERVAL_US + scanned.saturating_mul(TEMPLATE_INTERVAL_PER_SCAN_US),
            ),
            (Some(assembled_us), false, Some(_)) => Some(assembled_us + self.template_age_max_us()),
            // What waits although nothing is mined may be too new for a block by a clock that was set back.
            (Some(assembled_us), false, None) if !self.mempool.is_empty() => {
                Some(assembled_us + TEMPLATE_AGE_MAX_US)
            }
            (Some(_), false, None) => None,
        }
    }

    /// How old a template may grow: where the difficulty depends on the block's own timestamp, it must not lag behind.
    fn template_age_max_us(&self) -> u64 {
        match self.network.block_time_us {
            0 => TEMPLATE_AGE_MAX_US,
            block_time_us => TEMPLATE_AGE_MAX_US.min(block_time_us / 2),
        }
    }

    /// Whether a better chain is known to exist: what would be mined meanwhile would be stale.
    fn is_behind(&self) -> bool {
        self.sync.as_ref().is_some_and(Sync::is_fetching)
    }

    fn rest(&mut self, effects: &mut Vec<Effect>) {
        self.mining.template = None;
        if core::mem::take(&mut self.mining.searching) {
            effects.push(Effect::Rest);
        }
    }
}
