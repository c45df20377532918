//! What news costs by the number of nodes.

use quarry_core::node::{EXCHANGES, fan_out};
use quarry_sim::scale::{Report, Setting, measure, quantile};

fn report(mesh_max: usize, lost_per_mille: u64) -> Report {
    let transaction_interval_us = 5_000_000;
    let setting = Setting { nodes: 40, mesh_max, minutes: 8, lost_per_mille, transaction_interval_us };
    measure(1, &setting, || 0).unwrap()
}

fn per_node(report: &Report, kind: &str) -> f64 {
    report.counts.messages[kind] as f64 / report.nodes as f64
}

#[test]
fn gossip_reaches_everybody_with_few_messages_of_each() {
    for lost_per_mille in [0, 10] {
        let report = report(0, lost_per_mille);
        let told = fan_out(39) as f64;
        assert!(0 < report.height && !report.blocks.is_empty() && !report.transactions.is_empty());
        assert!(report.blocks.iter().all(|times| times.len() == 40));
        let late = report.blocks.iter().filter(|times| 2_000_000 < quantile(times, 900).unwrap());
        assert_eq!(late.count(), 0, "all but a few hear a block within two seconds");
        assert!(per_node(&report, "block") <= told * report.counts.found as f64);
        // In eight minutes there are at most so many rounds, with a question and a reply each way.
        assert!(per_node(&report, "status") <= 97.0 * 2.0 * EXCHANGES as f64);
    }
}

#[test]
fn a_mesh_costs_statuses_for_all() {
    let (mesh, gossip) = (report(1000, 0), report(0, 0));
    assert!(5.0 * per_node(&gossip, "status") < per_node(&mesh, "status"));
    assert!(per_node(&mesh, "block") < per_node(&gossip, "block"), "each hears a block once");
}

#[test]
fn a_share_of_a_list_is_found() {
    let list = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    let found: Vec<_> = [0, 100, 500, 501, 990, 1000].map(|share| quantile(&list, share).unwrap()).into();
    assert_eq!(found, [1, 1, 5, 6, 10, 10]);
    assert_eq!(quantile(&[], 500), None);
}
