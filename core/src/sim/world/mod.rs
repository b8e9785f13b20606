//! The simulated world: several nodes, many devices, one store, one relay, one seed.
//!
//! ```text
//!   device ── link ── node ── jobs ── store (one, the truth)
//!   (the client's     (an engine,      late, refusing, in doubt
//!    own session)      its clock)
//!                      └──── relay ──── the other nodes
//!                            losing, repeating, late, away
//! ```
//!
//! [`run`] plays one seed: for a while devices do whatever the protocol offers while things go
//! [wrong](Fault); then everything works again, and within [`SETTLES_WITHIN`] everyone must have
//! everything and know who is online; then all speak and read, and within [`AGREES_WITHIN`] everyone
//! must know who has read what; then all leave, and within [`LEAVES_WITHIN`] no node may hold
//! anything any more.
//! Everything that happens is a step of one queue, ordered by time and then by the order in which
//! it was put in, and all chance comes from the seed: the same seed gives the same run.
//!
//! Checked at every step: what is acknowledged is in the store; a key makes one entry; logs have no
//! hole; each session, and each device over all its connections, sees each log in order, without
//! hole or repeat; nobody receives what they may not see; each answer belongs to the oldest open
//! request of its connection; tables keep the limits of [`Config`](crate::engine::Config).
//!
//! Rights that ended a moment ago are not held against a node that was not told: what counts is the
//! newest roster that the store answered it with.

mod acts;
mod chronicle;
mod devices;
mod errands;
mod faults;
mod finish;
mod ledger;
mod limits;
mod links;
mod nodes;
mod plan;
mod presence;
mod queue;
mod random;
mod relay;
mod requests;
mod rights;
mod store;
mod strikes;

use std::collections::BTreeMap;
use std::time::Duration;

pub use faults::Fault;

use self::chronicle::Chronicle;
use self::devices::{Device, Person};
use self::faults::Faults;
use self::ledger::Ledger;
use self::links::Link;
use self::nodes::Node;
use self::plan::Plan;
use self::presence::Stale;
use self::queue::{LinkId, Queue, Step};
use self::random::Random;
use crate::engine::Repairs;
use crate::sim::MemoryStore;
use crate::time::Timestamp;

/// How long after the last fault everyone has everything, in simulated time: a device that does not
/// know that its connection is dead pings after 10 s, gives up 35 s later, waits up to 10 s, and
/// may meet a node that is still coming back.
pub const SETTLES_WITHIN: Duration = Duration::from_secs(120);

/// How long after everyone has spoken, and again has read, devices and store agree about who has read
/// what, in simulated time.
pub const AGREES_WITHIN: Duration = Duration::from_secs(120);

/// How long after everyone has left the nodes are empty, in simulated time: a node that was not told
/// that a connection is gone closes it after 30 s.
pub const LEAVES_WITHIN: Duration = Duration::from_secs(60);

/// Takes the lines of a run's story as they happen.
pub type Story<'a> = &'a mut dyn FnMut(&str);

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The run.
    pub seed: u64,
    /// How many steps it had.
    pub steps: u64,
    /// How many nodes.
    pub nodes: usize,
    /// How many devices.
    pub devices: usize,
    /// How many entries all logs had in the end.
    pub entries: usize,
    /// How many messages devices were shown.
    pub received: u64,
    /// How often each fault happened.
    pub faults: BTreeMap<Fault, u64>,
    /// How often each `op` was carried out.
    pub done: BTreeMap<&'static str, u64>,
    /// How often each `op` was refused.
    pub refused: BTreeMap<&'static str, u64>,
    /// How often the nodes repaired something.
    pub repairs: Repairs,
    /// How long after the last fault everyone had everything, in simulated time.
    pub settled_after: Duration,
    /// Which promise was broken, if one was.
    pub failure: Option<String>,
}

/// Plays one seed, telling its story to whoever listens. Stops where a promise is broken.
#[must_use]
pub fn run(seed: u64, story: Option<Story<'_>>) -> Report {
    World::new(seed, story).play()
}

/// Everything there is.
struct World<'a> {
    plan: Plan,
    random: Random,
    faults: Faults,
    queue: Queue,
    now: Timestamp,
    nodes: Vec<Node>,
    devices: Vec<Device>,
    people: Vec<Person>,
    links: BTreeMap<LinkId, Link>,
    last_link: u64,
    store: MemoryStore,
    store_stalled_until: Timestamp,
    /// How many changes the store is yet to make.
    unsettled_commits: u64,
    relay_hangs_until: Timestamp,
    /// Subscriptions that outlive their connection.
    stale: Vec<Stale>,
    ledger: Ledger,
    chronicle: Chronicle,
    report: Report,
    story: Option<Story<'a>>,
}

impl<'a> World<'a> {
    fn new(seed: u64, story: Option<Story<'a>>) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::choose(&mut random);
        let faults = Faults::choose(&mut random);
        let now = Timestamp(1_700_000_000_000);
        let report = Report {
            seed,
            nodes: plan.nodes,
            devices: plan.people * plan.devices_each,
            ..Report::default()
        };
        Self {
            random,
            faults,
            queue: Queue::default(),
            now,
            nodes: Vec::new(),
            devices: Vec::new(),
            people: Vec::new(),
            links: BTreeMap::new(),
            last_link: 0,
            store: MemoryStore::new(plan.limits),
            store_stalled_until: now,
            unsettled_commits: 0,
            relay_hangs_until: now,
            stale: Vec::new(),
            ledger: Ledger::default(),
            chronicle: Chronicle::default(),
            report,
            story,
            plan,
        }
    }

    fn play(mut self) -> Report {
        let began = self.now;
        self.say(|world| {
            let Plan {
                nodes,
                people,
                devices_each,
                ..
            } = world.plan;
            let enabled = world.faults.enabled();
            format!("{nodes} nodes, {people} people with {devices_each} devices each; {enabled:?}")
        });
        self.people_world();
        self.run_until(began + self.plan.chaos);
        self.finish();
        for node in &self.nodes {
            self.report.repairs += node.repairs();
        }
        self.report.entries = self.store.message_count();
        self.report.faults = std::mem::take(&mut self.faults.counts);
        self.report
    }

    /// Makes the nodes and the devices.
    fn people_world(&mut self) {
        for _ in 0..self.plan.nodes {
            let ahead = self.random.millis(0, 3_600_000);
            self.nodes.push(Node::new(ahead));
        }
        for node in 0..self.plan.nodes {
            self.start_node(node);
        }
        for number in 0..self.plan.people {
            self.people.push(Person::new(number));
            for _ in 0..self.plan.devices_each {
                let seed = self.random.next();
                let device = Device::new(number, seed, self.now);
                let at = self.now + self.random.millis(0, 1000);
                self.queue.push(at, Step::Act(self.devices.len()));
                self.devices.push(device);
            }
        }
        self.strike_later();
        self.watch();
    }

    /// Carries out the steps up to a moment, unless a promise is broken before.
    fn run_until(&mut self, until: Timestamp) {
        while self.report.failure.is_none() {
            let Some((at, step)) = self.queue.pop(until) else {
                break;
            };
            self.now = self.now.max(at);
            self.report.steps += 1;
            self.step(step);
        }
        self.now = self.now.max(until);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::WakeNode(life) => self.wake_node(life),
            Step::WakeDevice(device) => self.wake_device(device),
            Step::Act(device) => self.act(device),
            Step::Strike => self.strike(),
            Step::Watch => self.watch(),
            Step::Arrive(link) => self.arrive(link),
            Step::Up(link) => self.up(link),
            Step::Down(link) => self.down(link),
            Step::DeviceLoses(link) => self.device_loses(link),
            Step::NodeLoses(link) => self.node_loses(link),
            Step::ReadAgain(link) => self.read_again(link),
            Step::Execute { job, answer } => self.execute(&job, answer),
            Step::ReadRoster {
                life,
                token,
                standing,
            } => self.read_roster(life, token, *standing),
            Step::Answered {
                life,
                token,
                result,
            } => self.answered(life, token, *result),
            Step::Published {
                from,
                channel,
                message,
            } => self.published(from, channel, &message),
            Step::Relayed {
                life,
                line,
                message,
            } => self.relayed(life, line, message),
            Step::Subscribe {
                life,
                line,
                token,
                channels,
            } => self.relay_subscribes(life, line, token, channels),
            Step::Unsubscribe {
                life,
                line,
                channels,
            } => self.relay_unsubscribes(life, line, &channels),
            Step::Confirmed { life, line, token } => self.confirmed(life, line, token),
            Step::AskPresence {
                life,
                line,
                token,
                users,
            } => self.presence_asked(life, line, token, &users),
            Step::Presence {
                life,
                token,
                online,
            } => self.presence_told(life, token, online),
            Step::RelayLost(life) => self.relay_lost(life),
            Step::RelayReturns { life, line } => self.relay_returns(life, line),
            Step::RelayUp { life, line } => self.relay_up(life, line),
            Step::Restart(node) => self.start_node(node),
            Step::Kill(life) => self.check_drained(life),
        }
    }

    /// Tells a line of the story, if someone listens.
    fn say(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.story.is_none() {
            return;
        }
        let text = line(self);
        let at = self.now.since(Timestamp(1_700_000_000_000));
        if let Some(story) = self.story.as_mut() {
            story(&format!("{:>9.3}  {text}", at.as_secs_f64()));
        }
    }

    /// Records that a promise is broken; the run ends.
    fn fail(&mut self, what: String) {
        if self.report.failure.is_none() {
            self.say(|_| format!("BROKEN  {what}"));
            self.report.failure = Some(what);
        }
    }
}
