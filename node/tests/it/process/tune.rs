//! `tune`, and the difficulties that `init` and `devnet` choose.

use std::fs;

use serde_json::Value;

use super::{Place, eventually};

/// What `tune` recommends, where nothing is measured.
fn tune(place: &Place, arguments: &[&str]) -> Value {
    place.json(["tune", "--json"].iter().chain(arguments))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

#[test]
fn a_difficulty_is_recommended_by_the_formula_and_the_simulation() {
    let place = Place::new();
    let given = ["--hash-rate", "100M", "--delay", "400", "--nodes", "4"];
    let advice = tune(&place, &[&given[..], &["--interval", "2", "--simulate"]].concat());
    let it = &advice["recommended"];
    assert!((number(&it["meanS"]) - 2.0).abs() < 1e-3, "{it}");
    assert!((number(&it["medianS"]) - 1.478).abs() < 1e-3, "{it}");
    assert!((number(&it["p99S"]) - 8.13).abs() < 1e-2, "{it}");
    // 0.4 s x (1 - 4/16) are lost of each interval of 2 s.
    assert!((number(&it["stale"]) - 0.15).abs() < 1e-4, "{it}");
    assert!((number(&it["hashes"]) - 1.7e8).abs() < 1e5, "{it}");
    let simulated = &advice["simulated"];
    assert!((number(&simulated["stale"]["value"]) - 0.15).abs() < 0.015, "{simulated}");
    let zeros: Vec<_> =
        advice["neighbours"].as_array().unwrap().iter().map(|it| number(&it["zeros"])).collect();
    assert_eq!(zeros, [5.0, 6.0, 7.0, 8.0]);

    let by_stale = tune(&place, &[&given[..], &["--stale", "15"]].concat());
    assert!((number(&by_stale["recommended"]["meanS"]) - 2.0).abs() < 1e-3, "{by_stale}");
    let shares = ["tune", "--hash-rate", "1G", "--delay", "10,30", "--shares", "97,1,1,1", "--simulate"];
    let text = place.run(shares).succeeds().text();
    for part in
        ["1.0 GH/s, as given", "97.0 %, 1.0 %", "10.0, 30.0 ms", "recommended   ", "simulated, 100000 blocks"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_is_not_given_is_measured() {
    let place = Place::new();
    let advice = tune(&place, &["--backend", "cpu", "--threads", "1", "--machines", "3"]);
    assert!(0.0 < number(&advice["hashRate"]["low"]), "{advice}");
    assert!(advice["hashRateFrom"].as_str().unwrap().starts_with("3 times what was measured here on cpu"));
    assert!(0.0 < number(&advice["delaysMs"][0]), "{advice}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_difficulty_is_written_and_then_mined_with() {
    let place = Place::open(5);
    let file = place.path().join("network.toml");
    let text = fs::read_to_string(&file).unwrap().replace("difficulty = 5", "difficulty = 5 # zeros");
    fs::write(&file, &text).unwrap();
    let path = file.to_str().unwrap();
    let arguments = ["--hash-rate", "1k", "--delay", "0", "--interval", "1", "--write", path];
    let bits = tune(&place, &arguments)["bits"].as_str().unwrap().to_owned();
    let changed = text.replace("difficulty = 5", &format!("difficulty = \"{bits}\""));
    assert_eq!(fs::read_to_string(&file).unwrap(), changed);
    let node = place.start(0, &["--mine-empty"]);
    eventually("there are blocks", || place.status(0).filter(|status| 30 < status.height.0));
    assert_eq!(place.json(["block", "1", "--json"])["bits"], bits);

    // What the blocks tell, of a node that runs and of one that has stopped.
    let look = || tune(&place, &["--node", "0", "--delay", "0", "--blocks", "100"]);
    let running = look();
    node.stop();
    let stopped = look();
    for advice in [running, stopped] {
        let (rate, seen) = (&advice["hashRate"], &advice["seen"]);
        assert!(number(&rate["low"]) < number(&rate["value"]), "{advice}");
        assert!(number(&rate["value"]) < number(&rate["high"]), "{advice}");
        assert!((20..=100).contains(&seen["blocks"]["blocks"].as_u64().unwrap()), "{advice}");
        assert_eq!(seen["stale"]["value"], 0.0, "{advice}");
        // A node alone loses nothing, so the present difficulty brings the mean that it has brought.
        let (now, mean) = (number(&advice["now"]["meanS"]), number(&seen["meanS"]["value"]));
        assert!((now / mean - 1.0).abs() < 1e-6, "{advice}");
    }
}

#[test]
fn what_cannot_be_tuned_is_said() {
    let place = Place::open(3);
    let rate = ["tune", "--hash-rate", "1M"];
    let refused = |arguments: &[&str]| place.run(rate.iter().chain(arguments)).exits(2);
    refused(&["--delay", "1000", "--interval", "0.5"]).says("0.750 s of each interval are lost");
    refused(&["--delay", "0", "--stale", "1"]).says("no block goes stale");
    refused(&["--delay", "0", "--interval", "0.001", "--hash-rate", "10k"]);
    refused(&["--interval", "1", "--stale", "1"]);
    refused(&["--interval", "-1"]);
    refused(&["--stale", "100"]);
    refused(&["--shares", "1,0"]);
    refused(&["--delay", "x"]);
    refused(&["--delay", "0", "--write", "/nowhere/network.toml"]).says("hint: write one");
    place.run(["tune", "--backend", "none", "--delay", "0"]).exits(2).says("--hash-rate");
    place.run(["tune", "--node", "0"]).exits(6).says("no node has run here");
    place.start(0, &[]).stop();
    place.run(["tune", "--node", "0"]).exits(2).says("0 blocks to look at");
}

#[test]
fn init_measures_what_suits_this_machine() {
    let place = Place::new();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let text = place.run(["init", "--open", &at("fixed.toml")]).succeeds().text();
    assert!(
        text.contains(" here: 5 hex zeros are a block in ") && text.contains("tune --interval 10"),
        "{text}"
    );
    assert!(fs::read_to_string(at("fixed.toml")).unwrap().contains("difficulty = 5\n"));
    let text = place.run(["init", "--open", "--block-time", "7", &at("paced.toml")]).succeeds().text();
    assert!(text.contains("a block in 7 s is"), "{text}");
    let file = fs::read_to_string(at("paced.toml")).unwrap();
    assert!(file.contains("difficulty = \"1") && file.contains("block_time = 7\n"), "{file}");
    let given = ["init", "--open", "--block-time", "7", "--difficulty", "4", &at("both.toml")];
    let text = place.run(given).succeeds().text();
    assert!(!text.contains("measured"), "{text}");
    let file = fs::read_to_string(at("both.toml")).unwrap();
    assert!(file.contains("difficulty = 4\n") && file.contains("block_time = 7\n"), "{file}");
    place.run(["init", "--block-time", "0"]).exits(2);
}

#[test]
fn a_devnet_with_a_block_time_mines_without_transactions() {
    let place = Place::new();
    let devnet = ["devnet", "--rate", "0", "--backend", "cpu", "--threads", "1", "--nodes", "2"];
    let run = |more: &[&str]| place.run(devnet.iter().chain(more));
    let outcome = run(&["--block-time", "1", "--difficulty", "4", "--duration", "4"]).succeeds();
    assert!(
        outcome.text().contains("4 leading hex zeros at first, then a block every 1 s"),
        "{}",
        outcome.text()
    );
    assert_ne!(place.json(["block", "1", "--json"])["bits"], Value::Null);
    run(&["--block-time", "2"]).exits(5).says("a block time of 1 s from an earlier run");
    for id in ["0", "1"] {
        place.run(["verify", "--node", id]).succeeds();
    }
}

#[test]
fn messages_take_as_long_as_is_said() {
    let place = Place::open(3);
    let nodes = [place.start(0, &["--delay", "150"]), place.start(1, &["--delay", "150"])];
    let delay_ms = eventually("node 0 knows the delay", || place.status(0)?.peers.first()?.delay_ms);
    assert!(150.0 <= delay_ms, "{delay_ms}");
    place.pay(0, "node0", "node1", "1.00");
    eventually("node 1 hears of the block", || place.status(1).filter(|status| status.height.0 == 1));
    nodes.into_iter().for_each(super::Process::stop);
}
