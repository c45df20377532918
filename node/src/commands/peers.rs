//! `peers`: the other nodes, as a running node sees them.

use anyhow::{Result, anyhow};

use crate::args::{CommonArgs, NodeArgs};
use crate::commands::inspect::{align_right, print_table, short_hash, table};
use crate::commands::output::say;
use crate::config::{self, Directory};
use crate::control::{self, NodeStatus, PeerStatus};
use crate::exit::Exit;

/// Shows the peers of a running node.
pub fn run(common: &CommonArgs, args: &NodeArgs) -> Result<Exit> {
    let status = ask(common, args)?;
    if args.json {
        say!("{}", serde_json::to_string(&status.peers)?)?;
        return Ok(Exit::Done);
    }
    say!("node {} is at height {}, tip {}...", status.id, status.height, short_hash(&status.tip))?;
    if status.peers.is_empty() {
        say!("it knows no other nodes")?;
        return Ok(Exit::Done);
    }
    print(&status)?;
    Ok(Exit::Done)
}

/// Where the node that is meant stands; an error where it does not run.
pub(super) fn ask(common: &CommonArgs, args: &NodeArgs) -> Result<NodeStatus> {
    let directory = Directory::new(common, ".");
    let id = directory.node_or_lowest(args.id)?;
    control::status(&directory.socket(id))?.ok_or_else(|| {
        let place = directory.path().display();
        let hint = format!("start it: {} {id} --dir {place}", config::program());
        Exit::NotFound.hinted(anyhow!("node {id} does not run in {place}"), hint)
    })
}

/// Prints a row for each peer.
pub(super) fn print(status: &NodeStatus) -> Result<()> {
    let mut table = table(&["peer", "state", "height", "against ours", "last heard", "delay", "tip"]);
    align_right(&mut table, &[0, 2, 3, 4, 5]);
    for peer in &status.peers {
        table.add_row([
            peer.id.to_string(),
            peer.state.name().to_owned(),
            peer.height.map_or("?".into(), |height| height.to_string()),
            against(peer, status),
            peer.heard_s.map_or("never".into(), |seconds| format!("{seconds:.0} s ago")),
            peer.delay_ms.map_or("?".into(), |delay_ms| format!("{delay_ms:.1} ms")),
            peer.tip.map_or(String::new(), |tip| format!("{}...", short_hash(&tip))),
        ]);
    }
    print_table(&table)
}

/// How far a peer is ahead of a node or behind it, by its last status.
fn against(peer: &PeerStatus, status: &NodeStatus) -> String {
    match peer.height {
        Some(_) if peer.tip == Some(status.tip) => "same tip".to_owned(),
        Some(height) => format!("{:+}", i128::from(height.0) - i128::from(status.height.0)),
        None => String::new(),
    }
}
