//! The web pages in a real browser, driven as a person would: by what is seen and by what is clicked.
//! Invariant: nothing that a test starts outlives it, and every wait has an end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod browser;
mod devnet;
mod node;
mod program;

use std::time::{Duration, Instant};

/// Far more than anything here takes on a busy machine: it only bounds a test that fails.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often something that is about to happen is looked for.
const POLL: Duration = Duration::from_millis(50);

/// Runs a test with a browser.
fn with_browser(test: impl AsyncFnOnce(&browser::Browser)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let browser = browser::Browser::start().await;
        tokio::time::timeout(3 * PATIENCE, test(&browser)).await.expect("no step of the test takes for ever");
        browser.stop().await;
    });
}

/// Waits until something is so.
async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(POLL).await;
    }
}
