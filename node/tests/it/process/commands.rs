//! What the commands print, and the exit codes that they end with.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use quarry_core::units::Hash;
use serde_json::Value;

use super::{Place, eventually, program, run};

#[test]
fn a_raw_block_hashes_to_its_hash() {
    let place = Place::open(4);
    let node = place.start(0, &[]);
    let id = place.pay(0, "node0", "node1", "0.50");
    let check = || {
        let raw = place.run(["block", "1", "--raw"]).succeeds().stdout;
        assert_eq!(raw.len(), 116);
        let hash = Hash::of(&[&raw]).to_string();
        assert!(hash.starts_with("0000"), "{hash}");
        let block = place.json(["block", "1", "--json"]);
        assert_eq!(block["hash"], hash);
        assert_eq!(block["transactions"][0]["unique_id"], id);
        assert_eq!(place.json(["block", &hash, "--json"]), block);
        let text = place.run(["block", "1"]).succeeds().text();
        for part in [&hash, &id, "node0  node1    0.50  ", "confirmations 1", "transactions  1"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let chain = place.json(["chain", "--json"]);
        assert_eq!(chain.as_array().unwrap().len(), 2);
        assert_eq!(chain[0], block);
        let text = place.run(["chain", "--count", "1"]).succeeds().text();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains(&hash[..16]), "{text}");
        let text = place.run(["balance"]).succeeds().text();
        assert!(text.contains("node0       9.50  "), "{text}");
        assert_eq!(place.json(["balance", "node1", "--json"])["balances"][0]["balance"], "10.50");
        place.run(["block", "2"]).exits(6).says("no block at height 2");
        place.run(["block", &"0".repeat(64)]).exits(6).says("there is no block 000");
        place.run(["balance", "mallory"]).exits(6).says("mallory");
    };
    // The same whether the node answers or its store does.
    check();
    let status = place.json(["status", "--json"]);
    assert_eq!(status["height"], 1);
    assert!(place.run(["status"]).succeeds().text().contains("at height 1"));
    node.stop();
    check();
    place.run(["status"]).exits(6).says("hint: start it: ");
    // And of a node that was killed.
    let node = place.start(0, &[]);
    node.kill();
    check();
}

#[test]
fn a_payment_is_accepted_or_refused() {
    let place = Place::open(3);
    let pay = |amount: &str, more: &[&str]| {
        let arguments = ["send", "--from", "node0", "--to", "node1", "--amount", amount];
        place.run(arguments.iter().chain(more))
    };
    pay("1", &[]).exits(6).says("no node has ever run in");
    let nodes = [place.start(0, &[]), place.start(1, &[])];
    assert!(pay("4", &[]).succeeds().text().contains("node 0: accepted"));
    let refused = pay("6.01", &[]).exits(7).text();
    assert_eq!(refused.matches("refused: sender has 6.00, which is less than 6.01").count(), 2, "{refused}");
    pay("0", &[]).exits(7).says("the amount is 0.00");
    pay("1", &["--node", "7"]).exits(6).says("node 7 has never run");
    for amount in ["-1", "0.001", "1e3", "184467440737095516.16", "NaN", ""] {
        pay(amount, &[]).exits(2).says("not an amount from 0.00");
    }
    place.run(["send", "--from", "node0", "--to", "node0", "--amount", "1"]).exits(7).says("same account");
    place.run(["send", "--from", "mallory", "--to", "node0", "--amount", "1"]).exits(2).says("mallory");
    place.run(["send", "--to", "node0", "--amount", "1"]).exits(2).says("--from");

    // A node that is down finds it in its inbox.
    eventually("all is mined", || place.status(0).filter(|status| status.mempool == 0));
    nodes.into_iter().for_each(super::Process::stop);
    assert!(pay("1", &["--node", "1"]).succeeds().text().contains("node 1: not running, will find it"));
    let node = place.start(1, &[]);
    let balance =
        || place.json(["balance", "node0", "--json", "--node", "1"])["balances"][0]["balance"].clone();
    eventually("the payment is mined", || (balance() == "5.00").then_some(()));
    node.stop();
}

#[test]
fn keys_spend_from_keyed_accounts_only() {
    let place = Place::new();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    place.run(["init", "--accounts", "2", "--difficulty", "3", "--reward", "0.25"]).succeeds();
    place.run(["init"]).exits(2).says("network.toml exists already");
    place.run(["init", &at("second.toml")]).exits(2).says("node0.key.toml exists already");
    let mode = fs::metadata(at("node0.key.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let new = place.run(["key", "new", &at("mine.toml")]).succeeds().text();
    place.run(["key", "new", &at("mine.toml")]).exits(2).says("mine.toml");
    assert_eq!(place.run(["key", "show", &at("mine.toml")]).succeeds().text(), new);
    place.run(["key", "show", &at("nothing.toml")]).exits(2).says("key new");
    fs::write(at("bad.toml"), "secret_key = \"12\"").unwrap();
    place.run(["key", "show", &at("bad.toml")]).exits(2).says("not 64 hex digits");
    let mine = new.lines().find_map(|line| line.strip_prefix("account     ")).unwrap().to_owned();

    // A reward needs somebody who gets it.
    place.run(["7"]).exits(2).says("--miner");
    let node = place.start(0, &[]);
    let send =
        |key: &str, amount: &str| place.run(["send", "--key", &at(key), "--to", "node1", "--amount", amount]);
    send("mine.toml", "1").exits(7).text();
    place
        .run(["send", "--from", "node0", "--to", "node1", "--amount", "1"])
        .exits(7)
        .says("a signature is needed");
    place.run(["send", "--key", &at("node0.key.toml"), "--to", &mine, "--amount", "4"]).succeeds();
    let balance =
        |account: &str| place.json(["balance", account, "--json"])["balances"][0]["balance"].clone();
    eventually("the payment is mined", || (balance(&mine) == "4.00").then_some(()));
    send("mine.toml", "3.99").succeeds();
    eventually("the payment is mined", || (balance(&mine) == "0.01").then_some(()));
    assert_eq!(balance("node1"), "13.99");
    assert_eq!(balance("node0"), "6.50", "two rewards");
    place.run(["generate", "--count", "1"]).exits(2).says("hint: ");
    node.stop();
    place.run(["verify"]).succeeds();
}

#[test]
fn what_cannot_be_done_has_an_exit_code_and_a_hint() {
    let place = Place::open(3);
    for command in [&["chain"][..], &["block", "0"], &["balance"], &["status"], &["verify"]] {
        place.run(command).exits(6).says("no node has ever run in");
    }
    for wrong in [
        &["0", "--backend", "abacus"][..],
        &["0", "--threads", "0"],
        &["0", "--peers", "x"],
        &["0", "--miner", "mallory"],
        &["65536"],
        &["chain", "--count", "0"],
        &["block", "x"],
        &["generate", "--rate", "0"],
        &["generate", "--rate", "-1"],
        &["generate", "--rate", "1e-300"],
        &["devnet", "--nodes", "65"],
        &["chain", "--log", "a=b=c"],
        &["frobnicate"],
        &[],
    ] {
        place.run(wrong).exits(2);
    }
    let node = place.start(0, &["--backend", "none"]);
    place.run(["0"]).exits(4).says("node 0 is already running");
    place.run(["verify"]).exits(4).says("hint: stop it first");
    place.run(["devnet"]).exits(4).says("node 0 runs in");
    node.stop();

    let file = place.path().join("network.toml");
    let network = fs::read_to_string(&file).unwrap();
    fs::write(&file, network.replace("10.00", "10.01")).unwrap();
    for command in [&["0"][..], &["chain"], &["verify"]] {
        place.run(command).exits(5).says("is for network").says("hint: ");
    }
    place.run(["devnet"]).exits(5).says("not a devnet's network file");
    place.run(["devnet", "--fresh"]).exits(5);
    fs::write(&file, network.replace("10.00", "ten")).unwrap();
    place.run(["chain"]).exits(2).says("not an amount");
    fs::write(&file, "what = 1").unwrap();
    place.run(["0"]).exits(2).says("network.toml").says("what");
    let mut command = program();
    command.args(["chain", "--network", "/nowhere/network.toml"]);
    run(command).exits(2).says("hint: write one");
}

#[test]
fn files_in_the_way_are_named() {
    let place = Place::open(3);
    let file = place.path().join("file");
    fs::write(&file, "text").unwrap();
    // As on a read-only disk, which a test that may run as root cannot have otherwise.
    for unwritable in [file.as_path(), "/proc/quarry".as_ref()] {
        for command in [&["0"][..], &["devnet"], &["init"]] {
            let mut node = program();
            node.args(command).arg("--dir").arg(unwritable);
            let outcome = run(node);
            assert!(matches!(outcome.code, Some(1 | 2)), "{command:?}: {}", outcome.stderr);
            assert!(outcome.stderr.contains(unwritable.to_str().unwrap()), "{}", outcome.stderr);
        }
    }
    place.start(0, &[]).stop();
    let store = place.path().join("quarry/node0.redb");
    fs::write(&store, "this is no store").unwrap();
    place.run(["0"]).exits(1).says("node0.redb is not a store");
    place.run(["verify"]).exits(1).says("node0.redb is not a store");
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let place = Place::open(1);
    let node = place.start(0, &["--mine-empty"]);
    eventually("there is much to print", || place.status(0).filter(|status| 300 < status.height.0));
    node.stop();
    for arguments in [&["chain", "--count", "1000", "--json"][..], &["chain", "--count", "1000"], &["--help"]]
    {
        let mut command = program();
        let mut child = command
            .args(arguments)
            .arg("--dir")
            .arg(place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        output.read_exact(&mut [0; 10]).unwrap();
        drop(output);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{arguments:?}: {stderr}");
    }
}

#[test]
fn the_log_is_json_where_that_is_wanted() {
    let place = Place::open(2);
    let node = place.start(0, &["--log-format", "json"]);
    place.pay(0, "node0", "node1", "1.00");
    let path = node.log.clone();
    node.stop();
    let log = fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mined = lines.iter().find(|line| line["fields"]["message"] == "mined a block").unwrap();
    assert_eq!(mined["fields"]["hash"].as_str().unwrap().len(), 64, "whole, for programs");
    assert_eq!(lines.last().unwrap()["fields"]["message"], "stopped");
}

/// Whether there is a card depends on the machine; what is said about it must fit together on all.
#[cfg(feature = "gpu")]
#[test]
fn devices_says_what_there_is_and_why_it_cannot_be_used() {
    let mut command = program();
    command.args(["devices", "--json"]);
    let outcome = run(command);
    let json: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    let devices = json["devices"].as_array().unwrap();
    let used = devices.iter().filter(|device| device["usedByDefault"] == true).count();
    match outcome.code {
        Some(0) => assert!(0 < used && json["problem"].is_null(), "{json}"),
        Some(8) => {
            let codes = ["no-loader", "no-manifest", "driver-fails", "software-only"];
            assert!(used == 0 && codes.contains(&json["problem"]["code"].as_str().unwrap()), "{json}");
            assert!(!json["problem"]["text"].as_str().unwrap().is_empty());
        }
        other => panic!("{other:?}: {}", outcome.stderr),
    }
}

#[test]
fn shells_and_man_learn_the_commands_from_the_program() {
    let place = Place::new();
    for (shell, sign) in [("bash", "-F _node"), ("zsh", "#compdef node"), ("fish", "complete -c node")] {
        let script = place.run(["completions", shell]).succeeds().text();
        for part in [sign, "devnet", "high-throughput-queues"] {
            assert!(script.contains(part), "{shell} without {part}: {script}");
        }
    }
    place.run(["completions", "basic"]).exits(2).says("possible values");
    let pages = place.path().join("pages");
    place.run(["man", pages.to_str().unwrap()]).succeeds();
    let page = fs::read_to_string(pages.join("node-queues-list.1")).unwrap();
    assert!(page.contains(".TH node-queues-list 1"), "{page}");
    let no_directory = place.path().join("network.toml/x");
    fs::write(place.path().join("network.toml"), "").unwrap();
    place.run(["man", no_directory.to_str().unwrap()]).exits(1).says("network.toml/x: the manual pages");
}
