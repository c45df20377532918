//! Chromium without a window, and a tab that remembers every error that a page makes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use chromiumoxide::Page;
use chromiumoxide::browser::BrowserConfig;
use chromiumoxide::cdp::browser_protocol::emulation::{
    MediaFeature, SetDeviceMetricsOverrideParams, SetScriptExecutionDisabledParams,
};
use chromiumoxide::cdp::browser_protocol::log::{EventEntryAdded, LogEntryLevel};
use chromiumoxide::cdp::browser_protocol::page::CaptureScreenshotFormat;
use chromiumoxide::cdp::js_protocol::runtime::EventExceptionThrown;
use chromiumoxide::page::ScreenshotParams;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::{PATIENCE, POLL, eventually};

/// The browser of one test.
pub(crate) struct Browser {
    browser: chromiumoxide::Browser,
    handler: JoinHandle<()>,
    _profile: tempfile::TempDir,
}

/// A tab.
pub(crate) struct Tab {
    page: Page,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let config = BrowserConfig::builder()
            .chrome_executable("/usr/bin/chromium")
            .new_headless_mode()
            .no_sandbox()
            .user_data_dir(profile.path())
            .viewport(None)
            .launch_timeout(PATIENCE)
            .request_timeout(PATIENCE)
            .args(["disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"])
            .args(["disable-component-update", "disable-sync", "disable-dev-shm-usage", "hide-scrollbars"])
            .build()
            .unwrap();
        let (browser, mut handler) =
            chromiumoxide::Browser::launch(config).await.expect("chromium starts; `make setup` installs it");
        let handler = tokio::spawn(async move { while handler.next().await.is_some() {} });
        Self { browser, handler, _profile: profile }
    }

    pub(crate) async fn stop(mut self) {
        self.browser.close().await.unwrap();
        self.browser.wait().await.unwrap();
        self.handler.abort();
    }

    /// Opens a page in a new tab.
    pub(crate) async fn open(&self, url: &str) -> Tab {
        let page = self.browser.new_page("about:blank").await.unwrap();
        page.enable_log().await.unwrap();
        page.enable_runtime().await.unwrap();
        let errors = Arc::<Mutex<Vec<String>>>::default();
        let mut entries = page.event_listener::<EventEntryAdded>().await.unwrap();
        let noted = Arc::clone(&errors);
        tokio::spawn(async move {
            while let Some(event) = entries.next().await {
                if event.entry.level == LogEntryLevel::Error {
                    noted.lock().unwrap().push(event.entry.text.clone());
                }
            }
        });
        let mut thrown = page.event_listener::<EventExceptionThrown>().await.unwrap();
        let noted = Arc::clone(&errors);
        tokio::spawn(async move {
            while let Some(event) = thrown.next().await {
                noted.lock().unwrap().push(format!("{:?}", event.exception_details));
            }
        });
        let tab = Tab { page, errors };
        tab.appear(1280, "light").await;
        tab.go(url).await;
        tab
    }
}

impl Tab {
    pub(crate) async fn go(&self, url: &str) {
        self.page.goto(url).await.unwrap();
    }

    pub(crate) async fn url(&self) -> String {
        self.page.url().await.unwrap().unwrap_or_default()
    }

    /// What an expression of JavaScript is in the page.
    pub(crate) async fn value<T: DeserializeOwned>(&self, expression: &str) -> T {
        let started = Instant::now();
        loop {
            match self.page.evaluate(expression).await {
                Ok(value) => return value.into_value().unwrap(),
                // The page may be about to give way to another.
                Err(error) => assert!(started.elapsed() < PATIENCE, "{expression}: {error}"),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The text of what a selector finds first; empty where it finds nothing.
    pub(crate) async fn text(&self, selector: &str) -> String {
        self.value(&format!("document.querySelector('{selector}')?.innerText ?? ''")).await
    }

    /// How often a selector matches.
    pub(crate) async fn count(&self, selector: &str) -> u64 {
        self.value(&format!("document.querySelectorAll('{selector}').length")).await
    }

    pub(crate) async fn shows(&self, selector: &str, text: &str) {
        let what = format!("{selector} shows {text}");
        eventually(&what, async || self.text(selector).await.contains(text)).await;
    }

    /// Waits until a selector finds something.
    pub(crate) async fn has(&self, selector: &str) {
        eventually(selector, async || 0 < self.count(selector).await).await;
    }

    /// Clicks what a selector finds, at that place of the screen, once it is there.
    pub(crate) async fn click(&self, selector: &str) {
        self.has(selector).await;
        // Not the element's own `click`: that scrolls by a script of the page, and there may be none.
        let point = self.page.find_element(selector).await.unwrap().clickable_point().await.unwrap();
        self.page.click(point).await.unwrap();
    }

    /// Clicks something that loads a page, and waits until it is there: to go elsewhere before would take back the click.
    pub(crate) async fn click_and_load(&self, selector: &str) {
        self.value::<bool>("window.isBefore = true").await;
        self.click(selector).await;
        let is_before = async || self.value::<bool>("window.isBefore === true").await;
        eventually(&format!("{selector} loads a page"), async || !is_before().await).await;
    }

    /// Types into what a selector finds, and ends with the enter key.
    pub(crate) async fn enter(&self, selector: &str, text: &str) {
        self.click(selector).await;
        let field = self.page.find_element(selector).await.unwrap();
        field.type_str(text).await.unwrap().press_key("Enter").await.unwrap();
    }

    pub(crate) async fn disable_scripts(&self) {
        self.page.execute(SetScriptExecutionDisabledParams::new(true)).await.unwrap();
    }

    /// Shows the page on a screen of a width, light or dark.
    pub(crate) async fn appear(&self, width: i64, scheme: &str) {
        let metrics = SetDeviceMetricsOverrideParams::new(width, 900, 1.0, width < 600);
        self.page.execute(metrics).await.unwrap();
        let feature = MediaFeature::new("prefers-color-scheme", scheme);
        self.page.emulate_media_features(vec![feature]).await.unwrap();
    }

    /// Checks that nothing sticks out, in light and dark and on wide and narrow screens, and keeps a picture of each.
    pub(crate) async fn looks_right(&self, name: &str) {
        let mut backgrounds = Vec::new();
        for width in [1280, 400] {
            for scheme in ["light", "dark"] {
                self.appear(width, scheme).await;
                let over: i64 = self.value("document.documentElement.scrollWidth - innerWidth").await;
                assert!(over <= 0, "{name} at {width}: {over} pixels stick out");
                backgrounds
                    .push(self.value::<String>("getComputedStyle(document.body).backgroundColor").await);
                self.picture(&format!("{name}-{width}-{scheme}")).await;
            }
        }
        self.appear(1280, "light").await;
        assert_ne!(backgrounds[0], backgrounds[1], "dark is not light");
    }

    /// Keeps a picture of the whole page.
    pub(crate) async fn picture(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let all = ScreenshotParams::builder().format(CaptureScreenshotFormat::Png).full_page(true).build();
        let picture = self.page.screenshot(all).await.unwrap();
        assert!(1000 < picture.len(), "{name}: the picture is not empty");
        std::fs::write(folder.join(name).with_extension("png"), picture).unwrap();
    }

    /// Checks that no page in this tab has made an error so far.
    pub(crate) fn has_no_errors(&self) {
        let errors = self.errors.lock().unwrap();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}
