//! What makes several nodes one server: over a real MariaDB and Redis, behind a real nginx.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod balancer_world;
mod friends_world;
mod members_world;
mod program_world;

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hmac::{Hmac, KeyInit as _, Mac as _};
use parlor_servers::{RedisClient, Reply};
use serde_json::{Value, json};
use sha2::Sha256;

use friends_world::Friends;
use members_world::{Backends, Cluster, SECRET, directly, sees};
use program_world::{Client, PASSWORD, finished, poll};

/// Sends a message whose key is its text.
fn send(client: &mut Client, to: &Value, text: &str) -> u64 {
    let sent = client.ok(json!({"op": "send", "to": to, "key": text, "text": text}));
    sent["seq"].as_u64().unwrap()
}

/// Waits for a message.
fn comes(client: &mut Client, text: &str) -> Value {
    client.until(|frame| frame["text"] == text)
}

/// Checks that nothing more comes but the notice that another session has taken the place.
fn is_replaced(client: &mut Client) {
    let notice = client.until(|frame| frame["event"] == "notice");
    assert_eq!(notice["code"], "replaced", "{notice}");
    assert_eq!(client.read(), None);
}

#[test]
fn people_on_two_nodes_talk_through_the_balancer() {
    let cluster = Cluster::start();
    let Friends {
        mut alice,
        mut bob,
        from,
        to,
        ..
    } = cluster.friends();
    sees(&mut alice, true);
    sees(&mut bob, true);
    let (to_alice, to_bob) = (json!({"user": from}), json!({"user": to}));
    for number in 1..=5 {
        send(&mut alice, &to_bob, &format!("question {number}"));
        comes(&mut bob, &format!("question {number}"));
        send(&mut bob, &to_alice, &format!("answer {number}"));
        comes(&mut alice, &format!("answer {number}"));
    }

    // Her other device is on the other node.
    let mut phone = cluster.at(1);
    let token = phone.login("alice")["token"].take();
    let seq = send(&mut alice, &to_bob, "of one device");
    for client in [&mut phone, &mut bob] {
        let message = comes(client, "of one device");
        assert_eq!(
            (&message["seq"], &message["from"]),
            (&json!(seq), &json!(from))
        );
    }
    let seq = send(&mut phone, &to_bob, "of the other");
    for client in [&mut alice, &mut bob] {
        assert_eq!(comes(client, "of the other")["seq"], seq);
    }
    bob.ok(json!({"op": "ack", "in": to_alice, "read": seq}));
    for client in [&mut alice, &mut phone] {
        client.until(|frame| frame["event"] == "receipt" && frame["read"] == seq);
    }

    let group = alice.ok(json!({"op": "group_create", "name": "Tea"}))["group"].take();
    bob.ok(json!({"op": "group_join", "group": group}));
    let crew = json!({"group": group});
    for client in [&mut alice, &mut phone] {
        client.until(|frame| frame["in"] == crew && frame["user"] == to);
    }
    send(&mut bob, &crew, "hello crew");
    comes(&mut alice, "hello crew");
    send(&mut alice, &crew, "hello bob");
    for client in [&mut phone, &mut bob] {
        comes(client, "hello bob");
    }

    // A token of one node is one of the other.
    let mut moved = cluster.at(0);
    moved.ok(json!({"op": "resume", "token": token}));
    is_replaced(&mut phone);
    send(&mut bob, &to_alice, "welcome");
    comes(&mut moved, "welcome");
    drop((alice, moved));
    sees(&mut bob, false);
}

#[test]
fn sessions_keep_their_limit_when_all_log_in_at_once() {
    const ACCOUNTS: usize = 5;
    const LIMIT: usize = 8;
    let cluster = Cluster::start();
    let groups: Vec<Value> = (0..ACCOUNTS)
        .map(|account| {
            let mut client = directly(&cluster.nodes[0]);
            client.register_and_login(&format!("ann-{account}"));
            let group = client.ok(json!({"op": "group_create", "name": "Tea"}))["group"].take();
            json!({"group": group})
        })
        .collect();
    let (start, ending) = (Barrier::new(200), AtomicBool::new(false));
    let logged_in: Vec<(usize, u64, Client)> = thread::scope(|scope| {
        let most = scope.spawn(|| most_sessions(&cluster, &ending));
        let logins: Vec<_> = (0..200)
            .map(|number| {
                let (cluster, start) = (&cluster, &start);
                scope.spawn(move || {
                    let account = number % ACCOUNTS;
                    let mut client = directly(&cluster.nodes[number / ACCOUNTS % 2]);
                    client.ok(json!({"op": "ping"}));
                    start.wait();
                    let session = log_in(&mut client, &format!("ann-{account}"));
                    (account, session, client)
                })
            })
            .collect();
        let logged_in = logins.into_iter().map(thread::ScopedJoinHandle::join);
        let logged_in: Result<_, _> = logged_in.collect();
        ending.store(true, Ordering::Relaxed);
        assert_eq!(most.join().unwrap(), LIMIT);
        logged_in.unwrap()
    });

    let kept = cluster.sql("SELECT id FROM session");
    let kept: BTreeSet<u64> = kept.lines().map(|id| id.parse().unwrap()).collect();
    assert_eq!(kept.len(), ACCOUNTS * LIMIT);
    let mut staying: Vec<Vec<Client>> = groups.iter().map(|_| Vec::new()).collect();
    for (account, session, mut client) in logged_in {
        if kept.contains(&session) {
            staying[account].push(client);
        } else {
            is_replaced(&mut client);
        }
    }
    for (clients, group) in staying.iter_mut().zip(&groups) {
        assert_eq!(clients.len(), LIMIT);
        for number in 0..LIMIT {
            let text = format!("number {number}");
            send(&mut clients[number], group, &text);
            let others = clients.iter_mut().enumerate();
            for (_, client) in others.filter(|(other, _)| *other != number) {
                comes(client, &text);
            }
        }
    }
}

/// Logs in, again where others were so quick that the session was over before it was answered;
/// returns the session.
fn log_in(client: &mut Client, name: &str) -> u64 {
    let login = json!({"id": 0, "op": "login", "name": name, "password": PASSWORD});
    loop {
        let answer = client.ask(&login);
        match answer["ok"]["session"].as_u64() {
            Some(session) => return session,
            None => assert_eq!(answer["error"]["code"], "busy", "{answer}"),
        }
    }
}

/// Looks again and again how many sessions an account has; returns the most that were seen.
fn most_sessions(cluster: &Cluster, ending: &AtomicBool) -> usize {
    let count = "SELECT COUNT(*) FROM session GROUP BY user_id ORDER BY 1 DESC LIMIT 1";
    let mut most = 0;
    loop {
        let is_last = ending.load(Ordering::Relaxed);
        most = most.max(cluster.sql(count).trim().parse().unwrap());
        if is_last {
            return most;
        }
    }
}

#[test]
fn nodes_that_start_at_once_make_one_cluster() {
    let backends = Backends::start();
    for database in ["first", "second", "third"] {
        backends.database.create_database(database).unwrap();
        let nodes = backends.two_nodes(database);
        let rows = "SELECT COUNT(*) FROM cluster; SELECT COUNT(*) FROM seaql_migrations";
        let rows = backends.database.execute(database, rows).unwrap();
        assert_eq!(rows, "1\n2\n");
        // The relay's channels have the cluster's name.
        let [alice, bob] = nodes.each_ref().map(directly);
        Friends::new(alice, bob).type_until_seen();
    }
}

/// Starts a node that must not start, as another of a running cluster's; returns the last line that
/// it writes.
fn refused(backends: &Backends, name: &str, store: &str, relay: &str, settings: &str) -> String {
    let (code, out, complaint) = finished(&mut backends.node(name, store, relay, settings));
    assert_eq!((code, out.as_str()), (Some(1), ""), "{name}: {complaint}");
    for secret in ["wrong-word", "open-sesame", SECRET, "another secret of"] {
        assert!(!complaint.contains(secret), "{complaint}");
    }
    let last = complaint.lines().last().unwrap().to_owned();
    assert!(last.starts_with("parlor: "), "{complaint}");
    last
}

#[test]
fn a_node_that_does_not_fit_its_cluster_is_refused_and_told_why() {
    let cluster = Cluster::start();
    let Backends {
        database, redis, ..
    } = &cluster.backends;
    let (store, relay) = (database.url("parlor"), redis.url());
    let ours = format!("secret = {SECRET:?}");
    let with_wrong_word = |url: &str| {
        let (user, host) = url.rsplit_once('@').unwrap();
        let (user, _) = user.rsplit_once(':').unwrap();
        format!("{user}:wrong-word@{host}")
    };
    let wrong_relay = with_wrong_word(&relay);
    let no_password = format!("redis://127.0.0.1:{}", redis.port());
    let wrong_store = with_wrong_word(&store);
    let no_database = store.replace("/parlor", "/nowhere");
    let other = "secret = \"another secret of 32 bytes or more\"";
    for (name, store, relay, settings, said) in [
        (
            "other-secret",
            &store,
            &relay,
            other,
            "give this node that secret",
        ),
        (
            "no-secret",
            &store,
            &relay,
            "",
            "set `secret` in the file, or PARLOR_SECRET",
        ),
        (
            "wrong-relay",
            &store,
            &wrong_relay,
            &ours,
            "refuses the user or the password",
        ),
        (
            "no-password",
            &store,
            &no_password,
            &ours,
            "refuses the user or the password",
        ),
        ("wrong-store", &wrong_store, &relay, &ours, "Access denied"),
        ("no-database", &no_database, &relay, &ours, "nowhere"),
    ] {
        let line = refused(&cluster.backends, name, store, relay, settings);
        assert!(line.contains(said), "{name}: {line}");
    }
    // Nothing of this has troubled those who are there.
    cluster.at(0).register_and_login("alice");
    cluster.at(1).login("alice");
}

#[test]
fn a_database_of_another_version_is_refused_and_it_is_said_what_to_do() {
    let backends = Backends::start();
    let tables = |name, statements: &str| {
        let url = backends.database.create_database(name).unwrap();
        backends.database.execute(name, statements).unwrap();
        url
    };
    let migrations =
        "CREATE TABLE seaql_migrations (version VARCHAR(255) PRIMARY KEY, applied_at BIGINT)";
    let applied =
        |names: &str| format!("{migrations}; INSERT INTO seaql_migrations VALUES {names}");
    let later = tables("later", &applied("('m0001_tables', 0), ('m9999_later', 0)"));
    let foreign = tables("foreign", &applied("('m20220101_recipes', 0)"));
    let empty = tables("empty", "DO 0");
    let run_later = "a later version of Parlor (it has m9999_later): run that version";
    for (index, (store, migrate, said)) in [
        (
            &empty,
            "false",
            "lacks the migration m0001_tables: run `parlor migrate`",
        ),
        (&later, "false", run_later),
        (&later, "true", run_later),
        (
            &foreign,
            "true",
            "is not a database of Parlor: name another",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let settings = format!("secret = {SECRET:?}\nmigrate = {migrate}");
        let name = format!("node-{index}");
        let line = refused(&backends, &name, store, &backends.redis.url(), &settings);
        assert!(line.contains(said), "{line}");
    }
}

#[test]
fn a_resend_through_another_node_meets_the_first_append_before_its_commit() {
    let cluster = Cluster::start();
    let Friends {
        mut alice,
        mut bob,
        to,
        ..
    } = cluster.friends();
    let mut again = cluster.at(1);
    again.login("alice");
    let counts = |what: &str, count: &str, statement: &str| {
        poll(what, || {
            (cluster.sql(statement).trim() == count).then_some(())
        });
    };
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User lock'";
    // An append that has been written waits at the gate, uncommitted.
    cluster.sql(
        "DELIMITER //\nCREATE TRIGGER gate AFTER INSERT ON message FOR EACH ROW \
         BEGIN DO GET_LOCK('gate', 60); DO RELEASE_LOCK('gate'); END//",
    );
    let message = json!({"id": 100, "op": "send", "to": {"user": to}, "key": "k", "text": "once"});
    thread::scope(|scope| {
        let hold = "DO GET_LOCK('gate', 0); DO SLEEP(60)";
        let holding = scope.spawn(|| cluster.backends.database.execute("", hold));
        counts("the gate is closed", "0", "SELECT IS_FREE_LOCK('gate')");
        let first = scope.spawn(|| alice.ask(&message));
        counts("the first append waits", "1", waiting);
        let second = scope.spawn(|| again.ask(&message));
        // What `innodb_trx` says stays the same for as long as one keeps asking.
        let locked = "SELECT variable_value FROM information_schema.global_status \
                      WHERE variable_name = 'Innodb_row_lock_current_waits'";
        counts("the second append waits for the first", "1", locked);
        assert_eq!(cluster.sql(waiting).trim(), "1");
        let holder = cluster.sql("SELECT IS_USED_LOCK('gate')");
        cluster.sql(&format!("KILL {holder}"));
        assert!(holding.join().unwrap().is_err(), "it was killed");
        let answers = [first, second].map(|answer| answer.join().unwrap());
        assert_eq!(answers[0]["ok"]["seq"], 1, "{answers:?}");
        assert_eq!(answers[0]["ok"], answers[1]["ok"]);
    });
    assert_eq!(cluster.sql("SELECT COUNT(*) FROM message"), "1\n");
    send(&mut alice, &json!({"user": to}), "next");
    let texts = ["once", "next"].map(|_| bob.until(|frame| frame["event"] == "message"));
    assert_eq!(
        texts.map(|message| message["seq"].as_u64()),
        [Some(1), Some(2)]
    );
}

#[test]
fn a_database_that_stands_still_costs_time_and_no_message() {
    let mut cluster = Cluster::start();
    let Friends {
        mut alice,
        mut bob,
        to,
        ..
    } = cluster.friends();
    let database = &mut cluster.backends.database.server;
    let mut message =
        json!({"id": 100, "op": "send", "to": {"user": to}, "key": "k", "text": "one"});
    database.stop().unwrap();
    let refused = alice.ask(&message);
    assert_eq!(refused["error"]["code"], "unavailable", "{refused}");
    // What needs no database is answered all the while.
    for node in &cluster.nodes {
        directly(node).ok(json!({"op": "ping"}));
    }
    database.cont().unwrap();
    let sent = poll("the database is back", || {
        message["id"] = json!(message["id"].as_u64()? + 1);
        let answer = alice.ask(&message);
        answer["ok"]["seq"].as_u64()
    });
    assert_eq!(sent, 1);
    send(&mut alice, &json!({"user": to}), "two");
    let seen = ["one", "two"].map(|_| bob.until(|frame| frame["event"] == "message"));
    assert_eq!(seen.each_ref().map(|it| &it["text"]), ["one", "two"]);
    assert_eq!(cluster.sql("SELECT COUNT(*) FROM message"), "2\n");
}

#[test]
fn who_was_removed_gets_nothing_more_on_any_node() {
    let cluster = Cluster::start();
    let Friends {
        mut alice,
        mut bob,
        to,
        ..
    } = cluster.friends();
    let mut phone = cluster.at(0);
    phone.login("bob");
    let group = alice.ok(json!({"op": "group_create", "name": "Tea"}))["group"].take();
    let crew = json!({"group": group});
    for round in 0..10 {
        bob.ok(json!({"op": "group_join", "group": group}));
        let mut requests = Vec::new();
        let mut ask = |request: Value| requests.push(request);
        let send = |number: u32| {
            let text = format!("{round}/{number}");
            json!({"op": "send", "to": crew, "key": text, "text": text})
        };
        (0..20).for_each(|number| ask(send(number)));
        ask(json!({"op": "group_remove", "group": group, "user": to}));
        (20..40).for_each(|number| ask(send(number)));
        // By the direct conversation it is known that all of this has been delivered.
        let last = format!("that was round {round}");
        ask(json!({"op": "send", "to": {"user": to}, "key": last, "text": last}));
        for answer in alice.ask_all(requests) {
            assert!(answer["ok"].is_object(), "{answer}");
        }
        for client in [&mut bob, &mut phone] {
            let (mut seqs, mut is_removed, mut is_told) = (Vec::new(), false, false);
            client.until(|frame| {
                if frame["in"] == crew && frame["seq"].is_u64() {
                    seqs.push(frame["seq"].as_u64().unwrap());
                }
                is_removed |= frame["kind"] == "removed";
                is_told |= frame["text"] == last;
                is_removed && is_told
            });
            // In each round there are one who joins, forty messages, and one who is removed.
            let joined = 42 * round + 2;
            assert_eq!(seqs, (joined..=joined + 21).collect::<Vec<_>>());
        }
        let refused = bob.ask(&json!({"id": 0, "op": "history", "in": crew}));
        assert_eq!(refused["error"]["code"], "not_member", "{refused}");
    }
}

/// Writes what a node publishes, in the form of a version: see `relay-redis/src/payload`.
fn sealed(version: u8, channel: &str, body: &[u8]) -> Vec<u8> {
    let keyed = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).unwrap();
    let mut key = keyed(SECRET.as_bytes());
    key.update(b"parlor relay payload");
    let mut tag = keyed(&key.finalize().into_bytes());
    tag.update(&[version]);
    tag.update(&(channel.len() as u64).to_be_bytes());
    tag.update(channel.as_bytes());
    tag.update(body);
    [&[version], &tag.finalize().into_bytes()[..16], body].concat()
}

#[test]
fn what_a_later_version_publishes_is_read_as_far_as_it_is_known() {
    let cluster = Cluster::start();
    let Friends {
        mut alice,
        mut bob,
        from,
        to,
        ..
    } = cluster.friends();
    let name = cluster.sql("SELECT name FROM cluster");
    let channel = format!("parlor:{}:user:{to}", name.trim());
    let [low, high] = [from, to].map(|user| u8::try_from(user).unwrap());
    assert!(low < high && high < 0x80);
    // Kind 4, somebody writes: who, on which node, and the two of the conversation.
    let typing = [4, 0, low, 2, 99, 8, low, 10, high];
    let more = [&typing[..], &[62, 7, 255, 2, b'h', b'i']].concat();
    let other_kind = [&[200], &typing[1..]].concat();
    let Backends { redis, .. } = &cluster.backends;
    let mut client = RedisClient::connect(redis.port(), Some("open-sesame")).unwrap();
    for payload in [
        sealed(2, &channel, &typing),
        sealed(1, &channel, &other_kind),
        sealed(1, &channel, &more),
    ] {
        // In Lua any byte can be written.
        let escaped: String = payload.iter().map(|byte| format!("\\{byte:03}")).collect();
        let script = format!("return redis.call('PUBLISH', '{channel}', '{escaped}')");
        let heard = client.command(&["EVAL", &script, "0"]).unwrap();
        assert_eq!(heard, Reply::Number(1));
    }
    let mut typed = 0;
    bob.until(|frame| {
        typed += u32::from(frame["event"] == "typing" && frame["user"] == from);
        typed == 1
    });
    send(
        &mut alice,
        &json!({"user": to}),
        "nothing is the worse for it",
    );
    bob.until(|frame| {
        typed += u32::from(frame["event"] == "typing");
        frame["text"] == "nothing is the worse for it"
    });
    assert_eq!(typed, 1, "what only a later version can read");
}

#[test]
fn a_login_that_would_be_too_long_is_cut_and_the_rest_is_asked_for() {
    const FRIENDS: u64 = 5000;
    let cluster = Cluster::start();
    let mut ann = cluster.at(0);
    let user = ann.register_and_login("ann");
    // More than the limit, which was higher once. Their names are as long as names may be.
    cluster.sql(&format!(
        "SET NAMES utf8mb4; INSERT INTO user (id, name, name_key, hash, version, locked, updated_at) \
           SELECT 100000 + seq, CONCAT(REPEAT('\u{1f600}', 28), LPAD(seq, 4, '0')), \
             CONVERT(CONCAT('friend ', seq) USING binary), '', 1, 0, 0 FROM seq_1_to_{FRIENDS}; \
         INSERT INTO friendship (user_id, other_id, state) \
           SELECT {user}, 100000 + seq, 'friends' FROM seq_1_to_{FRIENDS}; \
         INSERT INTO friendship (user_id, other_id, state) \
           SELECT 100000 + seq, {user}, 'friends' FROM seq_1_to_{FRIENDS}"
    ));
    let mut again = cluster.at(1);
    let login = json!({"id": 1, "op": "login", "name": "ann", "password": PASSWORD});
    let session = again.ask(&login);
    let length = session.to_string().len() + 1;
    assert!((200 << 10..=256 << 10).contains(&length), "{length} bytes");
    let session = &session["ok"];
    assert_eq!(session["more"], json!(["friends"]), "{:?}", session["more"]);
    let number = |friend: &Value| friend["user"].as_u64().unwrap();
    let mut friends: Vec<u64> = session["friends"]
        .as_array()
        .unwrap()
        .iter()
        .map(number)
        .collect();
    loop {
        let after = friends.last().unwrap();
        let page = again.ok(json!({"op": "friends", "after": after, "limit": 200}));
        friends.extend(page["friends"].as_array().unwrap().iter().map(number));
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(friends, (100_001..=100_000 + FRIENDS).collect::<Vec<_>>());
}
