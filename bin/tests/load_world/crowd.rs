//! Many people, friends in circles whose members are on different nodes, and one group of them.

use std::collections::BTreeMap;
use std::time::Duration;

use parlor_core::id::{ConversationRef, GroupId, UserId};
use serde_json::json;

use super::cluster::Cluster;
use super::figures::figure;
use super::ledger::{self, Logs};
use super::person::{Pace, Person, Plan, Record};
use super::{HANG, poll, seed};
use crate::program_world::Client;

/// How many complaints a failure shows.
const SHOWN: usize = 20;

/// How many threads make accounts.
const MAKERS: usize = 8;

/// Many people who talk.
pub(crate) struct Crowd {
    pub(crate) people: Vec<Person>,
    /// How many are in a circle: as many as there are nodes, each on another.
    pub(crate) circle: usize,
}

/// What a crowd is like.
pub(crate) struct Kind {
    /// How many circles of friends there are.
    pub(crate) circles: usize,
    /// How many of them make the group.
    pub(crate) group: usize,
    /// Every how many circles one is of people who do not come back.
    pub(crate) mortal: Option<usize>,
}

impl Crowd {
    /// Makes accounts and friendships, and lets everybody connect: through nginx one after the other,
    /// so that the members of each circle are spread over the nodes.
    pub(crate) fn gather(cluster: &Cluster, kind: &Kind) -> Self {
        let seed = seed();
        println!("the load's seed: PARLOR_LOAD_SEED={seed}");
        println!("logs: {}", cluster.folder().display());
        let circle = cluster.nodes.len();
        let users = accounts(cluster, kind.circles, circle);
        let group = (kind.group > 0).then(|| group(cluster, &users[..kind.group]));
        let mut people = Vec::new();
        for (number, users) in users.iter().enumerate() {
            for (place, user) in users.iter().enumerate() {
                let others = users.iter().filter(|other| *other != user);
                let group = group.filter(|_| number < kind.group);
                people.push(Person::start(Plan {
                    name: name(number, place),
                    user: *user,
                    port: cluster.port(place),
                    places: others
                        .map(|other| ConversationRef::User(*other))
                        .chain(group.map(ConversationRef::Group))
                        .collect(),
                    mortal: kind.mortal.is_some_and(|every| number % every == 0),
                    seed: seed ^ ((people.len() as u64 + 1) << 32),
                }));
                // nginx chooses by how many are where.
                let person = people.last().unwrap();
                if cluster.nginx.is_some() {
                    poll("somebody is online", HANG, || {
                        person.record().online.then_some(())
                    });
                }
            }
        }
        let crowd = Self { people, circle };
        crowd.until("everybody is online", HANG, |_, record| record.online);
        // Accounts were made by sessions that are gone.
        crowd.sees_who_is_there(HANG);
        for person in &crowd.people {
            person.record().departures.clear();
        }
        crowd
    }

    /// Lets everybody write from now on.
    pub(crate) fn write(&self, every: Duration, window: usize) {
        for person in &self.people {
            person.write(Pace { every, window });
        }
    }

    /// Lets everybody go.
    pub(crate) fn leave(self) {
        for person in &self.people {
            person.leave();
        }
    }

    /// Waits until something holds of everybody who is still there.
    pub(crate) fn until(
        &self,
        what: &str,
        within: Duration,
        holds: impl Fn(&Person, &Record) -> bool,
    ) {
        let still = |person: &&Person| {
            let record = person.record();
            !record.dead && !holds(person, &record)
        };
        let mut missing = Vec::new();
        let found = poll_quietly(within, || {
            missing = self.people.iter().filter(still).collect();
            missing.is_empty()
        });
        let names: Vec<&str> = missing.iter().map(|it| it.plan.name.as_str()).collect();
        assert!(found, "not within {within:?}: {what}: {names:?}");
    }

    /// Waits until everybody has had so many more messages acknowledged.
    pub(crate) fn acknowledges(&self, what: &str, within: Duration, more: usize) {
        let counts = self.people.iter();
        let before: BTreeMap<UserId, usize> = counts
            .map(|person| (person.plan.user, person.record().acknowledged))
            .collect();
        self.until(what, within, |person, record| {
            record.acknowledged >= before[&person.plan.user] + more
        });
    }

    /// Waits until everybody is shown those friends as online who are, and no others.
    pub(crate) fn sees_who_is_there(&self, within: Duration) {
        let there = |user: UserId| {
            let mut people = self.people.iter();
            let person = people.find(|person| person.plan.user == user).unwrap();
            !person.record().dead
        };
        self.until("who is there is shown", within, |_, record| {
            let mut friends = record.friends.iter();
            friends.all(|(user, (shown, _))| *shown == there(*user))
        });
    }

    /// Checks that nobody was shown that somebody had gone, since all had come.
    pub(crate) fn saw_nobody_leave(&self) {
        for person in &self.people {
            let departures = &person.record().departures;
            assert_eq!(departures, &[], "shown to {}", person.plan.name);
        }
    }

    /// Ends the load, waits until nothing is under way, and compares what was acknowledged, what
    /// the store has, read through one node, and what everybody was handed.
    pub(crate) fn finish(&self, cluster: &Cluster, node: usize) -> Logs {
        for person in &self.people {
            person.rest();
        }
        self.until("every send is answered", HANG, |_, record| record.settled);
        let logs = self.logs(cluster, node);
        let complete = poll_quietly(HANG, || {
            let mut living = self.people.iter().filter(|it| !it.record().dead);
            living.all(|person| ledger::is_complete(person, &logs))
        });
        let complaints = ledger::check(&self.people, &logs);
        let shown = complaints.get(..SHOWN).unwrap_or(&complaints).join("\n");
        assert!(
            complaints.is_empty(),
            "{} complaints:\n{shown}",
            complaints.len()
        );
        assert!(complete, "not everything has arrived");
        let count = ledger::messages(&logs);
        let rows = cluster.database.execute(
            "parlor",
            "SELECT COUNT(*), COUNT(DISTINCT sender_id, message_key) FROM message \
             WHERE message_key LIKE 'person-%'",
        );
        assert_eq!(
            rows.unwrap().trim(),
            format!("{count}\t{count}"),
            "rows of messages"
        );
        let people = self.people.iter();
        let acknowledged: usize = people.map(|it| it.record().acknowledged).sum();
        figure(
            "messages in the log, and acknowledged",
            format!("{count}, {acknowledged}"),
        );
        logs
    }

    /// Reads every log through one node.
    fn logs(&self, cluster: &Cluster, node: usize) -> Logs {
        let mut logs = Logs::new();
        for person in self.people.iter().filter(|it| !it.record().dead) {
            let mut client = None;
            for conversation in &person.plan.places {
                let place = conversation.place(person.plan.user).unwrap();
                // The group's first member has seen it all.
                logs.entry(place).or_insert_with(|| {
                    let client = client.get_or_insert_with(|| {
                        let mut client = cluster.client(node);
                        client.login(&person.plan.name);
                        client
                    });
                    ledger::read(client, *conversation)
                });
            }
        }
        logs
    }
}

fn poll_quietly(within: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + within;
    while !holds() {
        if std::time::Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

fn name(circle: usize, place: usize) -> String {
    format!("person-{circle}-{place}")
}

/// Makes the accounts of circles of friends.
fn accounts(cluster: &Cluster, circles: usize, size: usize) -> Vec<Vec<UserId>> {
    let each = circles.div_ceil(MAKERS);
    let numbers: Vec<usize> = (0..circles).collect();
    std::thread::scope(|scope| {
        let make = |numbers: &[usize]| {
            let made = numbers.iter().map(|number| friends(cluster, *number, size));
            made.collect::<Vec<_>>()
        };
        let makers = numbers
            .chunks(each)
            .map(|numbers| scope.spawn(move || make(numbers)));
        let makers: Vec<_> = makers.collect();
        makers
            .into_iter()
            .flat_map(|maker| maker.join().unwrap())
            .collect()
    })
}

/// Makes the accounts of one circle, each on the node of its place: what leaves a node just before the
/// relay is lost counts as gone there.
fn friends(cluster: &Cluster, circle: usize, size: usize) -> Vec<UserId> {
    let mut made: Vec<(Client, u64)> = Vec::new();
    for place in 0..size {
        let mut client = cluster.client(place);
        let user = client.register_and_login(&name(circle, place));
        for (friend, other) in &mut made {
            friend.ok(json!({"op": "friend_request", "user": user}));
            client.ok(json!({"op": "friend_accept", "user": *other}));
        }
        made.push((client, user));
    }
    made.iter().map(|(_, user)| UserId(*user)).collect()
}

/// Makes a group of circles.
fn group(cluster: &Cluster, circles: &[Vec<UserId>]) -> GroupId {
    let mut group = None;
    for (number, users) in circles.iter().enumerate() {
        for place in 0..users.len() {
            let mut client = cluster.client(place);
            client.login(&name(number, place));
            match &group {
                None => {
                    let made = client.ok(json!({"op": "group_create", "name": "Everybody"}));
                    group = made["group"].as_u64();
                }
                Some(group) => {
                    client.ok(json!({"op": "group_join", "group": group}));
                }
            }
        }
    }
    GroupId(group.unwrap())
}
