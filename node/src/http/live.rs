//! The overview's parts: renewed as the node goes on, but only while somebody looks.
//! Invariant: the chain is read again only after it has changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::stream::{Part, Parts};
use super::window::Window;
use super::{Shared, pages};
use crate::feed::View;

/// How often it is looked whether there is something new.
const INTERVAL: Duration = Duration::from_millis(250);

/// The overview as it was last rendered.
#[derive(Default)]
pub(super) struct Live {
    cache: Mutex<Cache>,
    parts: Parts,
}

#[derive(Default)]
struct Cache {
    version: u64,
    seen: Option<(quarry_core::units::Hash, Option<crate::feed::Arrival>)>,
    window: Window,
    parts: Arc<Vec<Part>>,
}

/// The overview's parts at this moment; `None` while the node is starting.
pub(super) fn parts(shared: &Shared) -> anyhow::Result<Option<Arc<Vec<Part>>>> {
    let Some(view) = shared.site.feed.view() else { return Ok(None) };
    let mut cache = shared.live.cache();
    if cache.version != view.version {
        look(shared, &view, &mut cache)?;
        cache.parts = Arc::new(pages::overview_parts(&shared.site.network, &view, &cache.window));
        cache.version = view.version;
    }
    Ok(Some(Arc::clone(&cache.parts)))
}

/// Answers from a view and the part of the chain that belongs to it.
pub(super) fn with_window<T>(
    shared: &Shared,
    view: &View,
    answer: impl FnOnce(&Window) -> T,
) -> anyhow::Result<T> {
    let mut cache = shared.live.cache();
    look(shared, view, &mut cache)?;
    Ok(answer(&cache.window))
}

impl Live {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look(shared: &Shared, view: &View, cache: &mut Cache) -> anyhow::Result<()> {
    let seen = Some((view.status.tip, view.arrivals.back().copied()));
    if cache.seen != seen {
        let snapshot = shared.site.reader.snapshot()?;
        cache.window = Window::look(&snapshot, &shared.site.network, view)?;
        cache.seen = seen;
    }
    Ok(())
}

/// Looks for news as long as anybody listens.
pub(super) async fn run(shared: &Shared) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if !shared.live.parts.has_listeners() {
            continue;
        }
        match parts(shared) {
            Ok(Some(parts)) => shared.live.parts.publish(parts),
            Ok(None) => {}
            Err(error) => tracing::warn!("the web pages cannot be renewed: {error:#}"),
        }
    }
}

/// The stream of an open page.
pub(super) async fn events(State(shared): State<Arc<Shared>>) -> Response {
    // What was last sent may be older than the page that asks.
    match parts(&shared) {
        Ok(parts) => shared.live.parts.publish(parts.unwrap_or_default()),
        Err(error) => tracing::warn!("the web pages cannot be renewed: {error:#}"),
    }
    shared.live.parts.respond()
}
