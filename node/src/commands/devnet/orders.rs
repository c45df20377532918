//! What can be asked of a running devnet: to stop and start its nodes, to cut them off, and to give them a payment.
//! Invariant: only the devnet's own loop carries out an order, so its processes need no lock.
#![cfg_attr(not(feature = "http"), expect(dead_code, reason = "only a page gives orders"))]

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use crossbeam_channel::Sender;
use quarry_core::json::TransactionJson;
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::NodeId;
use serde::Deserialize;
use serde_json::value::to_raw_value;

use super::Devnet;
use super::process::{Process, Processes};
use crate::clock;
use crate::control::{self, NoAnswer, Request};

/// How long a node has to answer: until then nothing is shown, and no other order is carried out.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something to do.
#[derive(Debug)]
pub(super) struct Order {
    /// To which node.
    pub(super) node: NodeId,
    /// What.
    pub(super) deed: Deed,
}

/// What can be done to a node.
#[derive(Debug)]
pub(super) enum Deed {
    /// To its process or its connection.
    Switch(Switch),
    /// Give it a payment from an open account: from, to, amount.
    Pay(String, String, String),
}

/// What can be done to a node with a button.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Switch {
    /// Ask it to stop.
    Stop,
    /// End its process as a crash would.
    Kill,
    /// Start it again.
    Start,
    /// Let it and the other nodes not hear each other.
    CutOff,
    /// Let it hear and be heard again.
    Rejoin,
}

/// What came of an order, in words; an error says why nothing did, or that it is not known.
pub(super) type Outcome = Result<String, String>;

/// An order, and where its outcome goes.
pub(super) struct Asked {
    pub(super) order: Order,
    pub(super) answer: Sender<Outcome>,
}

impl Devnet<'_> {
    /// Does what is asked, or says why not.
    pub(super) fn carry_out(&self, order: Order, nodes: &mut Processes) -> Outcome {
        let Order { node, deed } = order;
        if !self.ids.contains(&node) {
            return Err(format!("not done: there is no node {node}"));
        }
        let done = match deed {
            Deed::Switch(switch) => self.switch(node, switch, nodes),
            Deed::Pay(from, to, amount) => self.pay(node, &from, &to, &amount),
        };
        done.map_err(|error| match error.downcast_ref::<NoAnswer>() {
            // The request waits in the node's socket, be it that the node is stopped or only slow.
            Some(no_answer) => format!("node {node}: {no_answer}; it may still happen"),
            None => format!("not done: node {node}: {error:#}"),
        })
    }

    fn switch(&self, node: NodeId, switch: Switch, nodes: &mut Processes) -> Result<String> {
        match switch {
            Switch::Stop => {
                own(nodes, node)?.ask_to_end();
                Ok(format!("node {node} is asked to stop"))
            }
            Switch::Kill => {
                own(nodes, node)?.kill()?;
                Ok(format!("node {node} is killed"))
            }
            Switch::Start => {
                if own(nodes, node).is_ok()
                    || control::status_within(&self.directory.socket(node), PATIENCE)?.is_some()
                {
                    bail!("it still runs");
                }
                let process = self.start_node(node)?;
                nodes.replace(process);
                Ok(format!("node {node} is started"))
            }
            Switch::CutOff => {
                self.put(node, &Request::CutOff(true))?;
                Ok(format!("node {node} is cut off"))
            }
            Switch::Rejoin => {
                self.put(node, &Request::CutOff(false))?;
                Ok(format!("node {node} hears the others again"))
            }
        }
    }

    fn pay(&self, node: NodeId, from: &str, to: &str, amount: &str) -> Result<String> {
        let account = |name: &str| self.network.account(name).map_err(|error| anyhow!("{error}"));
        let amount = amount.trim().parse().map_err(|error| anyhow!("amount: {error}"))?;
        let payment = Payment { from: account(from)?, to: account(to)?, amount, timestamp: clock::utc() };
        let transaction = Transaction::new(&self.network.id, payment, None);
        let json = to_raw_value(&TransactionJson::new(&transaction, &self.network))?;
        self.put(node, &Request::Submit(json))?;
        Ok(format!("node {node} took {amount} from {from} to {to}"))
    }

    /// Lets every node hear the others again.
    pub(super) fn rejoin(&self) -> Result<()> {
        for status in self.ask().up().filter(|status| status.cut_off) {
            self.put(status.id, &Request::CutOff(false))?;
        }
        Ok(())
    }

    fn put(&self, node: NodeId, request: &Request) -> Result<()> {
        match control::ask_within(&self.directory.socket(node), request, PATIENCE)? {
            Some(_) => Ok(()),
            None => bail!("it does not run"),
        }
    }
}

/// The process of a node, where this devnet has started it and it runs.
fn own(nodes: &mut Processes, node: NodeId) -> Result<&mut Process> {
    nodes.running(&super::node_name(node)).ok_or_else(|| anyhow!("no process of this devnet runs it"))
}
