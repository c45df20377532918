//! The page with all nodes of a devnet.

use super::browser::Tab;
use super::program::{Place, Program};
use super::{eventually, with_browser};

fn devnet(place: &Place, rate: &str) -> Program {
    let arguments = ["devnet", "--http", "127.0.0.1:0", "--nodes", "3", "--difficulty", "4", "--rate", rate];
    place.start(&[arguments.as_slice(), &["--backend", "cpu", "--threads", "1"]].concat())
}

/// Sends a payment to a node by the form.
async fn pay(tab: &Tab, node: &str) {
    let choose = format!("document.querySelector('.payment [name=node]').value = '{node}'");
    tab.value::<String>(&choose).await;
    tab.click(".payment button").await;
}

fn button(node: u16, order: &str) -> String {
    format!("#node{node}-state button[value={order}]")
}

#[test]
fn a_fork_grows_while_a_node_is_cut_off_and_heals_when_it_rejoins() {
    let place = Place::new();
    let devnet = devnet(&place, "0");
    with_browser(async |browser| {
        let tab = browser.open(&devnet.base).await;
        tab.shows("#agreement", "all agree").await;
        tab.value::<bool>("window.sameDocument = true").await;
        pay(&tab, "0").await;
        for node in 0..3 {
            tab.shows(&format!("#node{node}-figures dd"), "1").await;
        }
        tab.click(&button(2, "cutOff")).await;
        tab.shows("#node2-state", "cut off").await;
        pay(&tab, "0").await;
        tab.shows("#node1-figures dd", "2").await;
        assert_eq!(tab.text("#node2-figures dd").await, "1", "who is cut off hears nothing");
        pay(&tab, "2").await;
        tab.shows("#agreement", "two histories from height 2 on").await;
        let marks = async |node: u16| tab.text(&format!("#node{node}-blocks")).await.matches('≠').count();
        assert_eq!((marks(0).await, marks(1).await, marks(2).await), (1, 1, 1));
        tab.looks_right("fork").await;

        tab.click(&button(2, "rejoin")).await;
        eventually("the fork heals", async || {
            let (agreement, text) = (tab.text("#agreement").await, tab.text("#node0-figures dd").await);
            agreement == "all agree" && text == "3" && marks(2).await == 0
        })
        .await;
        tab.shows("#events", "have one history again").await;
        assert!(tab.value::<bool>("window.sameDocument === true").await, "the page was not loaded again");
        tab.has_no_errors();

        // The block that lost stays visible on the pages of whoever had it first.
        let mut abandoned = 0;
        for node in 0..3 {
            let link: String =
                tab.value(&format!("document.querySelector('#node{node}-state a').href")).await;
            abandoned += browser.open(&link).await.count("#strip .abandoned").await;
        }
        assert!(0 < abandoned);
    });
}

#[test]
fn nodes_stop_and_start_by_their_buttons_also_without_javascript() {
    let place = Place::new();
    let devnet = devnet(&place, "0");
    with_browser(async |browser| {
        let tab = browser.open(&devnet.base).await;
        tab.click(&button(1, "kill")).await;
        tab.shows("#node1-state .state", "down").await;
        tab.click(&button(2, "stop")).await;
        tab.shows("#node2-state .state", "down").await;
        tab.shows("#agreement", "2 of 3 down").await;
        tab.click(&button(1, "start")).await;
        tab.shows("#node1-state .state", "up").await;
        // It can be started once its process is gone, and a page without scripts stays as it is.
        tab.has(&button(2, "start")).await;

        tab.disable_scripts().await;
        tab.go(&devnet.base).await;
        tab.click_and_load(&button(2, "start")).await;
        eventually("node 2 is back", async || {
            tab.go(&devnet.base).await;
            tab.text("#node2-state .state").await == "up"
        })
        .await;
        tab.click_and_load(".payment button").await;
        eventually("it is told", async || {
            tab.go(&devnet.base).await;
            tab.text("#events").await.contains("node 0 took 0.50 from node0 to node1")
        })
        .await;
        tab.has_no_errors();
    });
}

#[test]
fn a_busy_network_looks_right() {
    let place = Place::new();
    let devnet = devnet(&place, "4");
    with_browser(async |browser| {
        let tab = browser.open(&devnet.base).await;
        eventually("twelve blocks", async || {
            tab.text("#node0-figures dd").await.parse().is_ok_and(|height: u64| 12 < height)
        })
        .await;
        tab.looks_right("devnet").await;
        let link: String = tab.value("document.querySelector('#node0-state a').href").await;
        let node = browser.open(&link).await;
        node.looks_right("node").await;
        node.go(&format!("{link}account/node0")).await;
        node.looks_right("account").await;
        tab.has_no_errors();
        node.has_no_errors();
    });
}
