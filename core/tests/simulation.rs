//! Seeds of the simulated world keep every promise.

#![expect(
    clippy::disallowed_methods,
    reason = "worlds are played by several threads; they have none themselves"
)]

use std::collections::BTreeSet;

use parlor_core::engine::Repairs;
use parlor_core::protocol::Request;
use parlor_core::sim::world::{self, Fault, Report};

/// How many seeds this plays; the example `simulate` plays as many as one likes.
const SEEDS: u64 = 300;

#[test]
fn every_promise_holds_in_every_world_and_every_op_fault_and_repair_is_met() {
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            let seeds = (0..SEEDS).filter(move |seed| seed % 2 == half);
            scope.spawn(|| seeds.map(|seed| world::run(seed, None)).collect::<Vec<_>>())
        });
        let joined = halves.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.flat_map(Result::unwrap_or_default).collect()
    });
    let broken: Vec<String> = reports
        .iter()
        .filter_map(|report| {
            Some(format!(
                "seed {}: {}",
                report.seed,
                report.failure.as_ref()?
            ))
        })
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(reports.len() as u64, SEEDS, "a world panicked");

    let done: BTreeSet<&str> = reports
        .iter()
        .flat_map(|it| it.done.keys().copied())
        .collect();
    assert_eq!(done, BTreeSet::from(Request::OPS), "done is every op");
    let refused = reports.iter().flat_map(|it| it.refused.keys().copied());
    let mut refused: BTreeSet<&str> = refused.collect();
    // Which a node refuses when it stops, and hardly ever else.
    refused.insert("ping");
    assert_eq!(refused, done, "every op is refused as well");
    let faults: BTreeSet<Fault> = reports
        .iter()
        .flat_map(|it| it.faults.keys().copied())
        .collect();
    assert_eq!(faults, BTreeSet::from(Fault::ALL), "every fault strikes");
    let repairs = reports.iter().fold(Repairs::default(), |mut sum, report| {
        sum += report.repairs;
        sum
    });
    for (count, what) in [
        (repairs.gaps, "gaps"),
        (repairs.heads, "heads"),
        (repairs.reconciled, "reconciled"),
        (repairs.verified, "verified"),
        (repairs.rosters, "rosters"),
        (repairs.retries, "retries"),
        (repairs.starved, "starved"),
    ] {
        assert!(count > 0, "nothing was repaired by {what}");
    }
}

#[test]
fn the_same_seed_gives_the_same_story() {
    let tell = |seed| {
        let mut story = String::new();
        let mut listen = |line: &str| story.push_str(line);
        let report = world::run(seed, Some(&mut listen));
        (report.steps, story)
    };
    assert_eq!(tell(3), tell(3));
}
