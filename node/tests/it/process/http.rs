//! The web pages, the JSON API and the metrics of a running node.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use quarry_core::json::TransactionJson;
use quarry_core::transaction::{Payment, Transaction};
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::{Place, Process, eventually};

/// A node with its pages at any free port.
struct Site {
    place: Place,
    node: Process,
    base: String,
    agent: Agent,
}

impl Site {
    fn start() -> Self {
        Self::start_in(Place::open(1), &[])
    }

    fn start_in(place: Place, arguments: &[&str]) -> Self {
        let node = place.start(0, &[&["--http", "127.0.0.1:0"], arguments].concat());
        let base = base(&node);
        let agent = Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
        let site = Self { place, node, base, agent };
        eventually("the first view", || (site.get("/ready").status() == 200).then_some(()));
        site
    }

    fn get(&self, path: &str) -> Response<Body> {
        self.agent.get(format!("{}{path}", self.base)).call().unwrap()
    }

    fn text(&self, path: &str) -> String {
        let mut response = self.get(path);
        assert_eq!(response.status(), 200, "{path}");
        response.body_mut().read_to_string().unwrap()
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path)).unwrap()
    }

    /// The answer's status; `None` where the node hung up on the body.
    fn try_post(&self, body: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = self.agent.post(format!("{}/api/v1/transactions", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Some(request.send(body).ok()?.status().as_u16())
    }

    fn post(&self, body: &str, headers: &[(&str, &str)]) -> u16 {
        self.try_post(body, headers).unwrap()
    }

    /// A payment between open accounts: its id and its JSON form.
    fn payment(&self, cents: u64) -> (String, String) {
        let network = self.place.network();
        let account = |name| network.account(name).unwrap();
        let amount = quarry_core::units::Amount(cents);
        let timestamp = node::clock::utc();
        let payment = Payment { from: account("node0"), to: account("node1"), amount, timestamp };
        let transaction = Transaction::new(&network.id, payment, None);
        let json = serde_json::to_string(&TransactionJson::new(&transaction, &network)).unwrap();
        (transaction.id().to_string(), json)
    }
}

/// Where a node says that its pages are.
fn base(node: &Process) -> String {
    let log = node.log();
    let address = log.split_once("http://").unwrap().1.split_once("/\n").unwrap().0;
    format!("http://{address}")
}

#[test]
fn a_payment_is_taken_mined_and_found() {
    let site = Site::start();
    let (id, json) = site.payment(150);
    assert_eq!(site.get(&format!("/api/v1/transactions/{id}")).status(), 404);
    assert_eq!(site.post(&json, &[]), 202);
    let path = format!("/api/v1/transactions/{id}");
    let mined = eventually("it is mined", || Some(site.json(&path)).filter(|it| it["state"] == "mined"));
    assert_eq!((&mined["height"], &mined["confirmations"]), (&1.into(), &1.into()));
    assert_eq!(mined["transaction"]["unique_id"], id.as_str());

    let hash = mined["block"].as_str().unwrap();
    assert_eq!(site.json("/api/v1/blocks/1")["block"]["hash"], hash);
    assert_eq!(site.json(&format!("/api/v1/blocks/{hash}"))["confirmations"], 1);
    assert_eq!(site.json("/api/v1/blocks?count=1").as_array().unwrap().len(), 1);
    assert_eq!(site.json("/api/v1/accounts/node1")["balances"][0]["balance"], "11.50");
    assert_eq!(site.json("/api/v1/mempool"), Value::Array(Vec::new()));
    eventually("the view follows", || (site.json("/api/v1/status")["height"] == 1).then_some(()));
    assert!(site.text("/metrics").contains("quarry_chain_height{node=\"0\"} 1.0"));
    let paths = &site.json("/api/v1/openapi.json")["paths"];
    assert!(paths["/api/v1/transactions"]["post"].is_object(), "{paths}");

    assert!(site.text("/").contains(&format!("/block/{hash}")));
    assert!(site.text("/block/1").contains(&format!("/tx/{id}")));
    assert!(site.text("/account/node1").contains(&id[..16]));
    assert!(site.text(&format!("/tx/{id}")).contains("1 deep"));
    for (looked_for, place) in
        [("1", "/block/1"), (id.as_str(), &format!("/tx/{id}")), ("node3", "/account/node3")]
    {
        let found = site.get(&format!("/search?q={looked_for}"));
        assert_eq!(found.headers()["location"], *place);
    }
}

#[test]
fn what_is_not_there_or_not_allowed_is_said() {
    let site = Site::start();
    for (path, code) in [
        ("/nowhere", 404),
        ("/block/99", 404),
        ("/block/x", 404),
        ("/tx/x", 404),
        ("/account/nobody", 404),
        ("/search?q=%3Cscript%3E", 404),
        ("/api/v1/blocks/99", 404),
        ("/api/v1/blocks/x", 400),
        ("/api/v1/blocks?count=-1", 400),
        ("/api/v1/transactions/x", 400),
        ("/api/v1/accounts/nobody", 404),
        ("/healthy", 200),
    ] {
        let mut response = site.get(path);
        assert_eq!(response.status(), code, "{path}");
        assert!(!response.body_mut().read_to_string().unwrap().contains("<script>"), "{path}");
    }
    let foreign = site.agent.get(format!("{}/", site.base)).header("host", "example.org").call();
    assert_eq!(foreign.unwrap().status(), 421);
    let (_, good) = site.payment(100);
    assert_eq!(site.post(&good, &[("origin", "http://example.org")]), 403);
    assert_eq!(site.post("{", &[]), 400);
    // The answer comes before the body is read to its end, so the client may see it or a closed connection.
    assert!(matches!(site.try_post(&" ".repeat(1 << 20), &[]), Some(413) | None));
    let (id, refused) = site.payment(1_000_000);
    assert_eq!(site.post(&refused, &[]), 422);
    let told = site.json(&format!("/api/v1/transactions/{id}"));
    assert_eq!(told["state"], "refused");
    assert!(told["reason"].as_str().unwrap().contains("less than 10000.00"), "{told}");
    let page = site.text(&format!("/tx/{id}"));
    assert!(page.contains("refused at ") && page.contains("less than 10000.00"), "{page}");
    assert_eq!(site.get(&format!("/search?q={id}")).headers()["location"], format!("/tx/{id}"));
    assert_eq!(site.json("/api/v1/status")["height"], 0, "nothing of that was taken");
}

#[test]
fn an_address_in_use_ends_the_node_unless_it_is_nobodys_choice() {
    let site = Site::start();
    let address = site.base.strip_prefix("http://").unwrap();
    let refused = site.place.run(["1", "--backend", "none", "--http", address]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains(address) && refused.stderr.contains("--http off"), "{}", refused.stderr);
}

#[test]
fn answers_are_as_the_description_says() {
    let site = Site::start();
    let (id, json) = site.payment(150);
    assert_eq!(site.post(&json, &[]), 202);
    let mined = format!("/api/v1/transactions/{id}");
    eventually("it is mined", || (site.get(&mined).status() == 200).then_some(()));
    eventually("it is mined", || (site.json(&mined)["state"] == "mined").then_some(()));
    let description = site.json("/api/v1/openapi.json");
    for (path, operations) in description["paths"].as_object().unwrap() {
        let Some(operation) = operations.get("get") else { continue };
        let path = path.replace("{block}", "1").replace("{account}", "node0").replace("{id}", &id);
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{path} has no schema");
        check(&site.json(&path), schema, &description, &path);
    }
}

#[test]
fn refusals_are_as_the_description_says() {
    let site = Site::start();
    let description = site.json("/api/v1/openapi.json");
    let hash = "0".repeat(64);
    let post = |body: &str, (name, value): (&str, &str)| {
        site.agent.post(format!("{}/api/v1/transactions", site.base)).header(name, value).send(body).unwrap()
    };
    let get = |path: &str, host: &str| {
        site.agent.get(format!("{}/api/v1{path}", site.base)).header("host", host).call().unwrap()
    };
    let (_, overspent) = site.payment(1_000_000);
    let none = ("accept", "*/*");
    for (path, method, code, mut response) in [
        ("/blocks", "get", 400, get("/blocks?count=-1", "localhost")),
        ("/blocks/{block}", "get", 400, get("/blocks/x", "localhost")),
        ("/blocks/{block}", "get", 404, get("/blocks/99", "localhost")),
        ("/transactions/{id}", "get", 400, get("/transactions/x", "localhost")),
        ("/transactions/{id}", "get", 404, get(&format!("/transactions/{hash}"), "localhost")),
        ("/accounts/{account}", "get", 404, get("/accounts/nobody", "localhost")),
        ("/peers", "get", 421, get("/peers", "example.org")),
        ("/transactions", "post", 400, post("{", none)),
        ("/transactions", "post", 403, post(&overspent, ("origin", "http://example.org"))),
        ("/transactions", "post", 422, post(&overspent, none)),
        ("", "", 404, get("/nothing", "localhost")),
        ("", "", 405, get("/transactions", "localhost")),
    ] {
        assert_eq!(response.status(), code, "{path}");
        let text = response.body_mut().read_to_string().unwrap();
        let told: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path} {code}: {text}"));
        let schema = match path {
            "" => description["components"]["schemas"]["Failure"].clone(),
            _ => {
                let responses = &description["paths"][format!("/api/v1{path}")][method]["responses"];
                responses[code.to_string()]["content"]["application/json"]["schema"].clone()
            }
        };
        assert!(schema.is_object(), "{path} {code} is not described");
        check(&told, &schema, &description, path);
    }
    let submit = &description["paths"]["/api/v1/transactions"]["post"];
    for code in ["401", "408", "413", "421", "429", "503"] {
        assert!(submit["responses"][code].is_object(), "{code}");
    }
    assert_eq!(submit["security"].as_array().unwrap().len(), 2, "{submit}");
    assert_eq!(description["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}

/// Holds a value against a schema, of which only what the description uses is known here.
fn check(value: &Value, schema: &Value, description: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = description.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        return check(value, schema, description, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = |choice: &&Value| value.is_null() == (choice["type"] == "null");
        let choice = choices.iter().find(fits).unwrap_or_else(|| panic!("{at}: {value} is not {schema}"));
        return check(value, choice, description, at);
    }
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    let is = |kind: &Value| match kind.as_str().unwrap_or_else(|| panic!("{at}: {schema}")) {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{at}: {other}"),
    };
    assert!(kinds.iter().any(is), "{at}: {value} is not {schema}");
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(item, &schema["items"], description, &format!("{at}/{index}"));
    }
    let Some(fields) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(fields.contains_key(name.as_str().unwrap()), "{at} has no {name}");
    }
    for (name, field) in fields {
        let schema = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
        assert!(schema.is_object(), "{at}: {name} is not described");
        check(field, schema, description, &format!("{at}/{name}"));
    }
}

#[test]
fn metrics_please_prometheus() {
    let site = Site::start();
    let (_, json) = site.payment(150);
    assert_eq!(site.post(&json, &[]), 202);
    let metrics = eventually("a block is counted", || {
        Some(site.text("/metrics")).filter(|text| text.contains("event=\"blocks_mined\""))
    });
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs; `make setup` installs it");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let outcome = promtool.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success() && words.is_empty(), "{words}");
}

/// The pages used to show the first block's difficulty for ever.
#[test]
fn the_difficulty_and_the_interval_that_it_aims_at_are_shown() {
    let place = Place::new();
    place.run(["init", "--open", "--difficulty", "1", "--block-time", "1"]).succeeds();
    let site = Site::start_in(place, &["--mine-empty"]);
    // Sixteen hashes take no second, so the difficulty rises with each block.
    let difficulty = eventually("it rises", || {
        site.json("/api/v1/status")["difficulty"].as_f64().filter(|difficulty| 1000.0 < *difficulty)
    });
    let page = site.text("/");
    assert!(page.contains("aim 1.0 s"), "{page}");
    let bits = page.split_once(" bits<").unwrap().0.rsplit_once('>').unwrap().1;
    assert!(difficulty.log2() - 1.0 < bits.parse().unwrap(), "{bits} of {difficulty}");
    let metrics = site.text("/metrics");
    let value = |name: &str| {
        let line =
            metrics.lines().find_map(|line| line.strip_prefix(&format!("quarry_{name}{{node=\"0\"}} ")));
        line.unwrap_or_else(|| panic!("{name} is not in {metrics}")).parse::<f64>().unwrap()
    };
    assert!(1000.0 < value("difficulty_hashes"));
    assert!((value("block_interval_target_seconds") - 1.0).abs() < 1e-9);
    assert!((0.0..1.0).contains(&value("block_interval_seconds")));
    assert!(0.0 < value("network_hash_rate_hashes_per_second"));
    assert!(value("stale_blocks_ratio") < 0.5);
}

#[test]
fn a_configured_name_is_answered() {
    let place = Place::open(1);
    let node = place.start(0, &["--http", "127.0.0.1:0", "--http-names", "ledger.example.org,other"]);
    let base = base(&node);
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    for (host, code) in [("ledger.example.org", 200), ("example.org", 421)] {
        let answer = agent.get(format!("{base}/style.css")).header("host", host).call().unwrap();
        assert_eq!(answer.status(), code, "{host}");
    }
}

/// What the run loop had not answered when it ended used to be waited for, and with it the node's end, for 10 s.
#[test]
fn a_node_stops_promptly_while_clients_pay() {
    let site = Site::start();
    let (_, json) = site.payment(100);
    let (sender, asking) = mpsc::channel();
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let (agent, json, sender) = (site.agent.clone(), json.clone(), sender.clone());
            let path = format!("{}/api/v1/transactions", site.base);
            std::thread::spawn(move || {
                while agent.post(&path).send(&json).is_ok() {
                    // Enough are counted after a while.
                    let _ = sender.send(());
                }
            })
        })
        .collect();
    assert_eq!(asking.iter().take(60).count(), 60);
    let asked = Instant::now();
    site.node.stop();
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    for client in clients {
        client.join().unwrap();
    }
}
