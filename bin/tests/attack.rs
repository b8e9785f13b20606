//! Attacks on a real node: those who hold connections, flood it or guess passwords end as documented,
//! and everybody else is served all the while.
//!
//! `PARLOR_ATTACK_CONNECTIONS` says how many connections never log in (300), `PARLOR_ATTACK_ROUNDS` how
//! often everything is repeated (1). The figures are printed by
//! `cargo test -p parlor --test attack -- --nocapture`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod attack_world;
mod friends_world;
mod program_world;
mod side_world;

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use attack_world::{Crowd, Talk, allow_descriptors, connect_narrow, lose, number};
use program_world::{Client, PASSWORD, Server, poll};
use side_world::{Metrics, SIDE_PORT, Usage, side_port};

/// Times long enough for who is served on a busy machine and short enough for a test; and room for
/// the accounts of many repetitions.
const SETTINGS: &str = "timeouts = { idle_seconds = 6, login_seconds = 3, write_seconds = 3 }
rates.registrations = { burst = 10000, per_hour = 10000 }";

/// How many connections send a byte a second.
const DRIBBLERS: usize = 20;

/// How many connections lose their network.
const LOST: usize = 10;

/// How many are sent a lot and read nothing.
const DEAF: usize = 8;

/// How many send requests without reading, and how many requests.
const FLOODERS: usize = 2;
const FLOOD: u32 = 100_000;

/// How much more memory may be in use afterwards, in KiB: what an allocator keeps for itself,
/// SQLite of the messages with which a part of the attack is made, and the bounded memory of their
/// ways.
const NOISE: u64 = 8 * 1024;

/// How many files more may be open: two of each connection to the database that is made when it is
/// needed, of which there are four.
const FILES: usize = 8;

#[test]
fn who_holds_connections_or_floods_a_node_ends_and_others_are_served() {
    allow_descriptors();
    let folder = TempDir::new().unwrap();
    let server = Server::start_with(folder.path(), SETTINGS, &SIDE_PORT);
    let side = side_port(&server.ready);
    let held = number("PARLOR_ATTACK_CONNECTIONS", 300);
    let talk = Talk::start(server.port);
    let quiet = Metrics::read(&side).get("parlor_connections");
    println!(
        "figure: {held} connections held; at first {:?}",
        Usage::of(server.pid())
    );
    // What these leave is what the program keeps for the next one.
    attack(&server, &side, held, "first");
    attack(&server, &side, held, "second");
    let before = Usage::of(server.pid());
    println!("figure: after two attacks {before:?}");
    for round in 1..=number("PARLOR_ATTACK_ROUNDS", 1) {
        attack(&server, &side, held, &format!("again {round}"));
        println!(
            "figure: after repetition {round}: {:?}",
            Usage::of(server.pid())
        );
    }
    let after = poll("memory and descriptors are given back", || {
        assert_eq!(Metrics::read(&side).get("parlor_connections"), quiet);
        let after = Usage::of(server.pid());
        let settled = after.resident <= before.resident + NOISE
            && after.sockets <= before.sockets
            && after.descriptors <= before.descriptors + FILES;
        settled.then_some(after)
    });
    let talked = talk.finish();
    println!("figure: in the end {after:?}; {talked:?}");
}

#[test]
fn a_wave_of_connections_leaves_its_memory_behind() {
    const CONNECTIONS: usize = 6000;
    allow_descriptors();
    let folder = TempDir::new().unwrap();
    let server = Server::start_with(folder.path(), SETTINGS, &SIDE_PORT);
    let side = side_port(&server.ready);
    let open = || Metrics::read(&side).get("parlor_connections");
    let quiet = Usage::of(server.pid()).resident;
    // After the first the node keeps tables that have grown; after the second no more than that.
    let mut kept = quiet;
    for wave in 1..=2 {
        let crowd = Crowd::connect(server.port, CONNECTIONS);
        poll("all are connected", || {
            (open() == CONNECTIONS as f64).then_some(())
        });
        let full = Usage::of(server.pid()).resident;
        assert!(
            full > quiet + NOISE,
            "the wave cannot be seen: {quiet} {full}"
        );
        drop(crowd);
        let most = match wave {
            1 => (quiet + full) / 2,
            _ => kept + NOISE / 4,
        };
        kept = poll("memory is given back", || {
            let now = Usage::of(server.pid()).resident;
            (open() == 0.0 && now <= most).then_some(now)
        });
        println!("figure: wave {wave} of {CONNECTIONS}: {quiet}, {full}, {kept} KiB");
    }
}

/// Attacks in every way at once, and checks how each of them ends.
fn attack(server: &Server, side: &str, held: usize, name: &str) {
    let port = server.port;
    let before = Metrics::read(side);
    let quiet = before.get("parlor_connections");
    thread::scope(|scope| {
        scope.spawn(|| {
            // Some are strangers, and one has logged in.
            let streams = (1..DRIBBLERS).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap());
            let mut dribblers: Vec<TcpStream> = streams.collect();
            dribblers.push(member(Client::connect(port), &format!("{name} dribbler")));
            are_idle(Crowd::of(dribblers).dribble());
        });
        scope.spawn(|| are_idle(Crowd::connect(port, held).until_ended()));
        scope.spawn(|| deafen(port, name));
        for number in 0..FLOODERS {
            let stream = Client::over(connect_narrow(port));
            let stream = member(stream, &format!("{name} flooder {number}"));
            scope.spawn(|| flood(stream));
        }
        // These learn nothing any more; the server gets rid of them all the same.
        let lost: Vec<TcpStream> = (0..LOST)
            .map(|number| {
                let client = Client::connect(port);
                let stream = match number % 2 {
                    0 => client.stream(),
                    _ => member(client, &format!("{name} lost {number}")),
                };
                lose(&stream);
                stream
            })
            .collect();
        poll("connections that lost their network are given up", || {
            let idle = Metrics::read(side).notices("idle") - before.notices("idle");
            (idle >= (held + DRIBBLERS + LOST) as f64).then_some(())
        });
        drop(lost);
    });
    poll("every connection is gone", || {
        let now = Metrics::read(side);
        (now.get("parlor_connections") == quiet).then_some(())
    });
    let after = Metrics::read(side);
    let rose = |code| after.notices(code) - before.notices(code);
    assert_eq!(rose("idle"), (held + DRIBBLERS + LOST) as f64);
    assert_eq!(rose("slow"), (DEAF + FLOODERS) as f64);
    let answered = ["ok", "rate_limited"]
        .map(|outcome| after.requests("ping", outcome) - before.requests("ping", outcome));
    let sum: f64 = answered.iter().sum();
    assert!(
        sum < f64::from(FLOOD) * FLOODERS as f64,
        "who does not read is not read from: {answered:?}"
    );
}

/// Makes an account, logs in, and gives the connection away.
fn member(mut client: Client, name: &str) -> TcpStream {
    client.register_and_login(name);
    client.stream()
}

/// The last thing that each was told is that it was silent for too long.
fn are_idle(last_words: Vec<Value>) {
    for word in last_words {
        assert_eq!(word["event"], "notice", "{word}");
        assert_eq!(word["code"], "idle", "{word}");
    }
}

/// Sends much more to members of a group than they and the system take.
fn deafen(port: u16, name: &str) {
    let mut loud = Client::connect(port);
    loud.register_and_login(&format!("{name} loud"));
    let group = loud.ok(json!({"op": "group_create", "name": "noise"}))["group"].take();
    let deaf: Vec<TcpStream> = (0..DEAF)
        .map(|number| {
            let mut client = Client::over(connect_narrow(port));
            client.register_and_login(&format!("{name} deaf {number}"));
            client.ok(json!({"op": "group_join", "group": group}));
            client.stream()
        })
        .collect();
    let text = "x".repeat(16 * 1024);
    for round in 0..20 {
        let sends = (0..20).map(|number| {
            let key = format!("{round} {number}");
            json!({"op": "send", "to": {"group": group}, "key": key, "text": text})
        });
        for reply in loud.ask_all(sends.collect()) {
            assert!(reply["ok"].is_object(), "{reply}");
        }
    }
    drop(loud);
    for mut stream in deaf {
        until_broken(&mut stream);
    }
}

/// Sends requests and reads no answer until the server has had enough.
fn flood(mut stream: TcpStream) {
    for number in 0..FLOOD {
        let request = format!("{{\"id\":{number},\"op\":\"ping\"}}\n");
        if stream.write_all(request.as_bytes()).is_err() {
            return;
        }
    }
    until_broken(&mut stream);
}

/// Waits until a connection is broken, without reading from it: writing says so.
fn until_broken(stream: &mut TcpStream) {
    poll("a connection that nobody reads is ended", || {
        stream.write_all(b"\n").err()
    });
}

/// Sends 10,000 logins, ten on each connection; returns how many of them were looked at.
fn guess(server: &Server, guesses: impl Iterator<Item = (String, Value)>) -> usize {
    let guesses: Vec<(String, Value)> = guesses.collect();
    assert_eq!(guesses.len(), 10_000);
    let mut looked_at = 0;
    // A connection of its own has ten tries at once by its own rate.
    for some in guesses.chunks(10) {
        let (address, _) = &some[0];
        let mut client = connect_from(server, address);
        let requests = some.iter().map(|(_, request)| request.clone());
        for reply in client.ask_all(requests.collect()) {
            match reply["error"]["code"].as_str() {
                Some("bad_credentials") => looked_at += 1,
                Some("rate_limited") => assert!(reply["error"]["retry_ms"].is_u64(), "{reply}"),
                _ => panic!("{reply}"),
            }
        }
    }
    looked_at
}

/// Connects as a trusted proxy that names an address.
fn connect_from(server: &Server, address: &str) -> Client {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let header = format!("PROXY TCP4 {address} 192.0.2.200 5000 6000\r\n");
    stream.write_all(header.as_bytes()).unwrap();
    Client::over(stream)
}

fn try_login(name: &str, password: &str) -> Value {
    json!({"op": "login", "name": name, "password": password})
}

#[test]
fn guesses_are_few_and_keep_no_owner_out() {
    let folder = TempDir::new().unwrap();
    let settings = "proxy_from = [\"127.0.0.1\"]\nguard.entries = 2000";
    let server = Server::start_with(folder.path(), settings, &SIDE_PORT);
    let side = side_port(&server.ready);
    const HOME: &str = "192.0.2.1";
    connect_from(&server, HOME).register_and_login("owner");
    let hashes = |metrics: &Metrics| metrics.get("parlor_store_hashes_total");
    let memory = Usage::of(server.pid()).resident;
    let looked_at = |attack: &str, guesses: &mut dyn Iterator<Item = (String, Value)>| {
        let begin = Instant::now();
        let found = hashes(&Metrics::read(&side));
        let count = guess(&server, guesses);
        let hashed = hashes(&Metrics::read(&side)) - found;
        assert_eq!(hashed, count as f64, "{attack}: what was hashed");
        println!(
            "figure: {attack}: {count} of 10000 guesses in {:.1?}",
            begin.elapsed()
        );
        count
    };

    let wrong = |number: u32| format!("wrong password {number}");
    let here = || "198.51.100.7".to_owned();
    let by_name = looked_at(
        "one account by its name from one address",
        &mut (0..10_000).map(|number| (here(), try_login("owner", &wrong(number)))),
    );
    assert!((5..=17).contains(&by_name), "{by_name}");
    let by_number = looked_at(
        "the same account by its number from there",
        &mut (0..10_000).map(|number| {
            let request = json!({"op": "login", "user": 1, "password": wrong(number)});
            (here(), request)
        }),
    );
    assert!((5..=17).contains(&by_number), "{by_number}");
    let there = || "198.51.100.8".to_owned();
    let names = looked_at(
        "ten thousand names from one address",
        &mut (0..10_000).map(|number| (there(), try_login(&format!("name {number}"), "password"))),
    );
    assert!((50..=114).contains(&names), "{names}");
    connect_from(&server, HOME).login("owner");
    connect_from(&server, "203.0.113.5").login("owner");

    // From everywhere: a thousand networks, ten tries each.
    let everywhere = looked_at(
        "one account from a thousand addresses",
        &mut (0..10_000).map(|number| {
            let network = number / 10;
            let address = format!("198.18.{}.{}", network / 250, network % 250);
            (address, try_login("owner", &wrong(number)))
        }),
    );
    assert!((80..=164).contains(&everywhere), "{everywhere}");
    // Who was in before is let in, and who was not waits a minute at most.
    connect_from(&server, HOME).login("owner");
    let mut stranger = connect_from(&server, "203.0.113.6");
    let mut request = try_login("owner", PASSWORD);
    request["id"] = json!(1);
    let wait = stranger.ask(&request)["error"]["retry_ms"]
        .as_u64()
        .unwrap();
    assert!(wait <= 60_000, "{wait}");

    let after = Metrics::read(&side);
    assert!(after.get("parlor_guard_entries") <= 2000.0, "{after:?}");
    let grown = Usage::of(server.pid()).resident.saturating_sub(memory);
    assert!(grown < NOISE, "{grown} KiB");
}

#[test]
fn who_tells_an_address_and_is_no_proxy_is_not_served_nor_a_proxy_that_tells_none() {
    let folder = TempDir::new().unwrap();
    let ping = b"{\"id\":1,\"op\":\"ping\"}\n".as_slice();
    let header = b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 6000\r\n".as_slice();
    for (trusted, first) in [("10.0.0.0/8", header), ("127.0.0.0/8", b"")] {
        let server = Server::start(folder.path(), &["--proxy-from", trusted]);
        let mut client = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        client.write_all(&[first, ping].concat()).unwrap();
        assert_eq!(
            Crowd::of([client]).until_ended(),
            [Value::Null],
            "{trusted}"
        );
    }
}
