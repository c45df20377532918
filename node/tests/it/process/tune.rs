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
    let given = ["--hash-rate", "100M", "--delay", "300", "--nodes", "4"];
    let advice = tune(&place, &[&given[..], &["--interval", "2", "--simulate"]].concat());
    let it = &advice["recommended"];
    assert!((number(&it["meanS"]) - 2.0).abs() < 1e-3, "{it}");
    assert!((number(&it["medianS"]) - 1.455).abs() < 1e-3, "{it}");
    assert!((number(&it["p99S"]) - 8.40).abs() < 1e-2, "{it}");
    // 0.3 s x (1 - 4/16) are lost of each interval of 2 s.
    assert!((number(&it["stale"]) - 0.1125).abs() < 1e-4, "{it}");
    assert!((number(&it["hashes"]) - 1.775e8).abs() < 1e5, "{it}");
    let simulated = &advice["simulated"];
    assert!((number(&simulated["stale"]["value"]) - 0.1125).abs() < 0.007, "{simulated}");
    let zeros: Vec<_> =
        advice["neighbours"].as_array().unwrap().iter().map(|it| number(&it["zeros"])).collect();
    assert_eq!(zeros, [5.0, 6.0, 7.0, 8.0]);

    // Two zeros less than recommended a delay is more than a fifth of an interval.
    let neighbours = advice["neighbours"].as_array().unwrap().iter();
    let simulated: Vec<_> = neighbours.map(|it| it["bySimulation"].as_bool().unwrap()).collect();
    assert_eq!(simulated, [true, true, false, false], "{advice}");

    let by_stale = tune(&place, &[&given[..], &["--stale", "11.25"]].concat());
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
fn beyond_the_formulas_the_simulation_is_taken() {
    let place = Place::new();
    // Recommended by the formula, a difficulty that should have brought 5 % of stale blocks brought half as many.
    let given = ["--hash-rate", "100M", "--delay", "500", "--shares", "90,10", "--simulate"];
    let advice = tune(&place, &[&given[..], &["--stale", "5"]].concat());
    let (recommended, simulated) = (&advice["recommended"], &advice["simulated"]);
    assert_eq!(recommended["bySimulation"], true, "{advice}");
    assert_eq!(recommended["stale"], simulated["stale"]["value"], "{advice}");
    assert!((number(&recommended["stale"]) - 0.05).abs() < 5e-4, "{advice}");
    let text = place.run(["tune"].iter().chain(&given[..6]).chain(&["--stale", "5"])).succeeds().text();
    assert!(text.contains("\nrecommended*  ") && text.contains("\n* by simulation: "), "{text}");
    // Blocks of decades: a run of 2,500 of them is longer than 64 bits count nanoseconds.
    let long = ["--hash-rate", "1M", "--delay", "1e7", "--stale", "0.001", "--simulate"];
    let advice = tune(&place, &long);
    assert!(number(&advice["simulated"]["stale"]["value"]) < 1e-4, "{advice}");
    let ratio = number(&advice["simulated"]["meanS"]["value"]) / number(&advice["recommended"]["meanS"]);
    assert!((ratio - 1.0).abs() < 0.02, "{advice}");
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
    let link = place.path().join("link.toml");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let path = link.to_str().unwrap();
    let arguments = ["--hash-rate", "1k", "--delay", "0", "--interval", "1", "--write", path];
    let bits = tune(&place, &arguments)["bits"].as_str().unwrap().to_owned();
    let changed = text.replace("difficulty = 5", &format!("difficulty = \"{bits}\""));
    assert_eq!(fs::read_to_string(&file).unwrap(), changed);
    assert!(link.is_symlink());
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
        assert_eq!(seen["blocks"]["minesEmpty"], true, "{advice}");
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
    refused(&["--delay", "1000", "--interval", "0.01"]).says("one takes 1.000 s to another node");
    refused(&["--delay", "1000", "--stale", "80"]).says("% of all blocks go stale even where");
    refused(&["--delay", "0", "--stale", "1"]).says("no block goes stale");
    refused(&["--delay", "0", "--interval", "0.001", "--hash-rate", "10k"]);
    refused(&["--interval", "1", "--stale", "1"]);
    refused(&["--interval", "-1"]);
    refused(&["--stale", "100"]);
    refused(&["--shares", "1,0"]);
    refused(&["--delay", "x"]);
    refused(&["--delay", "0", "--write", "/nowhere/network.toml"]).says("hint: write one");
    let file = place.path().join("network.toml");
    let text = format!("block_time = 30\n{}", fs::read_to_string(&file).unwrap());
    fs::write(&file, &text).unwrap();
    refused(&["--delay", "0", "--write", file.to_str().unwrap()]).says("follows a block_time of 30 s");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    place.run(["tune", "--backend", "none", "--delay", "0"]).exits(2).says("--hash-rate");
    place.run(["tune", "--node", "0"]).exits(6).says("no node has run here");
    place.start(0, &[]).stop();
    place.run(["tune", "--node", "0"]).exits(2).says("0 blocks to look at");
    place.run(["tune", "--node", "0", "--hash-rate", "1M"]).exits(2).says("--nodes");
    let given = tune(&place, &["--node", "0", "--hash-rate", "1M", "--nodes", "4", "--delay", "0"]);
    assert!(given["seen"].is_null() && given["now"].is_null(), "{given}");
    assert!((number(&given["recommended"]["hashes"]) / 1e7 - 1.0).abs() < 1e-3, "{given}");
    let node = place.start(0, &[]);
    let given = tune(&place, &["--node", "0", "--hash-rate", "1M", "--delay", "0"]);
    assert_eq!(given["shares"].as_array().unwrap().len(), 1, "{given}");
    node.stop();
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

/// A devnet of 8 MH/s that waited for payments was told to have 1.5 MH/s at most.
#[test]
fn blocks_of_a_network_that_waits_come_with_a_warning() {
    let place = Place::open(1);
    let node = place.start(0, &[]);
    for height in 1..=12 {
        place.pay(0, "node0", "node1", "0.01");
        eventually("the payment is mined", || place.status(0).filter(|status| height <= status.height.0));
    }
    let text = place.run(["tune", "--node", "0", "--delay", "0"]).succeeds().text();
    assert!(text.contains("warning: no empty block is among the newest"), "{text}");
    let text = place.run(["tune", "--node", "0", "--delay", "0", "--hash-rate", "8M"]).succeeds().text();
    assert!(!text.contains("warning"), "{text}");
    node.stop();
}

#[test]
fn where_the_difficulty_follows_blocks_the_blocks_that_it_follows_are_taken() {
    let place = Place::new();
    let file = place.path().join("network.toml");
    let init = ["init", "--open", "--block-time", "1", "--difficulty", "1", file.to_str().unwrap()];
    place.run(init).succeeds();
    let node = place.start(0, &["--mine-empty", "--backend", "cpu", "--threads", "1"]);
    eventually("there are blocks", || place.status(0).filter(|status| 70 < status.height.0));
    let blocks = |more: &[&str]| {
        let advice = tune(&place, &[&["--node", "0", "--delay", "0", "--hash-rate", "1M"], more].concat());
        let seen = &advice["seen"]["blocks"];
        (seen["blocks"].as_u64().unwrap(), number(&seen["effectiveBlocks"]))
    };
    let (count, effective) = blocks(&[]);
    assert_eq!(count, 60);
    assert!((5.0..60.0).contains(&effective), "the difficulty rises: {effective}");
    let (all, effective_of_all) = blocks(&["--blocks", "1000"]);
    assert!(69 <= all && effective_of_all < 60.0, "{all} {effective_of_all}");
    node.stop();
}
