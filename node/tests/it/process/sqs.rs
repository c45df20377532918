//! The program over SQS: the same network, its messages in the queues of an emulator.

use std::process::{Command, Stdio};

use node::args::TransportChoice;
use node::config;
use node::control::PeerState;
use node::transport::{Kind, Outgoing, Transport as _, sqs};
use quarry_core::message::Message;
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::{Amount, NodeId};
use serde_json::Value;

use super::{Place, Process, eventually};
use crate::transport::sqs::Queues;
use crate::transport::sqs::emulator::{self, Emulator};
use crate::transport::sqs::inbox::Stranger;
use crate::transport::sqs::proxy::{Fault, Proxy};

/// A directory whose network has queues of its own, deleted at the end.
struct Network {
    place: Place,
    queues: Queues,
}

impl Network {
    fn open(difficulty: u32) -> Self {
        Self::at(emulator::endpoint(), difficulty)
    }

    fn at(endpoint: &str, difficulty: u32) -> Self {
        let (mut place, mut queues) = (Place::open(difficulty), Queues::at(endpoint));
        // The names are enough to clean up.
        queues.options.network.clear();
        place.environment = environment(endpoint);
        place.environment.push(("QUARRY_TRANSPORT", "sqs".into()));
        place.environment.push(("QUARRY_QUEUE_PREFIX", queues.options.prefix.clone()));
        Self { place, queues }
    }

    /// What `queues list` says of the network's queues.
    fn list(&self) -> Vec<Value> {
        self.place.json(["queues", "list", "--json"]).as_array().unwrap().clone()
    }
}

fn environment(endpoint: &str) -> Vec<(&'static str, String)> {
    let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let mut environment: Vec<_> = names.into_iter().map(|name| (name, "test".to_owned())).collect();
    environment.push(("AWS_REGION", "us-east-1".into()));
    environment.push(("AWS_ENDPOINT_URL_SQS", endpoint.into()));
    environment.push(("AWS_EC2_METADATA_DISABLED", "true".into()));
    environment.push(("AWS_CONFIG_FILE", "/dev/null".into()));
    environment.push(("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()));
    environment
}

#[test]
fn a_devnet_over_sqs_ends_as_one_of_this_machine_does() {
    let mut place = Place::new();
    place.environment = environment(emulator::endpoint());
    let devnet = |rate: &str, more: &[&str]| {
        let fixed = ["devnet", "--difficulty", "5", "--duration", "6", "--backend", "cpu", "--threads", "1"];
        place.run(fixed.iter().chain(&["--rate", rate]).chain(more).copied()).succeeds().text()
    };
    let text = devnet("5", &["--transport", "sqs"]);
    for part in [emulator::endpoint(), "-<ID>.fifo at", "all agree", "40.00, as at the start"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let chain = place.chain(0);
    assert!(3 < chain.len(), "{text}");
    for id in 0..4 {
        place.run(["verify", "--node", &id.to_string()]).succeeds();
        assert_eq!(place.chain(id), chain, "node {id}");
    }
    // Each command in its directory finds its queues, and so does its next run; not over anything else, though.
    let prefix = || {
        let noted = config::noted_transport(&place.directory()).unwrap().unwrap();
        assert_eq!(noted.transport, TransportChoice::Sqs);
        noted.queue_prefix.unwrap()
    };
    let old = prefix();
    assert_eq!(place.json(["queues", "list", "--json"]).as_array().unwrap().len(), 4);
    place.run(["devnet", "--transport", "local", "--duration", "1"]).exits(5).says(&old);
    // A fresh one has fresh queues and leaves none behind.
    devnet("0", &["--fresh", "--transport", "sqs"]);
    assert_ne!(prefix(), old);
    let list = place.json(["queues", "list", "--json", "--queue-prefix", &old]);
    assert_eq!(list.as_array().unwrap().len(), 0);
    place.run(["queues", "delete", "--all"]).succeeds();
}

#[test]
fn what_a_killed_node_had_received_is_neither_lost_nor_repeated() {
    const PAYMENTS: u64 = 60;
    let proxy = Proxy::start(emulator::endpoint());
    let network = Network::at(&proxy.endpoint(), 3);
    let place = &network.place;
    let node = place.start(0, &["--backend", "none"]);
    // So that the kill comes before any is deleted.
    proxy.fault("DeleteMessageBatch", u32::MAX, Fault::Answer(503, "ServiceUnavailable"));
    let client = sqs::client("test", network.queues.options.clone()).unwrap();
    let (rules, now) = (place.network(), node::clock::utc());
    let [from, to] = ["node0", "node1"].map(|name| rules.account(name).unwrap());
    for number in 0..PAYMENTS {
        let payment = Payment { from, to, amount: Amount(1), timestamp: now.saturating_add(number) };
        let transactions = vec![Transaction::new(&rules.id, payment, None)];
        let payload = Message::Transactions(transactions).encode(&rules).into();
        client.send(NodeId(0), Outgoing { kind: Kind::Transactions, payload, ticket: number }).unwrap();
    }
    eventually("some are stored", || place.status(0).filter(|status| 0 < status.mempool));
    node.kill();
    proxy.heal();
    assert!(!network.list().iter().all(is_empty));
    let node = place.start(0, &[]);
    let mined = || {
        let transactions = |block: &Value| block["transactions"].as_array().unwrap().len();
        place.chain(0).iter().map(transactions).sum::<usize>()
    };
    eventually("all are mined", || (mined() == PAYMENTS as usize).then_some(()));
    eventually("all are deleted", || network.list().iter().all(is_empty).then_some(()));
    node.stop();
    let verdict = place.json(["verify", "--node", "0", "--json"]);
    assert_eq!((&verdict["transactions"], &verdict["waiting"]), (&PAYMENTS.into(), &0.into()));
}

fn is_empty(queue: &Value) -> bool {
    queue["waiting"] == 0 && queue["inFlight"] == 0
}

#[test]
fn a_node_joins_a_live_network_and_leaves_it() {
    let network = Network::open(4);
    let place = &network.place;
    let [one, other] = [0, 1].map(|id| place.start(id, &[]));
    place.pay(0, "node0", "node1", "1.00");
    let fifth = place.start(4, &["--leave"]);
    let reaches = |id: u16, height: u64| {
        eventually("it follows", || place.status(id).filter(|status| height <= status.height.0))
    };
    reaches(4, 1);
    place.pay(4, "node1", "node2", "1.00");
    // It has mined or heard of it; the others hear of it as well.
    for id in [0, 1, 4] {
        reaches(id, 2);
    }
    let fifth_seen = |id: u16| {
        let peers = place.json(["peers", "--json", "--node", &id.to_string()]);
        peers.as_array().unwrap().iter().find(|peer| peer["id"] == 4).cloned()
    };
    for id in [0, 1] {
        let seen = eventually("it is known", || fifth_seen(id).filter(|peer| peer["height"] == 2));
        assert_eq!(seen["state"], "alive", "{seen}");
    }
    let text = place.run(["peers"]).succeeds().text();
    assert!(text.contains("same tip") && text.contains("last heard") && text.contains("delay"), "{text}");

    fifth.stop();
    let ids: Vec<_> = network.list().iter().map(|queue| queue["node"].clone()).collect();
    assert_eq!(ids, [0, 1], "its queue is gone");
    for id in [0, 1] {
        let status = |place: &Place| place.status(id).unwrap();
        let is_gone = || {
            let peers = status(place).peers;
            let fifth = peers.iter().find(|peer| peer.id == NodeId(4));
            fifth.is_none_or(|peer| peer.state == PeerState::Stopped).then_some(())
        };
        eventually("the others know", is_gone);
    }
    place.pay(0, "node2", "node3", "1.00");
    reaches(1, 3);
    let status = place.run(["status", "--node", "0"]).succeeds().text();
    assert!(status.contains("requests (") && status.contains("about $0.000"), "{status}");
    for node in [one, other] {
        node.says("peer found peer=4");
        node.signal("TERM");
        let mut node = node;
        node.wait();
        assert!(node.log().contains("requests ("), "{}", node.log());
    }
}

#[test]
fn leaving_removes_the_inbox_of_the_embedded_transport_too() {
    let place = Place::open(4);
    let inbox = |id: u16| place.path().join(format!("quarry/net/{id}"));
    let nodes = [place.start(0, &["--leave"]), place.start(1, &[])];
    assert!(inbox(0).exists() && inbox(1).exists());
    nodes.into_iter().for_each(Process::stop);
    assert!(!inbox(0).exists() && inbox(1).exists());
}

#[test]
fn a_second_process_with_the_same_id_is_refused_over_sqs() {
    let network = Network::open(4);
    let node = network.place.start(0, &[]);
    // On another machine, as it were: with another directory of the same network.
    let mut elsewhere = Place::open(4);
    elsewhere.environment.clone_from(&network.place.environment);
    let file = network.place.path().join("network.toml");
    std::fs::copy(file, elsewhere.path().join("network.toml")).unwrap();
    let mut second = elsewhere.spawn(0, &[]);
    assert_eq!(second.wait().code(), Some(4), "{}", second.log());
    second.says("node 0 is already running");
    network.place.pay(0, "node0", "node1", "1.00");
    node.stop();
}

#[test]
fn a_network_survives_the_loss_of_all_its_queues() {
    let port = emulator::free_port();
    let emulator = Emulator::start(port);
    let network = Network::at(&emulator.endpoint(), 4);
    let place = &network.place;
    let nodes = [0, 1].map(|id| place.start(id, &[]));
    place.pay(0, "node0", "node1", "1.00");
    let reaches = |height: u64| {
        let both = || [0, 1].iter().all(|id| place.status(*id).is_some_and(|it| height <= it.height.0));
        eventually("both follow", || both().then_some(()));
    };
    reaches(1);
    drop(emulator);
    nodes.iter().for_each(|node| node.says("cannot reach SQS"));
    let _emulator = Emulator::start(port);
    nodes.iter().for_each(|node| node.says("works again"));
    place.pay(1, "node1", "node2", "1.00");
    reaches(2);
    nodes.into_iter().for_each(Process::stop);
}

#[test]
fn a_message_of_the_original_system_is_mined() {
    let network = Network::open(3);
    let place = &network.place;
    let node = place.start(0, &[]);
    let fields = format!(
        r#"{{"to_node": "node2", "from_node": "node3", "amount": 0.13, "timestamp": "{}"}}"#,
        node::clock::utc()
    );
    let unique_id = digest(&fields);
    let open = fields.strip_suffix('}').unwrap();
    let contents = format!(r#"{open}, "unique_id": "{unique_id}"}}"#);
    let stranger = Stranger::new(&network.queues);
    let url = stranger.url(&network.queues, 0);
    stranger.send(&url, "Transaction", &[("type", "Transaction"), ("contents", &contents)]);
    eventually("it is mined", || place.status(0).filter(|status| 1 <= status.height.0));
    let balance = place.json(["balance", "node2", "--json"]);
    assert_eq!(balance["balances"][0]["balance"], "10.13");
    // What is not what its id says is refused, and the node goes on.
    let forged = contents.replace("0.13", "9.13");
    stranger.send(&url, "forged", &[("type", "Transaction"), ("contents", &forged)]);
    node.says("message of the original refused");
    node.stop();
}

/// SHA-256, by another program.
fn digest(text: &str) -> String {
    let mut command = Command::new("sha256sum");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn what_is_missing_to_use_sqs_is_told() {
    let mut network = Network::open(4);
    network.place.run(["0", "--transport", "carrier-pigeon"]).exits(2);
    network.place.run(["queues", "list", "--transport", "local"]).exits(2).says("no queues");
    network.place.run(["0", "--queue-prefix", "no spaces"]).exits(2).says("no spaces0.fifo");
    let complete = network.place.environment.clone();
    let mut without = |missing: &str| {
        network.place.environment.clone_from(&complete);
        network.place.environment.retain(|(name, _)| !name.starts_with(missing));
        network.place.run(["0"]).exits(9)
    };
    without("AWS_REGION").says("set AWS_REGION");
    without("AWS_ACCESS_KEY_ID").says("no AWS credentials");

    let proxy = Proxy::start(emulator::endpoint());
    let denied = Network::at(&proxy.endpoint(), 4);
    proxy.fault("ListQueues", 1000, Fault::Answer(403, "AccessDenied"));
    denied.place.run(["generate", "--count", "1"]).exits(9).says("sqs:ListQueues");
    proxy.fault("CreateQueue", 1000, Fault::Answer(403, "AccessDenied"));
    denied.place.run(["0"]).exits(9).says("sqs:CreateQueue");
    proxy.heal();

    // Nobody listens there.
    let endpoint = format!("http://127.0.0.1:{}", emulator::free_port());
    network.place.environment = environment(&endpoint);
    network.place.run(["queues", "list"]).exits(10).says("cannot reach SQS").says("Connection refused");
}

#[test]
fn a_generator_sends_to_the_nodes_that_it_is_told() {
    let network = Network::open(4);
    let place = &network.place;
    place.run(["queues", "create", "--nodes", "4"]).succeeds();
    place.run(["generate", "--count", "6", "--rate", "max", "--peers", "0,2", "--seed", "1"]).succeeds();
    let waiting: Vec<_> = network.list().iter().map(|queue| queue["waiting"].as_u64().unwrap()).collect();
    assert_eq!((waiting[1], waiting[3]), (0, 0), "{waiting:?}");
    assert!(0 < waiting[0] + waiting[2], "{waiting:?}");
}

#[test]
fn a_network_with_high_throughput_queues_works_like_any_other() {
    let network = Network::open(4);
    let flag = "--high-throughput-queues";
    let create = |network: &Network, more: &[&str]| {
        let words = ["queues", "create", "--nodes", "2"];
        network.place.run(words.iter().chain(more).copied()).succeeds().text()
    };
    assert_eq!(create(&network, &[]).matches("created").count(), 2);
    assert_eq!(create(&network, &[flag]).matches("settings corrected").count(), 2);
    assert_eq!(create(&network, &[flag]).matches("there already").count(), 2);
    let place = &network.place;
    let nodes = [0, 1].map(|id| place.start(id, &[flag]));
    place.pay(0, "node0", "node1", "1.00");
    let both = || [0, 1].iter().all(|id| place.status(*id).is_some_and(|status| 1 <= status.height.0));
    eventually("both follow", || both().then_some(()));
    nodes.into_iter().for_each(Process::stop);
    assert_eq!(
        create(&network, &[flag]).matches("there already").count(),
        2,
        "no node has changed them back"
    );
}

#[test]
fn an_operator_handles_queues() {
    let network = Network::open(4);
    let place = &network.place;
    let create = || place.run(["queues", "create", "--nodes", "3"]).succeeds().text();
    assert_eq!(create().matches("created").count(), 3);
    assert_eq!(create().matches("there already").count(), 3);
    place.run(["send", "--from", "node0", "--to", "node1", "--amount", "0.50"]).succeeds();
    let waiting =
        || network.list().iter().map(|queue| queue["waiting"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(waiting(), [1, 1, 1]);
    place.run(["queues", "purge"]).exits(2).says("which queues?");
    place.run(["queues", "purge", "--node", "1"]).succeeds();
    assert_eq!(waiting(), [1, 0, 1]);

    let node = place.start(2, &["--backend", "none"]);
    eventually("it takes what waits", || place.status(2).filter(|status| status.mempool == 1));
    place.run(["queues", "delete", "--nodes", "3"]).exits(4).says("node 2 reads from");
    node.stop();
    // By the network's name alone, which is no file.
    let (prefix, text) = (&network.queues.options.prefix, ["queues", "delete", "--nodes", "3", "--network"]);
    let name = prefix.strip_suffix('-').unwrap();
    let delete = || {
        let mut command = place.command(text.iter().chain(&[name]));
        command.env_remove("QUARRY_QUEUE_PREFIX");
        super::run(command).succeeds().text()
    };
    assert_eq!(delete().matches("deleted").count(), 3);
    assert_eq!(delete().matches("there is none").count(), 3);
    assert!(network.list().is_empty());
    place.run(["queues", "delete", "--all"]).succeeds();
    place.run(["send", "--from", "node0", "--to", "node1", "--amount", "0.50"]).exits(6);
}

#[test]
fn tune_measures_a_queue_that_no_node_sees() {
    let network = Network::open(3);
    let advice = network.place.json(["tune", "--hash-rate", "1M", "--json"]);
    let delays_ms = advice["delaysMs"].as_array().unwrap();
    assert!(delays_ms.iter().all(|it| 0.0 < it.as_f64().unwrap()), "{advice}");
    assert!(advice["delaysFrom"].as_str().unwrap().contains("a queue of its own"), "{advice}");
    assert!(network.list().is_empty());
}
