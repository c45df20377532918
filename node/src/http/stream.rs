//! The parts of a page that change, kept up to date in every open page through one stream of events.
//! Invariant: parts are rendered once for all pages, and sent only where they have changed.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;

/// The most open streams.
const STREAMS_MAX: usize = 64;

/// A part of a page: the id of its element, and what is in it.
pub(crate) type Part = (String, String);

/// A page's parts as they were last rendered, and those who want to know when they change.
#[derive(Clone)]
pub(crate) struct Parts(watch::Sender<Arc<Vec<Part>>>);

impl Default for Parts {
    fn default() -> Self {
        Self(watch::Sender::new(Arc::default()))
    }
}

impl Parts {
    /// As they were last published.
    pub(crate) fn newest(&self) -> Arc<Vec<Part>> {
        Arc::clone(&self.0.borrow())
    }

    /// Whether a page is open.
    pub(crate) fn has_listeners(&self) -> bool {
        0 < self.0.receiver_count()
    }

    /// Tells the open pages what has changed.
    pub(crate) fn publish(&self, parts: Arc<Vec<Part>>) {
        self.0.send_if_modified(|old| {
            let is_new = **old != *parts;
            *old = parts;
            is_new
        });
    }

    /// The stream of an open page: everything as it is now, and then what changes.
    pub(crate) fn respond(&self) -> Response {
        if STREAMS_MAX <= self.0.receiver_count() {
            return (StatusCode::SERVICE_UNAVAILABLE, "too many open pages\n").into_response();
        }
        let mut receiver = self.0.subscribe();
        receiver.mark_changed();
        let state = (receiver, Arc::<Vec<Part>>::default());
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
}

fn event(id: &str, html: &str) -> Event {
    Event::default().event(id).data(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(list: &[(&str, &str)]) -> Arc<Vec<Part>> {
        Arc::new(list.iter().map(|(id, html)| ((*id).to_owned(), (*html).to_owned())).collect())
    }

    /// What a page that opens now is sent until the server is gone.
    async fn sent(before: &Parts, then: &[Arc<Vec<Part>>]) -> String {
        let mut body = before.respond().into_body().into_data_stream();
        let mut text = String::new();
        for next in then {
            let chunk = body.next().await.expect("the stream goes on").expect("nothing fails");
            text.push_str(std::str::from_utf8(&chunk).expect("events are text"));
            before.publish(Arc::clone(next));
        }
        text
    }

    #[test]
    fn a_page_is_sent_what_is_there_and_then_what_changes() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let all = Parts::default();
        all.publish(parts(&[("a", "1"), ("b", "2")]));
        let next = parts(&[("a", "1"), ("b", "3")]);
        let text = runtime.block_on(sent(&all, &[parts(&[("a", "1"), ("b", "2")]), next.clone(), next]));
        let events: Vec<_> = text.split("\n\n").filter(|it| !it.is_empty()).collect();
        assert_eq!(events, ["event: a\ndata: 1", "event: b\ndata: 2", "event: b\ndata: 3"]);
    }
}
