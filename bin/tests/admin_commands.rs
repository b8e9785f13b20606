//! `parlor admin` and the side port that it speaks to: real nodes, real orders.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod program_world;
mod side_world;

use std::path::Path;
use std::process::{Command, Stdio};

use parlor_servers::{MariaDb, Redis};
use serde_json::{Value, json};
use tempfile::TempDir;

use program_world::{Client, PASSWORD, Server, command, finished, poll};
use side_world::{SIDE_PORT, exchange, exchange_whole, side_port};

const TOKEN: &str = "the token of the operators";

/// Two nodes over one store and one relay.
struct Cluster {
    nodes: [Server; 2],
    folder: TempDir,
    _database: MariaDb,
    _redis: Redis,
}

impl Cluster {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let database = MariaDb::start(&folder.path().join("mariadb"), &[]).unwrap();
        let store = database.create_database("parlor").unwrap();
        let redis = Redis::start(&folder.path().join("redis"), None, &[]).unwrap();
        let nodes = ["one", "two"].map(|name| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            let relay = redis.url();
            let settings = format!(
                "store = {store:?}\nrelay = {relay:?}\nadmin = \"127.0.0.1:0\"\n\
                 secret = \"of a cluster, 32 bytes long or more\"\nadmin_token = {TOKEN:?}\n\
                 log = \"parlor=trace\"\nlimits.rates = false"
            );
            Server::start_with(&folder, &settings, &[])
        });
        Self {
            nodes,
            folder,
            _database: database,
            _redis: redis,
        }
    }

    /// Makes a command that asks some of the nodes.
    fn admin(&self, nodes: &[usize], arguments: &[&str]) -> Command {
        let mut command = command(self.folder.path());
        command.arg("admin").args(arguments);
        for node in nodes {
            command.args(["--node", &side_port(&self.nodes[*node].ready)]);
        }
        command.env("PARLOR_ADMIN_TOKEN", TOKEN);
        command
    }

    /// Runs a command that goes well, and returns what it prints.
    fn run(&self, nodes: &[usize], arguments: &[&str]) -> String {
        let (code, out, complaint) = finished(&mut self.admin(nodes, arguments));
        assert_eq!((code, complaint.as_str()), (Some(0), ""), "{arguments:?}");
        out
    }

    fn json(&self, nodes: &[usize], arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        serde_json::from_str(&self.run(nodes, &arguments)).unwrap()
    }
}

fn login(client: &mut Client, name: &str, password: &str) -> Value {
    client.ask(&json!({"id": 1, "op": "login", "name": name, "password": password}))
}

/// Waits for the end of a connection, and returns the last notice before it.
fn closed(client: &mut Client) -> Value {
    let notice = client.until(|frame| frame["event"] == "notice");
    assert_eq!(client.read(), None);
    notice["code"].clone()
}

#[test]
fn operators_see_who_is_where_and_what_became_of_a_message() {
    let cluster = Cluster::start();
    let [mut alice, mut bob] = cluster.nodes.each_ref().map(|it| Client::connect(it.port));
    let from = alice.register_and_login("alice");
    let to = bob.register_and_login("bob");
    alice.ok(json!({"op": "friend_request", "user": to}));
    bob.ok(json!({"op": "friend_accept", "user": from}));
    let ports = cluster.nodes.each_ref().map(|it| side_port(&it.ready));

    hear_of_each_other(&cluster, &ports);
    let sessions = cluster.json(&[0, 1], &["sessions"])["sessions"].take();
    let seen = |index: usize| {
        let session = &sessions[index];
        (session["node"].clone(), session["name"].clone())
    };
    assert_eq!(seen(0), (json!(ports[0]), json!("alice")));
    assert_eq!(seen(1), (json!(ports[1]), json!("bob")));
    let who = cluster.json(&[0, 1], &["who", "BOB"]);
    assert_eq!((&who["user"], &who["name"]), (&json!(to), &json!("bob")));
    let connected = &who["sessions"][0]["connected"];
    assert_eq!(connected.as_array().unwrap().len(), 1);
    assert_eq!(connected[0]["node"], ports[1]);
    let table = cluster.run(&[0, 1], &["who", "--id", &to.to_string()]);
    assert!(table.starts_with(&format!("user {to}, bob\n")), "{table}");
    assert!(table.contains(&ports[1]), "{table}");

    let send =
        json!({"op": "send", "to": {"user": to}, "key": "k/17", "text": "of nobody's affair"});
    assert_eq!(alice.ok(send)["seq"], 1);
    bob.until(|frame| frame["key"] == "k/17");
    let message = ["message", "--from", "alice", "--key", "k/17"];
    let way = poll("both nodes have pushed it", || {
        // Not in the order of time.
        let way = cluster.json(&[1, 0], &message);
        (way["steps"].as_array().unwrap().len() >= 5).then_some(way)
    });
    assert_eq!(way["entry"]["users"], json!([from, to]));
    assert_eq!(way["entry"]["seq"], 1);
    let steps = way["steps"].as_array().unwrap();
    let times: Vec<u64> = steps.iter().map(|it| it["at"].as_u64().unwrap()).collect();
    assert!(times.is_sorted(), "{way}");
    let step = |node: usize, what: &str| {
        let wanted = |it: &&Value| it["node"] == ports[node] && it["what"] == what;
        steps
            .iter()
            .find(wanted)
            .unwrap_or_else(|| panic!("{node} {what}: {way}"))
    };
    for what in ["stored", "published"] {
        step(0, what);
    }
    step(1, "relayed");
    for (node, user) in [(0, from), (1, to)] {
        let pushed = step(node, "pushed");
        assert_eq!(pushed["user"], user, "{way}");
        assert_eq!(pushed["session"], sessions[node]["session"], "{way}");
    }
    let same = ["--users", &to.to_string(), &from.to_string(), "--seq", "1"];
    let table = cluster.run(&[0, 1], &[&["message"], &same[..]].concat());
    assert_eq!(table.lines().count(), 3 + steps.len(), "{table}");
    assert!(!table.contains("affair"), "no text: {table}");
    announced(&cluster, [&mut alice, &mut bob]);
}

/// Waits until both nodes are listed, each with the other.
fn hear_of_each_other(cluster: &Cluster, ports: &[String; 2]) {
    let nodes = poll("the nodes hear of each other", || {
        let nodes = cluster.json(&[0, 1], &["nodes"])["nodes"].take();
        let all = nodes.as_array().unwrap();
        let heard = all.iter().all(|it| it["status"]["other_nodes"] == 1);
        heard.then(|| nodes.clone())
    });
    for (index, port) in ports.iter().enumerate() {
        assert_eq!(nodes[index]["node"], *port);
        assert_eq!(nodes[index]["status"]["ready"], true);
        assert_eq!(nodes[index]["status"]["users"], 1);
    }
    let table = cluster.run(&[0, 1], &["nodes"]);
    assert_eq!(table.matches(" ready ").count(), 2, "{table}");
}

/// Says something to everyone, first on one node alone.
fn announced(cluster: &Cluster, clients: [&mut Client; 2]) {
    let text = "Maintenance at noon";
    let told = cluster.json(&[0], &["announce", text]);
    assert_eq!(told["nodes_not_told"], 1, "{told}");
    let told = cluster.run(&[0, 1], &["announce", text]);
    assert_eq!(told.matches("told 1 connections").count(), 2, "{told}");
    for client in clients {
        let notice = client.until(|frame| frame["event"] == "notice");
        assert_eq!(notice["code"], "announcement");
        assert_eq!(notice["message"], text);
        client.ok(json!({"op": "ping"}));
    }
}

#[test]
fn operators_end_lock_and_reset_on_every_node() {
    let mut cluster = Cluster::start();
    let [mut alice, mut bob] = cluster.nodes.each_ref().map(|it| Client::connect(it.port));
    alice.register_and_login("alice");
    let bobs = bob.register_and_login("bob");
    let mut other_bob = Client::connect(cluster.nodes[0].port);
    let token = other_bob.login("bob")["token"].take();
    let bob_again = || Client::connect(cluster.nodes[1].port);

    // Asked of the first node, of which one of the two is none.
    let ended = cluster.run(&[0], &["end", "bob"]);
    assert_eq!(
        ended,
        format!("user {bobs} has no session; sessions ended: 2\n")
    );
    assert_eq!(closed(&mut other_bob), "ended");
    assert_eq!(closed(&mut bob), "replaced");
    let mut bob = bob_again();
    let resume = json!({"id": 1, "op": "resume", "token": token});
    assert_eq!(bob.ask(&resume)["error"]["code"], "token_expired");
    bob.login("bob");

    assert_eq!(cluster.json(&[0], &["lock", "BOB"])["ended"], 1);
    closed(&mut bob);
    let mut bob = bob_again();
    let refused = login(&mut bob, "bob", PASSWORD);
    assert_eq!(refused["error"]["code"], "locked");
    let who = cluster.run(&[1], &["who", "bob"]);
    assert!(
        who.starts_with(&format!("user {bobs}, bob, locked\n")),
        "{who}"
    );
    cluster.run(&[1], &["unlock", "--id", &bobs.to_string()]);
    bob.login("bob");

    let mut reset = cluster.admin(&[0], &["password", "bob", "--generate"]);
    let (code, out, complaint) = finished(&mut reset);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    let made_up = out.lines().nth(1).unwrap().to_owned();
    assert_eq!(made_up.len(), 20);
    closed(&mut bob);
    let mut bob = bob_again();
    let refused = login(&mut bob, "bob", PASSWORD);
    assert_eq!(refused["error"]["code"], "bad_credentials");
    assert!(login(&mut bob, "bob", &made_up)["ok"].is_object());
    let typed = "typed by an operator";
    let mut reset = cluster.admin(&[0], &["password", "bob"]);
    reset.stdin(Stdio::from(file(cluster.folder.path(), typed)));
    assert_eq!(finished(&mut reset).0, Some(0));
    closed(&mut bob);
    let mut bob = bob_again();
    assert!(login(&mut bob, "bob", typed)["ok"].is_object());
    let mut short = cluster.admin(&[0], &["password", "bob"]);
    short.stdin(Stdio::from(file(cluster.folder.path(), "short")));
    let (code, _, complaint) = finished(&mut short);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("8 to 256 bytes"), "{complaint}");

    let drained = cluster.run(&[1], &["drain"]);
    assert!(drained.contains("drains"), "{drained}");
    assert_eq!(closed(&mut bob), "draining");
    assert_eq!(cluster.nodes[1].wait(), Some(0));
    alice.ok(json!({"op": "ping"}));
    cluster.nodes[0].signal("TERM");
    assert_eq!(cluster.nodes[0].wait(), Some(0));
    for node in &mut cluster.nodes {
        let logs = node.logs();
        for secret in [TOKEN, made_up.as_str(), typed, PASSWORD] {
            assert!(!logs.contains(secret), "{secret} is in a log");
        }
    }
    let logs = cluster.nodes[0].logs();
    assert_eq!(
        logs.matches("an operator's order was carried out").count(),
        4
    );
}

/// Returns a file with a text, to be read.
fn file(folder: &Path, text: &str) -> std::fs::File {
    let path = folder.join("stdin");
    std::fs::write(&path, format!("{text}\n")).unwrap();
    std::fs::File::open(path).unwrap()
}

const HOST: &str = "Host: 127.0.0.1:6001\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn post(address: &str, path: &str, headers: &str, body: &str) -> (u16, String, Value) {
    let length = body.len();
    let (status, head, body) = exchange_whole(
        address,
        &format!("POST {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}"),
    );
    (
        status,
        head,
        serde_json::from_str(&body).unwrap_or_default(),
    )
}

fn get(address: &str, path: &str, headers: &str) -> (u16, Value) {
    let request = format!("GET {path} HTTP/1.1\r\n{headers}\r\n");
    let (status, body) = exchange(address, &request);
    (status, serde_json::from_str(&body).unwrap_or_default())
}

#[test]
fn orders_that_are_none_are_refused_with_the_reason() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &SIDE_PORT);
    let address = side_port(&server.ready);
    let mut alice = Client::connect(server.port);
    let user = alice.register_and_login("alice");
    let headers = &format!("{HOST}{JSON}");
    let refused = |path: &str, headers: &str, body: &str, wanted: (u16, &str)| {
        let (status, head, body) = post(&address, path, headers, body);
        let code = body["error"]["code"].as_str().unwrap_or_default();
        assert_eq!((status, code), wanted, "{path}: {body}");
        assert!(body["error"]["message"].is_string(), "{body}");
        head
    };
    let lock = r#"{"name":"alice"}"#;
    let evil = format!("Host: evil.example\r\n{JSON}");
    refused("/admin/lock", &evil, lock, (403, "forbidden"));
    refused("/admin/lock", HOST, lock, (415, "bad_request"));
    let form = format!("{HOST}Content-Type: text/plain\r\n");
    refused("/admin/lock", &form, lock, (415, "bad_request"));
    let head = refused("/admin/sessions", headers, lock, (405, "bad_method"));
    assert!(head.to_lowercase().contains("\r\nallow: get"), "{head}");
    refused("/admin/unknown", headers, lock, (404, "no_such_path"));
    for body in [
        "",
        "{}",
        "[]",
        r#"{"name":"alice","user":1}"#,
        r#"{"name":"alice","reason":"x"}"#,
        r#"{"name":" alice"}"#,
        r#"{"user":-1}"#,
    ] {
        refused("/admin/lock", headers, body, (400, "bad_request"));
    }
    let nobody = r#"{"name":"nobody"}"#;
    for path in ["/admin/lock", "/admin/unlock", "/admin/end"] {
        refused(path, headers, nobody, (404, "no_such_user"));
    }
    let short = r#"{"name":"alice","password":"1234567"}"#;
    refused("/admin/password", headers, short, (400, "bad_request"));
    let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(2049));
    refused("/admin/announce", headers, &long, (400, "bad_request"));
    refused(
        "/admin/announce",
        headers,
        r#"{"message":" "}"#,
        (400, "bad_request"),
    );
    let endless = format!(r#"{{"message":"{}"}}"#, "x".repeat(20_000));
    refused("/admin/announce", headers, &endless, (413, "too_large"));
    assert_eq!(get(&address, "/admin/lock", HOST).0, 405);
    assert_eq!(get(&address, "/admin/sessions?limit=x", HOST).0, 400);
    assert_eq!(get(&address, "/admin/account?user=99", HOST).0, 404);
    assert_eq!(get(&address, "/admin/message?group=99&seq=1", HOST).0, 404);
    // Nothing of that was done.
    let (status, account) = get(&address, &format!("/admin/account?user={user}"), HOST);
    assert_eq!((status, &account["locked"]), (200, &json!(false)));
    assert_eq!(account["here"].as_array().unwrap().len(), 1);
    alice.ok(json!({"op": "ping"}));
    assert_eq!(post(&address, "/admin/lock", headers, lock).0, 200);
    assert_eq!(closed(&mut alice), "ended");
}

#[test]
fn a_token_is_asked_for_where_there_is_one() {
    let folder = TempDir::new().unwrap();
    let settings = format!("admin_token = {TOKEN:?}");
    let server = Server::start_with(folder.path(), &settings, &SIDE_PORT);
    let address = side_port(&server.ready);
    let path = "/admin/sessions";
    let bearer = |token: &str| format!("{HOST}Authorization: Bearer {token}\r\n");
    assert_eq!(get(&address, path, &bearer(TOKEN)).0, 200);
    for headers in [HOST, &bearer("wrong"), &bearer(&TOKEN[1..])] {
        let (status, said) = get(&address, path, headers);
        assert_eq!((status, &said["error"]["code"]), (401, &json!("bad_token")));
        let order = format!("{headers}{JSON}");
        let (status, head, _) = post(&address, "/admin/drain", &order, "{}");
        assert_eq!(status, 401);
        assert!(head.to_lowercase().contains("www-authenticate: bearer"));
    }
    // What shows numbers alone asks for none.
    assert_eq!(get(&address, "/status", HOST).0, 200);

    let admin = |token: Option<&str>, arguments: &[&str]| {
        let mut command = command(folder.path());
        command.args(["admin", "--node", &address]).args(arguments);
        if let Some(token) = token {
            command.env("PARLOR_ADMIN_TOKEN", token);
        }
        finished(&mut command)
    };
    assert_eq!(admin(Some(TOKEN), &["sessions"]).0, Some(0));
    for (token, hint) in [
        (None, "PARLOR_ADMIN_TOKEN"),
        (Some("wrong"), "`admin_token`"),
    ] {
        let (code, out, complaint) = admin(token, &["who", "alice"]);
        assert_eq!((code, out.as_str()), (Some(1), ""));
        assert!(complaint.contains(hint), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let named = token_file.to_str().unwrap();
    let (code, ..) = admin(None, &["--token-file", named, "sessions"]);
    assert_eq!(code, Some(0));
    let (code, _, complaint) = admin(None, &["--token-file", "nowhere", "sessions"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("nowhere"), "{complaint}");
}

#[test]
fn who_cannot_be_asked_is_named_and_the_others_answer() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &SIDE_PORT);
    let address = side_port(&server.ready);
    let mut alice = Client::connect(server.port);
    alice.register_and_login("alice");
    let chat = format!("127.0.0.1:{}", server.port);
    let admin = |nodes: &[&str], arguments: &[&str]| {
        let mut command = command(folder.path());
        command.arg("admin").args(arguments);
        for node in nodes {
            command.args(["--node", node]);
        }
        finished(&mut command)
    };
    // Port 1 is nobody's.
    let (code, out, complaint) = admin(&["127.0.0.1:1", &address], &["sessions"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("alice"), "{out}");
    assert!(
        complaint.contains("127.0.0.1:1 cannot be reached"),
        "{complaint}"
    );
    // An order goes to the next one.
    let (code, out, _) = admin(&["127.0.0.1:1", &address], &["end", "alice"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("sessions ended: 1"), "{out}");
    // This is no side port.
    let (code, _, complaint) = admin(&[&chat], &["nodes"]);
    assert_eq!(code, Some(1));
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    let (code, _, complaint) = admin(&[&address, "127.0.0.1:1"], &["drain"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("a node drains at a time"), "{complaint}");
    let (code, _, complaint) = admin(&[&address], &["who", "nobody"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("no such user"), "{complaint}");
    for arguments in [
        &["who"][..],
        &["who", "alice", "--id", "1"],
        &["message", "--seq", "1", "--key", "k"],
        &["message"],
        &["announce"],
    ] {
        assert_eq!(admin(&[&address], arguments).0, Some(2), "{arguments:?}");
    }
}
