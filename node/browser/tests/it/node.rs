//! The pages of one node.

use super::program::{Place, Program};
use super::with_browser;

/// A node that mines what it is sent.
fn node(place: &Place) -> Program {
    place.run(&["init", "--open", "--difficulty", "1"]);
    place.start(&["0", "--http", "127.0.0.1:0", "--backend", "cpu", "--threads", "1", "--until-stdin-closes"])
}

fn pay(place: &Place, amount: &str) {
    place.run(&["send", "--from", "node0", "--to", "node1", "--amount", amount]);
}

#[test]
fn the_overview_follows_the_chain_without_loading_again() {
    let place = Place::new();
    let node = node(&place);
    with_browser(async |browser| {
        let tab = browser.open(&node.base).await;
        tab.shows("#figures .figure dd", "0").await;
        tab.value::<bool>("window.sameDocument = true").await;
        pay(&place, "1.50");
        tab.shows("#figures .figure dd", "1").await;
        tab.shows("#balances", "11.50").await;
        tab.shows("#blocks tbody tr td", "1").await;
        assert!(tab.value::<bool>("window.sameDocument === true").await, "the page was not loaded again");
        tab.has_no_errors();
    });
}

#[test]
fn search_finds_blocks_transactions_and_accounts() {
    let place = Place::new();
    let node = node(&place);
    with_browser(async |browser| {
        let tab = browser.open(&node.base).await;
        pay(&place, "0.75");
        tab.shows("#figures .figure dd", "1").await;
        tab.enter(".search input", "1").await;
        tab.shows("h2", "Block 1").await;
        assert!(tab.url().await.ends_with("/block/1"));
        tab.looks_right("block").await;
        tab.click("tbody a").await;
        tab.shows("main", "mined in block 1").await;
        let id = tab.text("dd code").await;
        tab.looks_right("transaction").await;
        tab.enter(".search input", "node1").await;
        tab.shows("main", "10.75").await;
        tab.enter(".search input", &id).await;
        tab.shows("main", "mined in block 1").await;
        assert!(tab.url().await.ends_with(&format!("/tx/{id}")));
        tab.has_no_errors();
        tab.enter(".search input", "nobody").await;
        tab.shows("main", "No block, transaction or account is called “nobody”.").await;
    });
}

#[test]
fn everything_is_there_without_javascript() {
    let place = Place::new();
    let node = node(&place);
    with_browser(async |browser| {
        pay(&place, "1.00");
        let tab = browser.open(&node.base).await;
        tab.shows("#figures .figure dd", "1").await;
        tab.disable_scripts().await;
        tab.go(&node.base).await;
        for part in ["figures", "strip", "blocks", "balances", "peers"] {
            assert!(!tab.text(&format!("#{part}")).await.is_empty(), "{part}");
        }
        tab.has_no_errors();
    });
}
