//! Charts as SVG. Colours come from the style sheet, so that they follow light and dark.

use std::time::Duration;

use maud::{Markup, html};
use quarry_core::header::Header;
use quarry_core::network::Network;
use quarry_core::units::Hash;

use super::window::Window;
use crate::feed::View;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 140.0;
/// How many bars a histogram has, and how many mean intervals they cover.
const BARS: usize = 20;
const MEANS: f64 = 5.0;
/// How many heights the strip of the chain shows.
const STRIP_MAX: usize = 24;

/// The node's hash rate over the last minutes.
pub(super) fn hash_rate(view: &View) -> Markup {
    let rates: Vec<f64> = view.samples.iter().map(|sample| sample.hash_rate).collect();
    let max = rates.iter().copied().fold(0.0, f64::max);
    if rates.len() < 2 || max <= 0.0 {
        return html! { p.quiet { "Looked at every 2 s, and not searching at any of these moments." } };
    }
    let step = WIDTH / (rates.len() - 1) as f64;
    let points = rates
        .iter()
        .enumerate()
        .map(|(at, rate)| format!("{:.1},{:.1}", at as f64 * step, HEIGHT - rate / (1.1 * max) * HEIGHT));
    let points = points.collect::<Vec<_>>().join(" ");
    let area = format!("0,{HEIGHT} {points} {WIDTH},{HEIGHT}");
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label="hash rate over time" {
            polygon.area points=(area) {}
            polyline.line points=(points) {}
        }
        p.quiet { "at most " (hashes(max)) " in the last " (rates.len() * 2) " s; 0 while there is nothing to search for" }
    }
}

/// The interval that the difficulty aims at, in seconds, where it does.
pub(super) fn block_time_s(network: &Network) -> Option<f64> {
    let block_time = Duration::from_micros(network.block_time_us);
    (!block_time.is_zero()).then_some(block_time.as_secs_f64())
}

/// How the times between blocks are spread, with the curve that chance alone draws around the interval that is aimed
/// at, or around the mean.
pub(super) fn intervals(network: &Network, window: &Window) -> Markup {
    let intervals = window.intervals_s();
    let aim = block_time_s(network);
    let mean = aim.or_else(|| window.mean_s()).unwrap_or_default();
    if intervals.len() < 5 || mean <= 0.0 {
        return html! { p.quiet { "Too few blocks yet." } };
    }
    let mut counts = [0_u32; BARS];
    let width_s = MEANS * mean / BARS as f64;
    for interval in &intervals {
        // Truncation finds the bar; what is longer than the last is left out, and said.
        if let Some(count) = counts.get_mut((interval / width_s) as usize) {
            *count += 1;
        }
    }
    let share = MEANS / BARS as f64;
    let expected = |bar: f64| intervals.len() as f64 * ((-bar * share).exp() - (-(bar + 1.0) * share).exp());
    let top = counts.iter().map(|count| f64::from(*count)).fold(expected(0.0), f64::max) * 1.1;
    let bar_width = WIDTH / BARS as f64;
    let curve = (0..BARS).map(|bar| {
        let (x, y) = ((bar as f64 + 0.5) * bar_width, HEIGHT - expected(bar as f64) / top * HEIGHT);
        format!("{x:.1},{y:.1}")
    });
    let longer = intervals.iter().filter(|interval| MEANS * mean <= **interval).count();
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label="histogram of block intervals" {
            @for (bar, count) in counts.iter().enumerate() {
                @let height = f64::from(*count) / top * HEIGHT;
                rect.bar x=(format!("{:.1}", bar as f64 * bar_width + 1.0)) y=(format!("{:.1}", HEIGHT - height))
                    width=(format!("{:.1}", bar_width - 2.0)) height=(format!("{height:.1}")) {}
            }
            polyline.curve points=(curve.collect::<Vec<_>>().join(" ")) {}
        }
        p.quiet {
            (intervals.len()) " intervals, from 0 to 5 times " (if aim.is_some() { "the aim" } else { "the mean" })
            " of " (seconds(mean)) "; " (longer)
            " longer. The curve is what chance draws where nothing pauses the search."
        }
    }
}

/// The newest blocks in a row, and below them those that lost.
pub(super) fn strip(window: &Window) -> Markup {
    let start = window.headers.len().saturating_sub(STRIP_MAX);
    let shown = &window.headers[start..];
    let Some((_, first)) = shown.first() else { return html! { p.quiet { "No blocks." } } };
    let lowest = first.index.0;
    let beside: Vec<_> = window.beside.iter().filter(|(_, it)| lowest <= it.index.0).collect();
    // A lane for each branch that is beside another at the same height.
    let mut lanes: Vec<(f64, f64, &Hash, &Header)> = Vec::new();
    for (hash, header) in beside {
        let column = header.index.0.saturating_sub(lowest) as f64;
        let taken = lanes.iter().filter(|(other, ..)| (other - column).abs() < 0.5).count();
        lanes.push((column, 1.0 + taken as f64, hash, header));
    }
    let place = |hash: &Hash| {
        let on_path = shown.iter().position(|(other, _)| other == hash).map(|at| (at as f64, 0.0));
        on_path.or_else(|| lanes.iter().find(|(.., other, _)| *other == hash).map(|it| (it.0, it.1)))
    };
    let rows = 1.0 + lanes.iter().map(|it| it.1).fold(0.0, f64::max);
    let (box_width, row_height) = (44.0, 44.0);
    let blocks: Vec<_> = shown
        .iter()
        .enumerate()
        .map(|(at, (hash, header))| (at as f64, 0.0, hash, header))
        .chain(lanes.iter().copied())
        .collect();
    let size = format!("0 0 {:.0} {:.0}", shown.len() as f64 * box_width, rows * row_height);
    html! {
        div.scroll.newest {
            svg.strip viewBox=(size) width=(shown.len() as f64 * box_width) height=(rows * row_height)
                role="img" aria-label="newest blocks and forks" {
                @for (column, lane, _, header) in &blocks {
                    @if let Some((from, from_lane)) = place(&header.prev_hash) {
                        line.edge x1=(from * box_width + 22.0) y1=(from_lane * row_height + 22.0)
                            x2=(column * box_width + 22.0) y2=(lane * row_height + 22.0) {}
                    }
                }
                @for (column, lane, hash, header) in &blocks {
                    a href={ "/block/" (hash) } {
                        rect class=(if *lane == 0.0 { "block" } else { "block abandoned" })
                            x=(column * box_width + 5.0) y=(lane * row_height + 8.0) width="34" height="28" rx="5" {}
                        text.label x=(column * box_width + 22.0) y=(lane * row_height + 26.0) {
                            (short_height(header.index.0))
                        }
                        title { "block " (header.index) " " (hash.short()) }
                    }
                }
            }
        }
        p.quiet {
            @if lanes.is_empty() { "No forks among the newest " (shown.len()) " blocks since this node's start." }
            @else { (lanes.len()) " blocks beside the best chain, in the lower rows." }
        }
    }
}

fn short_height(height: u64) -> String {
    if height < 100_000 { height.to_string() } else { format!("…{:04}", height % 10_000) }
}

/// A rate with a unit that fits.
pub(super) fn hashes(rate: f64) -> String {
    let units = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s"];
    let (mut rate, mut unit) = (rate, 0);
    while 1000.0 <= rate && unit + 1 < units.len() {
        (rate, unit) = (rate / 1000.0, unit + 1);
    }
    format!("{rate:.1} {}", units[unit])
}

/// A duration with a unit that fits.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        _ if seconds < 1.0 => format!("{:.0} ms", 1000.0 * seconds),
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
