//! Two nodes under mixed use for long, while parts of what they share break: memory stays where it is,
//! nothing is left behind, and the counters agree with what clients saw.
//!
//! `PARLOR_SOAK_SECONDS` says for how long (20). Every 30 s, or as often as fits six times, something
//! breaks. The figures are printed by `cargo test -p parlor --test soak -- --nocapture`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests"
)]

mod balancer_world;
mod load_world;
mod program_world;
mod side_world;
mod soak_world;

use std::time::{Duration, Instant};

use load_world::cluster::Cluster;
use load_world::crowd::{Crowd, Kind};
use load_world::figures::figure;
use load_world::{HANG, number, poll};
use side_world::{Metrics, Usage};
use soak_world::{FAULTS, Guests, Samples, Seen, strike};

/// How long it lasts, unless `PARLOR_SOAK_SECONDS` says otherwise.
const LASTING: u64 = 20;

/// The longest between two faults.
const MOST_PAUSE: Duration = Duration::from_secs(30);

/// The pause between two messages of one person.
const STEADY: Duration = Duration::from_millis(100);

/// By how much memory may differ, in KiB: what waits while the database is away, and what an allocator
/// keeps. A short run still warms up.
const NOISE: u64 = 12 * 1024;

/// How many connections a node keeps to its database, as the README has it, beside one of each kind
/// that is made anew.
const KEPT: usize = 11;

#[test]
fn two_nodes_stay_what_they_were() {
    let mut cluster = Cluster::start(2);
    let seconds = number("PARLOR_SOAK_SECONDS").unwrap_or(LASTING);
    let lasting = Duration::from_secs(seconds);
    let quiet = nodes(&mut cluster);
    let kind = Kind {
        circles: 15,
        group: 5,
        mortal: None,
    };
    let crowd = Crowd::gather(&cluster, &kind);
    let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.port).collect();
    let guests = Guests::invite(&ports, 4);
    crowd.write(STEADY, 4);
    crowd.acknowledges("the load runs", HANG, 10);

    let pids = quiet.iter().map(|(pid, _)| *pid);
    let samples: Vec<Samples> = pids.map(Samples::of).collect();
    let pause = (lasting / 6).min(MOST_PAUSE);
    let begin = Instant::now();
    let mut faults = 0;
    // Each kind once, however short it is.
    while faults < FAULTS || begin.elapsed() < lasting {
        std::thread::sleep(pause);
        let fault = strike(&mut cluster, faults, pause / 5);
        faults += 1;
        // Everybody goes on after each.
        crowd.acknowledges(fault, HANG, 1);
    }
    for (node, samples) in samples.into_iter().enumerate() {
        let quarters = samples.quarters();
        figure(
            &format!("node {node}: memory in KiB, the median of each quarter"),
            format!("{quarters:?}"),
        );
        let [_, _, third, fourth] = quarters;
        assert!(fourth <= third + NOISE, "memory grows: {quarters:?}");
    }
    let seen = guests.go();
    crowd.finish(&cluster, 0);
    figure("faults", faults);
    figure("guests", format!("{seen:?}"));
    agrees(&cluster, &crowd, &seen);
    crowd.leave();
    leaves_nothing(&mut cluster, &quiet);
}

/// Returns the nodes' processes and what each uses.
fn nodes(cluster: &mut Cluster) -> Vec<(u32, Usage)> {
    let pids = cluster.pids().into_iter();
    pids.map(|pid| (pid.unwrap(), Usage::of(pid.unwrap())))
        .collect()
}

fn metrics(cluster: &Cluster) -> Vec<Metrics> {
    let sides = cluster.nodes.iter().map(|node| node.side.as_str());
    sides.map(Metrics::read).collect()
}

/// The nodes counted what clients saw, and what the database has.
fn agrees(cluster: &Cluster, crowd: &Crowd, seen: &Seen) {
    let metrics = metrics(cluster);
    let sum = |read: &dyn Fn(&Metrics) -> f64| metrics.iter().map(read).sum::<f64>();
    let counted = sum(&|it| it.requests("send", "ok"));
    let people = crowd.people.iter().map(|it| it.record().acknowledged);
    let acknowledged = people.sum::<usize>() as f64 + seen.acknowledged as f64;
    // Who asks again after a break is answered again.
    assert!(counted >= acknowledged, "{counted} of {acknowledged}");
    let entries = sum(&|it| it.get("parlor_entries_total"));
    let rows = cluster
        .database
        .execute("parlor", "SELECT COUNT(*) FROM message");
    let rows: f64 = rows.unwrap().trim().parse().unwrap();
    // What was committed while nobody could tell is counted nowhere.
    assert!(entries <= rows, "{entries} of {rows}");
    assert!(rows >= acknowledged, "{rows} of {acknowledged}");
    let pushed = sum(&|it| it.get("parlor_pushes_total"));
    let logs = crowd.people.iter().map(|it| {
        let record = it.record();
        record.got.values().map(Vec::len).sum::<usize>()
    });
    let got = logs.sum::<usize>() as f64 + seen.pushed as f64;
    assert!(pushed >= got, "{pushed} of {got}");
    for code in ["slow", "idle", "full", "restored", "draining"] {
        assert_eq!(sum(&|it| it.notices(code)), 0.0, "{code}");
    }
    figure(
        "sends answered, acknowledged; entries counted, stored; pushes, received",
        format!("{counted}, {acknowledged}; {entries}, {rows}; {pushed}, {got}"),
    );
}

/// Once everybody has gone, nothing is under way, and as little is open as at first.
fn leaves_nothing(cluster: &mut Cluster, quiet: &[(u32, Usage)]) {
    let pending = [
        "parlor_connections",
        "parlor_users",
        "parlor_groups",
        "parlor_addresses",
        "parlor_pending_store_requests",
        "parlor_pending_fetches",
        "parlor_pending_cursors",
        "parlor_pending_refreshes",
        "parlor_pending_subscriptions",
        "parlor_pending_questions",
        "parlor_pending_logins",
        "parlor_watched_users",
        "parlor_store_writing",
        "parlor_store_hashing",
    ];
    let after = poll("nothing is left", HANG, || {
        let left = |it: &Metrics| pending.iter().any(|name| it.get(name) != 0.0);
        if metrics(cluster).iter().any(left) {
            return None;
        }
        let after = nodes(cluster);
        let mut both = quiet.iter().zip(&after);
        let closed =
            both.all(|((_, before), (_, after))| after.descriptors <= before.descriptors + KEPT);
        closed.then_some(after)
    });
    for ((pid, before), (now, after)) in quiet.iter().zip(&after) {
        assert_eq!(pid, now, "a node has ended");
        figure("at first", format!("{before:?}"));
        figure("in the end", format!("{after:?}"));
    }
}
