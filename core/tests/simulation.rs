//! Seeds of the simulated world keep every promise.

#![expect(
    clippy::disallowed_methods,
    reason = "worlds are played by several threads; they have none themselves"
)]

use parlor_core::sim::world;

/// How many seeds this plays; the example `simulate` plays as many as one likes.
const SEEDS: u64 = 300;

#[test]
fn every_promise_holds_in_every_world() {
    let broken: Vec<String> = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            scope.spawn(move || {
                (0..SEEDS)
                    .filter(|seed| seed % 2 == half)
                    .filter_map(|seed| {
                        let what = world::run(seed, None).failure?;
                        Some(format!("seed {seed}: {what}"))
                    })
                    .collect::<Vec<_>>()
            })
        });
        halves
            .into_iter()
            .flat_map(|half| half.join().unwrap_or_else(|_| vec!["a panic".to_owned()]))
            .collect()
    });
    assert!(broken.is_empty(), "{broken:#?}");
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
