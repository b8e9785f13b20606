//! How large a run is, and with which limits.

use std::time::Duration;

use super::random::Random;
use crate::engine::{Allowance, Config, LoginGuard, Rate, Rates};
use crate::secret::Secret;
use crate::store::Limits;

/// What a seed chooses before anything happens.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    pub(super) people: usize,
    pub(super) devices_each: usize,
    /// How long things go wrong.
    pub(super) chaos: Duration,
    /// The longest time between two acts of a device, in milliseconds.
    pub(super) pace: u64,
    /// The longest time between two strikes, in milliseconds.
    pub(super) strikes: u64,
    /// Whether everything goes through the JSON codec.
    pub(super) json: bool,
    pub(super) config: Config,
    pub(super) limits: Limits,
}

impl Plan {
    pub(super) fn choose(random: &mut Random) -> Self {
        // Most runs are small, so that many fit into little time; a few are as large as may be.
        let large = random.chance(50);
        let people = if large {
            random.between(6, 12)
        } else {
            random.between(2, 5)
        };
        let seconds = if large { 30 } else { 12 };
        let nodes = random.index(5) + 1;
        Self {
            nodes,
            people: usize::try_from(people).unwrap_or(2),
            devices_each: random.index(3) + 1,
            chaos: random.millis(4000, seconds * 1000),
            pace: random.between(150, 1500),
            strikes: random.between(500, 4000),
            json: random.chance(250),
            config: Config {
                clustered: nodes > 1 || random.chance(700),
                ..config(random)
            },
            limits: Limits {
                sessions: if random.chance(300) { 2 } else { 8 },
                ..Limits::default()
            },
        }
    }

    /// Returns how large the tables of the guard of logins may be.
    pub(super) fn guarded(&self) -> usize {
        self.config.rates.map_or(0, |rates| rates.guard.entries)
    }
}

fn config(random: &mut Random) -> Config {
    let rates = random.chance(200).then(|| Rates {
        sends: Rate::per_second(5, 4),
        registrations: Rate::per_second(2, 1),
        guard: guard(random.chance(500)),
        ..Rates::default()
    });
    let small = random.chance(500);
    let choose = |tiny: usize, usual: usize| if small { tiny } else { usual };
    Config {
        seed: random.next(),
        clustered: true,
        rates,
        idle: Duration::from_secs(30),
        outgoing: if small { 2048 } else { 256 * 1024 },
        fetch_entries: if small { 3 } else { 200 },
        fetches: choose(2, 256),
        batch: choose(2, 500),
        presence_batch: choose(2, 500),
        presence_questions: choose(1, 4),
        presence_lists: choose(1, 256),
        pipeline: choose(8, 128),
        marks: choose(6, 10_000),
        store_requests: choose(40, 100_000),
        connections: choose(40, 100_000),
        connections_per_address: choose(5, 50_000),
        ..Config::new(Secret::new("a secret of at least thirty-two bytes"))
    }
}

/// A guard that few wrong passwords wake, and that remembers little if it is `small`.
fn guard(small: bool) -> LoginGuard {
    let allowance = |failures| Allowance {
        failures,
        delay: Duration::from_millis(200),
        most_delay: Duration::from_secs(2),
    };
    LoginGuard {
        pair: allowance(1),
        address: allowance(2),
        account: allowance(3),
        forget: Duration::from_secs(10),
        entries: if small { 2 } else { 100_000 },
    }
}
