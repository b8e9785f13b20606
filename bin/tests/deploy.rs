//! What operators copy from `deploy/`: the files parse, hold no secret, and name nothing that is not
//! there.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod program_world;
mod repository;
mod side_world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use parlor_core::protocol::{ErrorCode, NoticeCode};
use parlor_servers::{Redis, find};
use serde_json::{Value, json};
use tempfile::TempDir;
use yaml_rust2::{Yaml, YamlLoader};

use program_world::{Client, Server, command, poll};
use repository::{read, root};
use side_world::{SIDE_PORT, get, side_port};

fn yaml(path: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(&read(path)).expect(path);
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

/// Returns every text of a JSON value under a key of this name.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(list) => list.iter().for_each(|it| texts(it, key, found)),
        Value::Object(map) => {
            for (name, value) in map {
                match value {
                    Value::String(text) if name == key => found.push(text),
                    value => texts(value, key, found),
                }
            }
        }
        _ => {}
    }
}

/// Returns the rules of the alerts, as their name and expression.
fn alerts() -> Vec<(String, String)> {
    let document = yaml("deploy/alerts.yml");
    let mut found = Vec::new();
    for group in document["groups"].as_vec().unwrap() {
        assert!(group["name"].as_str().is_some());
        for rule in group["rules"].as_vec().unwrap() {
            let name = rule["alert"].as_str().unwrap();
            let severity = rule["labels"]["severity"].as_str();
            assert!(
                ["warning", "critical"].map(Some).contains(&severity),
                "{name}"
            );
            assert!(rule["annotations"]["summary"].as_str().is_some(), "{name}");
            found.push((name.to_owned(), rule["expr"].as_str().unwrap().to_owned()));
        }
    }
    found
}

/// Returns the expressions of the dashboard, and of the question behind its list of nodes.
fn dashboard() -> Vec<String> {
    let document: Value = serde_json::from_str(&read("deploy/grafana.json")).unwrap();
    let mut found = Vec::new();
    texts(&document["panels"], "expr", &mut found);
    assert!(found.len() > 30, "only {found:?}");
    texts(&document["templating"], "query", &mut found);
    found.into_iter().map(str::to_owned).collect()
}

/// Returns the names of Parlor's metrics in an expression.
fn metrics_in(expression: &str) -> BTreeSet<&str> {
    expression
        .split(|it: char| !(it.is_ascii_alphanumeric() || it == '_'))
        .filter(|word| word.starts_with("parlor_"))
        .collect()
}

/// Returns the values that an expression asks of a label, as in `label="value"` and
/// `label=~"value|value"`.
fn values_of<'a>(expression: &'a str, label: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for operator in ["=\"", "=~\"", "!=\"", "!~\""] {
        for (at, start) in expression.match_indices(&format!("{label}{operator}")) {
            let before = expression[..at].chars().next_back();
            assert!(matches!(before, Some('{' | ',')), "{expression}");
            let rest = &expression[at + start.len()..];
            found.extend(rest.split('"').next().unwrap().split('|'));
        }
    }
    found
}

/// Starts a node with everything that has metrics; returns what it prints of them.
fn printed() -> String {
    let folder = TempDir::new().unwrap();
    let redis = Redis::start(&folder.path().join("redis"), None, &[]).unwrap();
    let mut command = command(folder.path());
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(SIDE_PORT)
        .args(["--relay", &redis.url()])
        .env("PARLOR_SECRET", "of a cluster, 32 bytes long or more");
    let server = Server::spawn(&mut command);
    let mut client = Client::connect(server.port);
    client.ok(json!({"op": "ping"}));
    let address = side_port(&server.ready);
    poll("the relay is up", || {
        let (_, text) = get(&address, "/metrics");
        text.contains("\nparlor_relay_up 1\n").then_some(text)
    })
}

/// Returns the names of the samples that a page of metrics may have, by its `TYPE` lines.
fn samples(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in page.lines().filter_map(|it| it.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let endings: &[&str] = match kind {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            kind => panic!("what is a {kind}?"),
        };
        found.extend(endings.iter().map(|ending| format!("{name}{ending}")));
    }
    found
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_a_node_prints() {
    let page = printed();
    let samples = samples(&page);
    assert!(samples.len() > 40, "{page}");
    let alerts = alerts();
    assert!(alerts.len() > 10, "{alerts:?}");
    let expressions = alerts.into_iter().map(|(_, expression)| expression);
    let mut asked = 0;
    for expression in expressions.chain(dashboard()) {
        for name in metrics_in(&expression) {
            assert!(samples.contains(name), "{name} of {expression}");
            asked += 1;
        }
        for (label, known) in [
            (
                "outcome",
                ErrorCode::ALL
                    .iter()
                    .map(|it| it.as_str())
                    .chain(["ok"])
                    .collect(),
            ),
            (
                "code",
                NoticeCode::ALL
                    .iter()
                    .map(|it| it.as_str())
                    .collect::<Vec<_>>(),
            ),
        ] {
            for value in values_of(&expression, label) {
                assert!(known.contains(&value), "{label} {value:?} of {expression}");
            }
        }
        for path in values_of(&expression, "path") {
            let sample = format!("parlor_repairs_total{{path=\"{path}\"}}");
            assert!(page.contains(&sample), "{path} of {expression}");
        }
    }
    assert!(asked > 60, "only {asked}");
}

#[test]
fn every_alert_is_explained() {
    let manual = read("deploy/OPERATORS.md");
    let rows: BTreeSet<&str> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("| `Parlor")?.split('`').next())
        .collect();
    let alerts: Vec<String> = alerts().into_iter().map(|(name, _)| name).collect();
    let names: BTreeSet<&str> = alerts
        .iter()
        .map(|name| name.strip_prefix("Parlor").expect(name))
        .collect();
    assert_eq!(names.len(), alerts.len(), "two have one name");
    assert_eq!(names, rows);
}

/// Returns the values of a unit's keys, by section and key.
fn unit() -> BTreeMap<(String, String), Vec<String>> {
    let text = read("deploy/parlor.service");
    let mut section = String::new();
    let mut found: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for line in text
        .lines()
        .filter(|it| !it.is_empty() && !it.starts_with('#'))
    {
        if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').expect(line);
        let key = (section.clone(), key.to_owned());
        found.entry(key).or_default().push(value.to_owned());
    }
    found
}

#[test]
fn the_unit_is_one_and_fits_the_program() {
    let unit = unit();
    let only = |key: &str| {
        let values = &unit[&("Service".to_owned(), key.to_owned())];
        assert_eq!(values.len(), 1, "{key}");
        values[0].as_str()
    };
    assert_eq!(only("Type"), "notify");
    assert_eq!(only("ExecReload"), "/bin/kill -HUP $MAINPID");
    assert_eq!(only("StateDirectory"), "parlor");
    // Longer than the longest drain.
    assert!(only("TimeoutStopSec").parse::<u32>().unwrap() > 30);
    for hardened in ["NoNewPrivileges", "PrivateTmp", "MemoryDenyWriteExecute"] {
        assert_eq!(only(hardened), "yes");
    }

    // The command line is one that the program takes, with the sample as its file.
    let words: Vec<&str> = only("ExecStart").split(' ').collect();
    assert_eq!(words[..2], ["/usr/local/bin/parlor", "serve"]);
    assert_eq!(words[2..], ["--config", "/etc/parlor/parlor.toml"]);
    let folder = TempDir::new().unwrap();
    let mut check = command(folder.path());
    check.arg("check-config").arg("--config");
    check.arg(root().join("deploy/parlor.toml"));
    let (code, _, errors) = program_world::finished(&mut check);
    assert_eq!(code, Some(0), "{errors}");

    // systemd's own opinion, of a copy whose program is there.
    let analyze = find("systemd-analyze", "systemd").unwrap();
    let copy = folder.path().join("parlor.service");
    let program = env!("CARGO_BIN_EXE_parlor");
    let text = read("deploy/parlor.service").replace("/usr/local/bin/parlor", program);
    fs::write(&copy, text).unwrap();
    let output = Command::new(&analyze)
        .arg("verify")
        .arg(&copy)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    assert!(!complaints.contains("parlor.service"), "{complaints}");
}

#[test]
fn the_containers_make_a_cluster() {
    let document = yaml("deploy/compose.yml");
    let services = document["services"].as_hash().unwrap();
    let nodes: BTreeSet<&str> = services
        .iter()
        .filter(|(name, _)| name.as_str().unwrap().starts_with("node"))
        .map(|(_, node)| node["networks"]["parlor"]["ipv4_address"].as_str().unwrap())
        .collect();
    assert_eq!(nodes.len(), 3);
    for other in ["nginx", "mysql", "redis"] {
        let other = &document["services"][other];
        assert!(other["image"].as_str().is_some_and(|it| it.contains(':')));
    }
    // What nginx is told, and what the nodes are told of nginx.
    let nginx = read("deploy/nginx.conf");
    let balanced: BTreeSet<&str> = nginx
        .lines()
        .filter_map(|line| line.trim().strip_prefix("server 10.")?.split(':').next())
        .collect();
    let without = nodes.iter().map(|it| it.strip_prefix("10.").unwrap());
    assert_eq!(without.collect::<BTreeSet<_>>(), balanced);
    let proxy = &document["services"]["nginx"]["networks"]["parlor"]["ipv4_address"];
    let environment = &document["x-node"]["environment"];
    assert_eq!(&environment["PARLOR_PROXY_FROM"], proxy);
}

#[test]
fn the_containers_files_hold_no_secret() {
    let text = read("deploy/compose.yml");
    // A variable is a secret: it has no default, and nothing starts without it. Whoever writes a
    // password in here writes it beside a word like these.
    let mut secrets = 0;
    for (at, _) in text.match_indices("${") {
        let name = text[at + 2..].split('}').next().unwrap();
        assert!(name.ends_with(":?make .env first"), "{name}");
        secrets += 1;
    }
    assert!(secrets >= 6, "only {secrets}");
    for line in text
        .lines()
        .map(str::trim)
        .filter(|it| !it.starts_with('#'))
    {
        let secret = ["PASSWORD:", "SECRET:", "STORE:", "RELAY:"];
        if secret.iter().any(|word| line.contains(word)) {
            assert!(line.contains("${PARLOR_"), "{line}");
        }
    }
    let docker = read("deploy/Dockerfile");
    for name in ["SECRET", "STORE", "RELAY"] {
        assert!(!docker.contains(&format!("PARLOR_{name}=")), "{name}");
    }
}

#[test]
fn the_image_is_built_with_the_rust_that_is_needed() {
    let docker = read("deploy/Dockerfile");
    let manifest = read("Cargo.toml");
    let rust = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .unwrap()
        .trim_matches('"');
    let mut instructions = Vec::new();
    let mut goes_on = false;
    for line in docker
        .lines()
        .filter(|it| !it.is_empty() && !it.starts_with('#'))
    {
        if !goes_on {
            instructions.push(line.split_once(' ').expect(line));
        }
        goes_on = line.ends_with('\\');
    }
    let known = [
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "VOLUME",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "STOPSIGNAL",
        "ENTRYPOINT",
        "CMD",
    ];
    for (word, rest) in &instructions {
        assert!(known.contains(word), "{word}");
        if ["ENTRYPOINT", "CMD"].contains(word) {
            assert!(serde_json::from_str::<Vec<String>>(rest).is_ok(), "{rest}");
        }
        if let Some((_, check)) = rest.split_once(" CMD ") {
            assert!(
                serde_json::from_str::<Vec<String>>(check).is_ok(),
                "{check}"
            );
        }
    }
    assert!(instructions.contains(&(
        "FROM",
        &format!("docker.io/library/rust:{rust}-bookworm AS build")
    )));
}

#[test]
fn the_bans_on_dependencies_are_a_table() {
    let table: toml::Table = read("deny.toml").parse().unwrap();
    for section in ["licenses", "bans", "sources", "advisories"] {
        assert!(table[section].is_table(), "{section}");
    }
    for exception in table["advisories"]["ignore"].as_array().unwrap() {
        let reason = exception["reason"].as_str().unwrap();
        assert!(reason.len() > 40, "{exception}");
    }
}
