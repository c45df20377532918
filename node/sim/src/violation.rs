//! What did not hold, and who saw it.

use std::fmt;

/// What did not hold, and who saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Who saw it.
    pub checker: Checker,
    /// What was seen.
    pub text: String,
}

/// Who can see that something does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checker {
    /// A hash stands for one block everywhere, and no block is stored without its parent.
    History,
    /// The plain ledger and the node agree on which blocks are valid.
    Verdict,
    /// Balances are those of the plain ledger at the tip.
    Balances,
    /// The path leads from the first block to the tip without a gap.
    Path,
    /// The tip is the best valid block that the node has stored.
    ForkChoice,
    /// Nodes give each other no cause for complaint.
    Complaint,
    /// A peer with which a sync has failed is left alone for a while.
    Patience,
    /// A replay from the first block gives what the disk says.
    Replay,
    /// What was once accepted is mined or waits somewhere.
    Conservation,
    /// A node knows what its disk knows, and would again after a restart.
    Durability,
    /// Everything a peer can make grow keeps its limit.
    Bounds,
    /// All nodes have one tip some time after the last fault.
    Agreement,
    /// News comes to most nodes of a network that gossips, and each node asks each other in turn.
    Reach,
    /// The rate of messages goes back to that of idle nodes.
    Rest,
    /// No assertion of the node's own fails.
    Panic,
}

impl Checker {
    /// What makes a text about a node a violation.
    pub fn violation(self, node: usize) -> impl FnOnce(String) -> Violation {
        move |text| Violation { checker: self, text: format!("node {node}: {text}") }
    }

    /// A violation of the network as a whole.
    pub fn failed(self, text: impl Into<String>) -> Violation {
        Violation { checker: self, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.checker, self.text)
    }
}
