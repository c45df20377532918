//! Metrics in the text form that Prometheus reads, and the two questions of a supervisor.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use quarry_core::network::Network;

use super::window::Window;
use super::{Shared, charts, live};
use crate::control::{NodeStatus, PeerState};
use crate::feed::View;

const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The age of a view at which the run loop is stuck; it publishes one a second.
const AGE_MAX_US: u64 = 10_000_000;

type Float = Gauge<f64, AtomicU64>;
type Counters = Family<[(&'static str, String); 1], Counter>;
type Floats = Family<[(&'static str, String); 1], Float>;

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let Some(view) = shared.site.feed.view() else { return starting() };
    let mut registry = registry(&view.status);
    let chain = live::with_window(&shared, &view, |window| {
        add_chain(&mut registry, &shared.site.network, &view, window);
    });
    if let Err(error) = chain {
        tracing::warn!("the metrics of the chain cannot be renewed: {error:#}");
    }
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, KIND)], plain(&text)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Whether the run loop goes on.
pub(super) async fn healthy(State(shared): State<Arc<Shared>>) -> Response {
    let Some(view) = shared.site.feed.view() else { return starting() };
    let age_us = shared.site.clock.now().elapsed_us.saturating_sub(view.elapsed_us);
    if age_us < AGE_MAX_US {
        "healthy\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the run loop is stuck\n").into_response()
    }
}

/// Whether the node knows where the network stands.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let Some(view) = shared.site.feed.view() else { return starting() };
    match view.status.syncing {
        None => "ready\n".into_response(),
        Some(peer) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("fetching the chain of node {peer}\n")).into_response()
        }
    }
}

fn starting() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response()
}

fn registry(status: &NodeStatus) -> Registry {
    let labels = [("node".into(), status.id.to_string().into())];
    let mut registry = Registry::with_prefix_and_labels("quarry", labels.into_iter());
    let mut float = |name: &str, help: &str, value: f64| {
        let gauge = Float::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    // A height that a float cannot say is out of reach.
    float("chain_height", "Height of the tip of the best chain", status.height.0 as f64);
    float("mempool_transactions", "Transactions that wait to be mined", status.mempool as f64);
    float("hash_rate_hashes_per_second", "Rate of the nonce search over 10 s", status.hash_rate.over_10_s);
    float("difficulty_hashes", "Hashes that the next block takes on average", status.difficulty);
    float("uptime_seconds", "Time since the node's start", status.uptime_s);
    float("searching", "Whether the node is searching for a nonce", flag(status.searching));
    float("syncing", "Whether the node is fetching a chain", flag(status.syncing.is_some()));
    float("cut_off", "Whether the node is cut off because it was asked to be", flag(status.cut_off));
    float("peers", "Other nodes that are known and have not stopped", peers(status));
    float(
        "transport_cost_dollars",
        "What the transport's requests have cost by list price",
        status.usage.cost_usd,
    );
    let (delays, heights) = (Floats::default(), Floats::default());
    for peer in &status.peers {
        let label = [("peer", peer.id.to_string())];
        if let Some(delay_ms) = peer.delay_ms {
            delays.get_or_create(&label).set(delay_ms / 1e3);
        }
        if let Some(height) = peer.height {
            heights.get_or_create(&label).set(height.0 as f64);
        }
    }
    registry.register("peer_delay_seconds", "Time that a message takes to a peer", delays);
    registry.register("peer_height", "Height of a peer's tip by its last status", heights);
    let events = counters("event", status.counters.iter());
    registry.register("events", "What has happened since the node's start, by kind", events);
    let requests = counters("operation", status.usage.requests.iter());
    registry.register("transport_requests", "Billed requests of the transport, by operation", requests);
    registry
}

/// Adds what the newest blocks tell, as far as they do.
fn add_chain(registry: &mut Registry, network: &Network, view: &View, window: &Window) {
    let rate = window.network_hash_rate().map(|(rate, _)| rate);
    let values = [window.mean_s(), charts::block_time_s(network), rate, window.stale_rate(view)];
    for ((name, help), value) in OF_CHAIN.into_iter().zip(values) {
        if let Some(value) = value {
            let gauge = Float::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        }
    }
}

/// Names and help texts of what the newest blocks tell.
const OF_CHAIN: [(&str, &str); 4] = [
    ("block_interval_seconds", "Mean time between the newest blocks, up to 512"),
    ("block_interval_target_seconds", "Time between blocks that the difficulty aims at"),
    ("network_hash_rate_hashes_per_second", "Hash rate that the newest blocks prove"),
    ("stale_blocks_ratio", "Share of the blocks seen lately that are beside the best chain"),
];

fn counters<'a>(label: &'static str, counts: impl Iterator<Item = (&'a String, &'a u64)>) -> Counters {
    let family = Counters::default();
    for (name, count) in counts {
        family.get_or_create(&[(label, name.clone())]).inc_by(*count);
    }
    family
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn peers(status: &NodeStatus) -> f64 {
    status.peers.iter().filter(|peer| peer.state != PeerState::Stopped).count() as f64
}

/// OpenMetrics in Prometheus' older form, which its tools check: there, the help and type of a counter bear its
/// samples' name, and the text has no end mark.
fn plain(text: &str) -> String {
    let mut counters: Vec<&str> = Vec::new();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
    counters.extend(types);
    let mut plain = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let name = counters.iter().find(|name| {
            let rest = line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE "));
            rest.and_then(|rest| rest.strip_prefix(**name)).is_some_and(|rest| rest.starts_with(' '))
        });
        match name {
            Some(name) => plain.push_str(&line.replacen(name, &format!("{name}_total"), 1)),
            None => plain.push_str(line),
        }
        plain.push('\n');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_alike_everywhere() {
        let open = "# HELP a Help on a.\n# TYPE a counter\na_total{b=\"c\"} 1\n# HELP ab A.\n# TYPE ab gauge\nab 1\n# EOF\n";
        let old = "# HELP a_total Help on a.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n# HELP ab A.\n# TYPE ab gauge\nab 1\n";
        assert_eq!(plain(open), old);
    }

    #[test]
    fn the_dashboard_shows_metrics_that_there_are() {
        let status = serde_json::json!({
            "id": 0, "pid": 1, "network": "0".repeat(64), "uptimeS": 1.0, "time": "2026-01-01 00:00:00.000000",
            "height": 1, "tip": "0".repeat(64), "mempool": 0, "searching": true, "backend": null,
            "hashRate": { "over10S": 1.0, "over60S": 1.0, "over15Min": 1.0, "max": 1.0 },
            "syncing": null, "counters": { "blocks_mined": 1 },
            "peers": [{ "id": 1, "height": 1, "tip": null, "heardS": 1.0, "state": "alive", "delayMs": 1.0 }],
            "usage": { "requests": { "SendMessage": 1 }, "requestsTotal": 1, "costUsd": 0.0, "events": {} },
        });
        let status: NodeStatus = serde_json::from_value(status).unwrap();
        let mut text = String::new();
        encode(&mut text, &registry(&status)).unwrap();
        let text = plain(&text);
        let dashboard = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/grafana/quarry.json");
        let dashboard = std::fs::read_to_string(dashboard).unwrap();
        let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
        let mut count = 0;
        for panel in dashboard["panels"].as_array().unwrap() {
            let targets = panel["targets"].as_array().unwrap().iter();
            let expressions: String = targets.map(|target| target["expr"].as_str().unwrap()).collect();
            let words = expressions.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for name in words.filter(|word| word.starts_with("quarry_")) {
                let is_of_chain = OF_CHAIN.iter().any(|(it, _)| name.strip_prefix("quarry_") == Some(it));
                let is_told = is_of_chain || text.contains(&format!("# TYPE {name} "));
                assert!(is_told, "{name} is not in\n{text}");
                count += 1;
            }
        }
        assert!(17 < count, "{count}");
    }
}
