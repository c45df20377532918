//! The overview's parts, kept up to date in every open page through one stream of events.
//! Invariant: parts are rendered once for all pages, and sent only where they have changed.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;

use super::window::Window;
use super::{Shared, pages};
use crate::feed::View;

/// The most open streams.
const STREAMS_MAX: usize = 64;
/// How often it is looked whether there is something new.
const INTERVAL: Duration = Duration::from_millis(250);

/// A part of the overview: the id of its element, and what is in it.
pub(super) type Part = (&'static str, String);

/// The overview as it was last rendered.
pub(super) struct Live {
    cache: Mutex<Cache>,
    parts: watch::Sender<Arc<Vec<Part>>>,
}

#[derive(Default)]
struct Cache {
    version: u64,
    seen: Option<(quarry_core::units::Hash, Option<crate::feed::Arrival>)>,
    window: Window,
    parts: Arc<Vec<Part>>,
}

impl Default for Live {
    fn default() -> Self {
        Self { cache: Mutex::default(), parts: watch::Sender::new(Arc::default()) }
    }
}

/// The overview's parts at this moment; `None` while the node is starting.
pub(super) fn parts(shared: &Shared) -> anyhow::Result<Option<Arc<Vec<Part>>>> {
    let Some(view) = shared.site.feed.view() else { return Ok(None) };
    let mut cache = shared.live.cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.version != view.version {
        renew(shared, &view, &mut cache)?;
    }
    Ok(Some(Arc::clone(&cache.parts)))
}

fn renew(shared: &Shared, view: &View, cache: &mut Cache) -> anyhow::Result<()> {
    // The chain is read again only after it has changed.
    let seen = Some((view.status.tip, view.arrivals.back().copied()));
    if cache.seen != seen {
        let snapshot = shared.site.reader.snapshot()?;
        cache.window = Window::look(&snapshot, &shared.site.network, view)?;
        cache.seen = seen;
    }
    cache.parts = Arc::new(pages::overview_parts(&shared.site.network, view, &cache.window));
    cache.version = view.version;
    Ok(())
}

/// Looks for news as long as anybody listens.
pub(super) async fn run(shared: &Shared) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if shared.live.parts.receiver_count() == 0 {
            continue;
        }
        match parts(shared) {
            Ok(Some(parts)) => {
                shared.live.parts.send_if_modified(|old| {
                    let is_new = **old != *parts;
                    *old = parts;
                    is_new
                });
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("the web pages cannot be renewed: {error:#}"),
        }
    }
}

/// The stream of an open page.
pub(super) async fn events(State(shared): State<Arc<Shared>>) -> Response {
    if STREAMS_MAX <= shared.live.parts.receiver_count() {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many open pages\n").into_response();
    }
    let state = (shared.live.parts.subscribe(), Arc::<Vec<Part>>::default());
    let batches = stream::unfold(state, |(mut receiver, old)| async move {
        receiver.changed().await.ok()?;
        let new = Arc::clone(&receiver.borrow_and_update());
        let is_known = |part: &Part| old.contains(part);
        let changed = new.iter().filter(|part| !is_known(part));
        let events: Vec<_> = changed.map(|(id, html)| Ok::<_, Infallible>(event(id, html))).collect();
        Some((stream::iter(events), (receiver, new)))
    });
    Sse::new(batches.flatten()).keep_alive(KeepAlive::default()).into_response()
}

fn event(id: &str, html: &str) -> Event {
    Event::default().event(id).data(html)
}
