//! The page in HTML. What changes is made of parts, each small, so that a button is not replaced under the mouse.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use maud::{Markup, html};
use quarry_core::network::Network;
use quarry_core::units::{Hash, Height, NodeId};

use super::{Standing, Standings};
use crate::commands::inspect::hash_rate;
use crate::control::NodeStatus;
use crate::http::layout::{self, Frame};
use crate::http::stream::Part;
use crate::query::PathAnswer;

/// How many heights a column shows.
const HEIGHTS: u64 = 12;
/// How many colours the style sheet has for blocks.
const HUES: u16 = 24;
/// How many digits of a hash tell blocks apart; the last ones, for the first are zeros.
const DIGITS: usize = 6;
/// The most accounts that a payment's form lists.
const ACCOUNTS_MAX: usize = 64;

/// What stays while the devnet runs.
pub(super) struct Fixed {
    network: String,
    /// What the difficulty is, or aims at.
    rule: String,
    accounts: Vec<String>,
    ids: Vec<NodeId>,
}

/// A node and what is known of it.
pub(super) struct Column<'a> {
    pub(super) id: NodeId,
    pub(super) standing: &'a Standing,
    /// Whether its process is the devnet's.
    pub(super) is_own: bool,
    /// Its newest blocks as last seen, the tip first.
    pub(super) path: &'a [PathAnswer],
}

/// Something that has happened.
pub(super) struct Happening {
    pub(super) time: String,
    pub(super) words: String,
}

/// Where the nodes stand, as far as a change is an event.
pub(super) struct Summary {
    states: BTreeMap<NodeId, &'static str>,
    agreement: String,
    /// The heights at which nodes that are up have different blocks.
    disputed: BTreeSet<Height>,
}

impl Fixed {
    pub(super) fn new(network: &Network, ids: &[NodeId]) -> Self {
        let open = network.accounts.iter().filter(|account| account.open).take(ACCOUNTS_MAX);
        Self {
            network: network.name.clone(),
            rule: match network.block_time_us / 1_000_000 {
                0 => format!("{:.2} leading hex zeros", crate::commands::devnet::zeros(network)),
                block_time_s => format!("a block every {block_time_s} s"),
            },
            accounts: open.map(|account| account.name.clone()).collect(),
            ids: ids.to_vec(),
        }
    }

    pub(super) fn page(&self, parts: &[Part]) -> Markup {
        let all: BTreeMap<_, _> = parts.iter().map(|part| (part.0.as_str(), part)).collect();
        let part = |id: &str| html! { @if let Some(part) = all.get(id) { (layout::part(part)) } };
        let content = html! {
            section.wide { (part("agreement")) }
            div.columns {
                @for id in &self.ids {
                    section.column {
                        @for name in ["state", "figures", "blocks"] { (part(&part_id(*id, name))) }
                    }
                }
            }
            section { h2 { "Send a transaction" } (self.payment()) }
            section { h2 { "What happened" } (part("events")) }
        };
        self.frame("nodes").around(&content)
    }

    pub(super) fn refusal(&self, words: &str) -> Markup {
        let content = html! { section.wide { p { (words) } p { a href="/" { "Back to the nodes" } } } };
        self.frame("refused").around(&content)
    }

    fn frame(&self, title: &'static str) -> Frame<'_> {
        let footer = html! { (self.ids.len()) " nodes on this machine, " (self.rule) };
        Frame { title, subject: &self.network, aside: html! {}, footer }
    }

    fn payment(&self) -> Markup {
        let choice = |name: &str, label: &str, chosen: usize| {
            html! { label { (label) select name=(name) {
                @for (at, account) in self.accounts.iter().enumerate() { option selected[at == chosen] { (account) } }
            } } }
        };
        html! {
            form.payment method="post" action="/pay" {
                (choice("from", "from", 0))
                (choice("to", "to", 1))
                label { "amount" input name="amount" value="0.50" inputmode="decimal" size="6" required; }
                label { "to node" select name="node" { @for id in &self.ids { option { (id) } } } }
                button { "Send" }
            }
            p.quiet { "That node tells the others, unless it is cut off." }
        }
    }
}

impl Summary {
    pub(super) fn new(standings: &Standings, columns: &[Column<'_>]) -> Self {
        let states = standings.iter().map(|(id, standing)| (id, state(standing)));
        let disputed = disputed(columns.iter().filter(|column| status(column).is_some()));
        Self { states: states.collect(), agreement: standings.agreement(), disputed }
    }

    /// What has changed, in words.
    pub(super) fn since(&self, before: Option<&Self>) -> Vec<String> {
        let Some(before) = before else { return Vec::new() };
        let changed = self.states.iter().filter(|(id, state)| before.states.get(id) != Some(state));
        let mut words: Vec<_> = changed.map(|(id, state)| format!("node {id}: {state}")).collect();
        match (before.disputed.first(), self.disputed.first()) {
            (None, Some(height)) => words.push(format!("the nodes disagree from height {height} on")),
            (Some(_), None) => words.push("the nodes that are up have one history again".into()),
            _ => {}
        }
        words
    }
}

/// Renders what changes.
pub(super) fn parts(columns: &[Column<'_>], summary: &Summary, events: &VecDeque<Happening>) -> Vec<Part> {
    let top = columns.iter().filter_map(|column| column.path.first()).map(|block| block.height).max();
    let mut parts = vec![part("agreement".into(), &agreement(summary))];
    for column in columns {
        parts.push(part(part_id(column.id, "state"), &head(column)));
        parts.push(part(part_id(column.id, "figures"), &figures(column)));
        parts.push(part(
            part_id(column.id, "blocks"),
            &blocks(column, top.unwrap_or_default(), &summary.disputed),
        ));
    }
    parts.push(part("events".into(), &happenings(events)));
    parts
}

fn part(id: String, content: &Markup) -> Part {
    (id, content.0.clone())
}

fn part_id(node: NodeId, name: &str) -> String {
    format!("node{node}-{name}")
}

/// The heights at which nodes have different blocks.
fn disputed<'a>(columns: impl Iterator<Item = &'a Column<'a>>) -> BTreeSet<Height> {
    let mut first: BTreeMap<Height, Hash> = BTreeMap::new();
    let mut disputed = BTreeSet::new();
    for block in columns.flat_map(|column| column.path) {
        if *first.entry(block.height).or_insert(block.hash) != block.hash {
            disputed.insert(block.height);
        }
    }
    disputed
}

fn agreement(summary: &Summary) -> Markup {
    html! {
        p.agreement.other[!summary.disputed.is_empty()] role="status" {
            (summary.agreement)
            @if let Some(height) = summary.disputed.first() { ", two histories from height " (height) " on" }
        }
    }
}

fn head(column: &Column<'_>) -> Markup {
    let status = status(column);
    let is_cut_off = status.is_some_and(|status| status.cut_off);
    let buttons: &[(&str, &str)] = match (column.standing, column.is_own) {
        (Standing::Up(_), true) if is_cut_off => &[("stop", "Stop"), ("kill", "Kill"), ("rejoin", "Rejoin")],
        (Standing::Up(_), true) => &[("stop", "Stop"), ("kill", "Kill"), ("cutOff", "Cut off")],
        (Standing::Up(_), false) if is_cut_off => &[("rejoin", "Rejoin")],
        (Standing::Up(_), false) => &[("cutOff", "Cut off")],
        (Standing::Down, false) => &[("start", "Start")],
        (Standing::Down | Standing::Silent, true) => &[("kill", "Kill")],
        (Standing::Silent, false) => &[],
    };
    html! {
        h2 {
            @match status.and_then(|status| status.pages) {
                Some(address) => a href={ "http://" (address) "/" } { "Node " (column.id) },
                None => { "Node " (column.id) },
            }
            " " span.state.other[status.is_none() || is_cut_off] { (state(column.standing)) }
        }
        form method="post" action={ "/node/" (column.id) } {
            @for (order, label) in buttons { button name="order" value=(order) { (label) } }
        }
    }
}

fn figures(column: &Column<'_>) -> Markup {
    let fact = |fact: fn(&NodeStatus) -> String| status(column).map_or_else(|| "–".into(), fact);
    html! {
        dl.facts {
            dt { "height" } dd { (fact(|it| it.height.to_string())) }
            dt { "waiting" } dd { (fact(|it| it.mempool.to_string())) }
            dt { "zeros" } dd { (fact(|it| format!("{:.2}", it.difficulty.log2() / 4.0))) }
            dt { "rate" } dd { (fact(|it| hash_rate(it.hash_rate.over_10_s))) }
        }
    }
}

fn blocks(column: &Column<'_>, top: Height, disputed: &BTreeSet<Height>) -> Markup {
    let pages = status(column).and_then(|status| status.pages);
    let lowest = Height((top.0 + 1).saturating_sub(HEIGHTS));
    // The last row is for the tip of a node that is further behind.
    let behind = column.path.first().filter(|tip| tip.height < lowest);
    let block_at = |height| {
        column.path.iter().find(|block| block.height == height).or(behind.filter(|_| height == lowest))
    };
    html! {
        ol.path.past[status(column).is_none()] {
            @for height in (lowest.0..=top.0).rev().map(Height) {
                @match block_at(height) {
                    None => li.none { (height) },
                    Some(block) => {
                        li class={ "hue" (hue(&block.hash)) } title=(block.hash) {
                            span { (block.height) @if disputed.contains(&block.height) { " ≠" } }
                            @match pages {
                                Some(address) => a href={ "http://" (address) "/block/" (block.hash) } {
                                    code { (digits(&block.hash)) }
                                },
                                None => code { (digits(&block.hash)) },
                            }
                        }
                    },
                }
            }
        }
    }
}

fn happenings(events: &VecDeque<Happening>) -> Markup {
    html! {
        @if events.is_empty() { p.quiet { "Nothing yet. Cut a node off, and see two histories grow." } }
        @else { ol.events { @for event in events { li { span.quiet { (event.time) } " " (event.words) } } } }
    }
}

fn state(standing: &Standing) -> &'static str {
    match standing {
        Standing::Up(status) if status.cut_off => "cut off",
        Standing::Up(_) => "up",
        Standing::Down => "down",
        Standing::Silent => "no answer",
    }
}

fn status<'a>(column: &Column<'a>) -> Option<&'a NodeStatus> {
    match column.standing {
        Standing::Up(status) => Some(status),
        Standing::Down | Standing::Silent => None,
    }
}

fn hue(hash: &Hash) -> u16 {
    u16::from_be_bytes([hash.0[30], hash.0[31]]) % HUES
}

fn digits(hash: &Hash) -> String {
    let text = hash.to_string();
    text[text.len() - DIGITS..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(height: u64, number: u8) -> PathAnswer {
        PathAnswer { height: Height(height), hash: Hash([number; 32]) }
    }

    fn column(id: u16, path: &[PathAnswer]) -> Column<'_> {
        Column { id: NodeId(id), standing: &Standing::Down, is_own: false, path }
    }

    #[test]
    fn only_heights_with_different_blocks_are_disputed() {
        let (short, long) = ([block(1, 1), block(0, 0)], [block(2, 3), block(1, 2), block(0, 0)]);
        let found = disputed([column(0, &short), column(1, &long), column(2, &[])].iter());
        assert_eq!(found, BTreeSet::from([Height(1)]));
        let text = blocks(&column(0, &short), Height(2), &found).into_string();
        assert_eq!(text.matches('≠').count(), 1, "{text}");
        assert!(text.contains("<li class=\"none\">2</li>"), "{text}");
    }
}
