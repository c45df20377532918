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

use super::Shared;
use crate::control::{NodeStatus, PeerState};

const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Float = Gauge<f64, AtomicU64>;

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let Some(view) = shared.site.feed.view() else { return starting() };
    let mut text = String::new();
    match encode(&mut text, &registry(&view.status)) {
        Ok(()) => ([(header::CONTENT_TYPE, KIND)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Whether the run loop goes on.
pub(super) async fn healthy(State(shared): State<Arc<Shared>>) -> Response {
    let Some(view) = shared.site.feed.view() else { return starting() };
    let age_us = crate::clock::utc().micros().saturating_sub(view.status.time.micros());
    if age_us < 10_000_000 {
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
    float("uptime_seconds", "Time since the node's start", status.uptime_s);
    float("searching", "Whether the node is searching for a nonce", f64::from(u8::from(status.searching)));
    float("syncing", "Whether the node is fetching a chain", f64::from(u8::from(status.syncing.is_some())));
    float("peers", "Other nodes that are known and have not stopped", peers(status));
    let events = Family::<[(&str, String); 1], Counter>::default();
    for (name, count) in &status.counters {
        events.get_or_create(&[("event", name.clone())]).inc_by(*count);
    }
    registry.register("events", "What has happened since the node's start, by kind", events);
    registry
}

fn peers(status: &NodeStatus) -> f64 {
    status.peers.iter().filter(|peer| peer.state != PeerState::Stopped).count() as f64
}
