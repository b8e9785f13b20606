//! Clusters of real processes under load, while parts of them die.
//!
//! Each test prints its figures: `cargo test -p parlor --test load -- --nocapture`. `PARLOR_LOAD_SEED`
//! names another load, `PARLOR_LOAD_SECONDS` how long full speed lasts. A test that fails keeps the
//! folder with all logs and names it.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests"
)]

mod balancer_world;
mod friends_world;
mod load_world;
mod program_world;

use std::time::{Duration, Instant};

use parlor_core::id::ConversationRef;
use serde_json::{Value, json};

use friends_world::Friends;
use load_world::cluster::Cluster;
use load_world::crowd::{Crowd, Kind};
use load_world::figures::{delays, figure, now, spread};
use load_world::person::Person;
use load_world::watcher::Watcher;
use load_world::{HANG, alone, number, poll};
use program_world::Client;

/// Within what everything works again after a server's return. Measured far lower.
const PROMISED: Duration = Duration::from_secs(60);

/// When a death must have been noticed: long after the 15 s that it takes, and before the question
/// that is asked each minute could hide that nobody did.
const NOTICED: Duration = Duration::from_secs(45);

/// Within what a send is answered `unavailable`.
const UNAVAILABLE: Duration = Duration::from_secs(30);

/// How long full speed lasts, unless `PARLOR_LOAD_SECONDS` says otherwise.
const FULL_SPEED: Duration = Duration::from_secs(10);

/// How long nobody may be without a message at full speed: far more than a busy machine takes.
const STALL: Duration = Duration::from_secs(10);

/// The pause between two messages of one person in a steady load.
const STEADY: Duration = Duration::from_millis(100);

#[test]
fn a_killed_node_takes_no_message_with_it() {
    let _alone = alone();
    let mut cluster = Cluster::balanced(3);
    let kind = Kind {
        circles: 10,
        group: 3,
        mortal: Some(2),
    };
    let crowd = Crowd::gather(&cluster, &kind);
    crowd.write(Duration::ZERO, 4);
    crowd.acknowledges("the load runs", HANG, 50);

    let killed = Instant::now();
    cluster.nodes[0].server.kill9().unwrap();
    poll("its clients notice", HANG, || {
        let broken = crowd
            .people
            .iter()
            .filter(|it| !it.record().breaks.is_empty());
        (broken.count() >= kind.circles).then_some(())
    });
    // None of these fails.
    for _ in 0..20 {
        Client::connect(cluster.port(0)).ok(json!({"op": "ping"}));
    }
    crowd.until("who was there is elsewhere", PROMISED, |_, record| {
        record.online && record.returns.len() == record.breaks.len()
    });
    crowd.acknowledges("everybody goes on", PROMISED, 10);
    crowd.sees_who_is_there(NOTICED);

    let mut returns = Vec::new();
    let mut offline = Vec::new();
    let mut dead = 0;
    for person in &crowd.people {
        let record = person.record();
        dead += usize::from(record.dead);
        let pairs = record.breaks.iter().zip(&record.returns);
        returns.extend(pairs.map(|(broke, back)| *back - *broke));
        let gone = record
            .friends
            .values()
            .filter(|(shown, _)| !record.dead && !*shown);
        offline.extend(gone.map(|(_, since)| *since - killed));
    }
    // One of each circle was there, and each other circle's did not come back.
    assert_eq!((returns.len(), dead), (kind.circles / 2, kind.circles / 2));
    assert_eq!(offline.len(), dead * (crowd.circle - 1));
    spread(
        "a node is killed: its users are back elsewhere after",
        returns,
    );
    spread(
        "a node is killed: who does not come back is shown offline after",
        offline,
    );
    crowd.finish(&cluster, 1);
}

#[test]
fn without_redis_delivery_goes_on_and_with_it_fast_again() {
    let _alone = alone();
    let mut cluster = Cluster::start(2);
    let mut friends = Friends::new(cluster.client(0), cluster.client(1));
    let kind = Kind {
        circles: 15,
        group: 5,
        mortal: None,
    };
    let crowd = Crowd::gather(&cluster, &kind);
    let watchers = watchers(&cluster, &crowd);
    crowd.write(STEADY, 4);
    let begin = now();
    crowd.acknowledges("the load runs", HANG, 20);

    let mut phase = begin;
    let mut measure = |label: &str| {
        let end = now();
        spread(label, delays(&crowd, phase, end));
        phase = end;
    };
    to_a_silent_reader(
        "with Redis: a send and its delivery to a silent reader",
        &mut friends,
    );
    measure("delivery across nodes with Redis");
    cluster.redis.server.kill9().unwrap();
    goes_on(&crowd);
    to_a_silent_reader(
        "Redis killed: a send and its delivery to a silent reader",
        &mut friends,
    );
    measure("delivery across nodes, Redis killed");
    cluster.redis.server.restart().unwrap();
    comes_back("Redis restarted: the fast path is back after", &mut friends);
    measure("delivery across nodes while Redis returns");
    crowd.acknowledges("the load runs", HANG, 20);
    measure("delivery across nodes after Redis's restart");
    cluster.redis.server.stop().unwrap();
    goes_on(&crowd);
    to_a_silent_reader(
        "Redis stopped: a send and its delivery to a silent reader",
        &mut friends,
    );
    measure("delivery across nodes, Redis stopped (SIGSTOP)");
    cluster.redis.server.cont().unwrap();
    comes_back("Redis continued: the fast path is back after", &mut friends);
    measure("delivery across nodes while Redis goes on");
    crowd.acknowledges("the load runs", HANG, 20);
    measure("delivery across nodes after Redis's stop");
    let logs = crowd.finish(&cluster, 0);
    crowd.sees_who_is_there(PROMISED);
    crowd.saw_nobody_leave();
    for watcher in watchers {
        watcher.finish(&logs);
    }
}

/// Waits until what only the relay carries comes again.
fn comes_back(label: &str, friends: &mut Friends) {
    let begin = Instant::now();
    friends.type_until_seen();
    let back = begin.elapsed();
    figure(label, format!("{back:.1?}"));
    assert!(back < PROMISED, "{back:?}");
}

/// Logs second devices in, each on the other of two nodes.
fn watchers(cluster: &Cluster, crowd: &Crowd) -> Vec<Watcher> {
    let people = crowd.people.iter().take(6).enumerate();
    let watch =
        |(index, person): (usize, &Person)| Watcher::start(cluster, (index + 1) % 2, &person.plan);
    people.map(watch).collect()
}

/// Measures how long messages take to somebody who writes nothing, and so learns of them from
/// nobody but the relay or the store.
fn to_a_silent_reader(label: &str, friends: &mut Friends) {
    let mut took = Vec::new();
    for _ in 0..5 {
        let begin = Instant::now();
        friends.send_and_see();
        took.push(begin.elapsed());
    }
    spread(label, took);
}

/// Waits until everybody has had messages acknowledged, and was handed messages of friends on other
/// nodes, that were written from now on.
fn goes_on(crowd: &Crowd) {
    let begin = now();
    crowd.acknowledges("sends are acknowledged", PROMISED, 20);
    crowd.until("messages arrive", PROMISED, |person, record| {
        let direct = |place: &&ConversationRef| matches!(place, ConversationRef::User(_));
        let mut friends = person.plan.places.iter().filter(direct);
        friends.all(|place| {
            let log = record.got.get(place).map_or(&[][..], Vec::as_slice);
            let others = log.iter().filter(|got| got.from != person.plan.user);
            others.filter(|got| got.at > begin).count() >= 5
        })
    });
}

#[test]
fn without_mariadb_nothing_is_pretended_and_with_it_all_goes_on() {
    let _alone = alone();
    let mut cluster = Cluster::start(2);
    let kind = Kind {
        circles: 15,
        group: 5,
        mortal: None,
    };
    let mut friends = Friends::new(cluster.client(0), cluster.client(1));
    let crowd = Crowd::gather(&cluster, &kind);
    let watchers = watchers(&cluster, &crowd);
    let pids = cluster.pids();
    assert!(pids.iter().all(Option::is_some), "{pids:?}");
    crowd.write(STEADY, 4);
    crowd.acknowledges("the load runs", HANG, 20);

    cluster.database.server.kill9().unwrap();
    let send = json!({
        "id": 1, "op": "send", "to": {"user": friends.to},
        "key": "while it was away", "text": "nothing is pretended",
    });
    refuses(&cluster, &mut friends.alice, &send);
    assert_eq!(cluster.pids(), pids, "the nodes stay up");

    let restarted = Instant::now();
    cluster.database.server.restart().unwrap();
    let back = Instant::now();
    let sent = poll("a send works again", PROMISED, || {
        let answer = friends.alice.ask(&send);
        answer["ok"].is_object().then(|| answer["ok"].clone())
    });
    figure(
        "MariaDB restarted: a send works again after",
        format!(
            "{:.1?}, of which its start took {:.1?}",
            restarted.elapsed(),
            back - restarted
        ),
    );
    crowd.acknowledges("everybody's sends work again", PROMISED, 10);
    figure(
        "MariaDB restarted: everybody's sends work again after",
        format!("{:.1?}", restarted.elapsed()),
    );
    assert_eq!(cluster.pids(), pids, "the nodes stay up");
    let logs = crowd.finish(&cluster, 1);
    crowd.sees_who_is_there(PROMISED);
    crowd.saw_nobody_leave();
    for watcher in watchers {
        watcher.finish(&logs);
    }
    // The one that was refused all the time is there once, and came once.
    assert_eq!(friends.alice.ask(&send)["ok"], sent);
    let history = friends
        .bob
        .ok(json!({"op": "history", "in": {"user": friends.from}}));
    let written = |message: &&Value| message["key"] == "while it was away";
    let messages = history["messages"].as_array().unwrap();
    assert_eq!(messages.iter().filter(written).count(), 1, "{history}");
}

/// Sends for as long as a transaction may last, and some more: each time the answer is
/// `unavailable`, and pings of others are answered meanwhile.
fn refuses(cluster: &Cluster, client: &mut Client, send: &Value) {
    let killed = Instant::now();
    let mut pings = Vec::new();
    let mut refusals = Vec::new();
    while killed.elapsed() < Duration::from_secs(12) || refusals.len() < 2 {
        let begin = Instant::now();
        client.send(send);
        for node in 0..2 {
            let begin = Instant::now();
            cluster.client(node).ok(json!({"op": "ping"}));
            pings.push(begin.elapsed());
        }
        let answer = client.until(|frame| frame["id"] == send["id"]);
        refusals.push(begin.elapsed());
        assert_eq!(answer["error"]["code"], "unavailable", "{answer}");
    }
    let longest = refusals.iter().max().copied().unwrap();
    assert!(longest < UNAVAILABLE, "{longest:?}");
    spread(
        "MariaDB killed: a send is answered unavailable after",
        refusals,
    );
    spread(
        "MariaDB killed: a ping on a new connection is answered after",
        pings,
    );
}

#[test]
fn a_rolling_restart_loses_and_doubles_nothing() {
    let _alone = alone();
    let mut cluster = Cluster::balanced(3);
    let kind = Kind {
        circles: 10,
        group: 3,
        mortal: None,
    };
    let crowd = Crowd::gather(&cluster, &kind);
    crowd.write(Duration::ZERO, 4);
    crowd.acknowledges("the load runs", HANG, 50);
    let begin = now();
    let mut drains = Vec::new();
    for node in 0..cluster.nodes.len() {
        drains.push(cluster.restart(node));
        crowd.until("everybody is online again", PROMISED, |_, record| {
            record.online
        });
        crowd.acknowledges("the load runs", HANG, 50);
    }
    let mut moves = Vec::new();
    for person in &crowd.people {
        let record = person.record();
        assert_eq!(
            record.farewells,
            record.breaks.len(),
            "{}",
            person.plan.name
        );
        moves.extend(
            record
                .breaks
                .iter()
                .zip(&record.returns)
                .map(|(broke, back)| *back - *broke),
        );
    }
    assert!(
        moves.len() >= crowd.people.len(),
        "each node was restarted: {}",
        moves.len()
    );
    spread("rolling restart: a drain takes", drains);
    spread(
        "rolling restart: somebody moved is online again after",
        moves,
    );
    spread(
        "rolling restart: delivery across nodes",
        delays(&crowd, begin, now()),
    );
    crowd.finish(&cluster, 0);
    crowd.sees_who_is_there(PROMISED);
}

#[test]
fn a_hundred_pairs_at_full_speed_never_stall() {
    let _alone = alone();
    let cluster = Cluster::start(2);
    let kind = Kind {
        circles: 100,
        group: 0,
        mortal: None,
    };
    let lasting = number("PARLOR_LOAD_SECONDS").map_or(FULL_SPEED, Duration::from_secs);
    let crowd = Crowd::gather(&cluster, &kind);
    let begin = now();
    crowd.write(Duration::ZERO, 4);
    std::thread::sleep(lasting);
    let end = now();
    let mut gaps = Vec::new();
    for person in &crowd.people {
        let record = person.record();
        let log = record.got.get(&person.plan.places[0]);
        let log = log.map_or(&[][..], Vec::as_slice);
        let others = log.iter().filter(|got| got.from != person.plan.user);
        let mut last = begin;
        let mut longest = Duration::ZERO;
        for arrived in others.map(|got| got.arrived).chain([end]) {
            longest = longest.max(arrived.since(last));
            last = arrived;
        }
        gaps.push(longest);
    }
    let delays = delays(&crowd, begin, end);
    let rate = delays.len() as f64 / lasting.as_secs_f64();
    figure(
        "a hundred pairs at full speed: messages across nodes a second",
        format!("{rate:.0} over {lasting:?}"),
    );
    spread("a hundred pairs at full speed: delivery", delays);
    spread(
        "a hundred pairs at full speed: the longest pause of each reader",
        gaps.clone(),
    );
    let longest = gaps.into_iter().max().unwrap();
    assert!(longest < STALL, "somebody got nothing for {longest:?}");
    crowd.finish(&cluster, 0);
    crowd.sees_who_is_there(PROMISED);
    crowd.saw_nobody_leave();
}
