//! What repairs a loss, step by step: heads without credit, reads that are under way, doubts.

use std::time::Duration;

use parlor_core::engine::{Config, Input};
use parlor_core::id::{ConnectionId, Pair, Place, Seq, UserId};
use parlor_core::protocol::event::GroupState;
use parlor_core::protocol::request::UserRef;
use parlor_core::protocol::{Event, Request};
use parlor_core::relay::RelayMessage;
use parlor_core::store::{Read, ReadDone, StoreError, StoreRequest, StoreResponse, StoreResult};

use crate::{World, ack, config, group, login_of, name, said_elsewhere, send, user};

const LONG: Duration = Duration::from_secs(86_400);
/// What a message with a text of three bytes weighs.
const MESSAGE: u32 = 163;

fn cluster(change: impl FnOnce(&mut Config)) -> World {
    let mut config = Config {
        clustered: true,
        reconcile: LONG,
        reconcile_down: LONG,
        verify: LONG,
        ..config()
    };
    change(&mut config);
    World::with(config)
}

fn seqs(world: &mut World, connection: ConnectionId) -> Vec<u64> {
    let messages = world.messages(connection);
    messages.into_iter().map(|(_, seq, _)| seq).collect()
}

/// Has the store carry out its only request; returns what it was.
fn answer_one(world: &mut World) -> StoreRequest {
    let mut held = world.node.take_held();
    assert_eq!(held.len(), 1, "{held:?}");
    let (token, request) = held.remove(0);
    let result = world.node.store.execute(request.clone(), world.node.now());
    world.node.complete(token, result).unwrap();
    request
}

fn is_changes(request: &StoreRequest) -> bool {
    matches!(request, StoreRequest::Read(Read::Changes { .. }))
}

#[test]
fn a_head_that_is_heard_of_without_credit_is_fetched_with_it() {
    let mut world = cluster(|config| config.outgoing = 10 * MESSAGE);
    let circle = world.circle(2);
    world.node.stall(circle[1]);
    for number in 100..110 {
        world.ok(circle[0], send(user(2), &number.to_string()));
    }
    // Its credit is spent to the byte, and nothing was withheld yet.
    assert_eq!(seqs(&mut world, circle[1]).len(), 10);
    said_elsewhere(&mut world, "elsewhere");
    world.node.input(Input::RelayUp).unwrap();
    assert_eq!(seqs(&mut world, circle[1]), [0; 0]);
    assert_eq!(seqs(&mut world, circle[0]).last(), Some(&11));
    world.node.unstall(circle[1]).unwrap();
    assert_eq!(seqs(&mut world, circle[1]), [11]);
}

#[test]
fn heads_are_counted_when_they_are_news() {
    let mut world = cluster(|_| ());
    world.circle(2);
    let before = world.node.engine.repairs();
    said_elsewhere(&mut world, "elsewhere");
    for _ in 0..2 {
        world.node.input(Input::RelayUp).unwrap();
        assert_eq!(world.node.engine.repairs().heads, before.heads + 1);
    }
}

#[test]
fn rosters_are_counted_when_they_are_news() {
    let mut world = World::new();
    world.register("a");
    world.register("b");
    let (a, _) = world.login("a");
    let before = world.node.engine.repairs().rosters;
    let who = UserRef::Id(UserId(2));
    world.ok(a, Request::FriendRequest { who });
    assert_eq!(world.node.engine.repairs().rosters, before + 1);
}

#[test]
fn what_a_page_leaves_is_fetched_once_there_is_credit() {
    let mut world = cluster(|config| {
        config.outgoing = 10 * MESSAGE;
        config.fetch_entries = 10;
    });
    let circle = world.circle(2);
    world.node.disconnect(circle[1]).unwrap();
    for number in 100..115 {
        world.ok(circle[0], send(user(2), &number.to_string()));
    }
    world.node.hold_store();
    let b = world.connect();
    world.node.request(b, 1, login_of("b")).unwrap();
    // The heads are read before the page is.
    let pages = world.pages_read();
    world.node.take(b);
    world.node.stall(b);
    for (token, result) in pages {
        world.node.complete(token, result).unwrap();
    }
    world.node.release_store().unwrap();
    assert_eq!(seqs(&mut world, b), (1..=10).collect::<Vec<u64>>());
    world.node.unstall(b).unwrap();
    assert_eq!(seqs(&mut world, b), (11..=15).collect::<Vec<u64>>());
}

#[test]
fn a_group_that_the_roster_lost_without_a_word_is_left() {
    let mut world = cluster(|_| ());
    let circle = world.circle(2);
    let id = world.group_of(&circle);
    world.node.hold_store();
    let message = RelayMessage::Changed {
        user: UserId(2),
        version: 1000,
    };
    world.node.input(Input::Relayed { message }).unwrap();
    let (token, request) = world.node.take_held().pop().unwrap();
    let mut result = world.node.store.execute(request, world.node.now());
    let Ok(StoreResponse::Read(ReadDone::Rosters(rosters))) = &mut result else {
        panic!("{result:?}")
    };
    let lost = group(id.0);
    let mut roster = (*rosters[0]).clone();
    roster.version = 1000;
    roster.groups.clear();
    roster
        .conversations
        .retain(|state| state.conversation != lost);
    rosters[0] = roster.into();
    world.node.complete(token, result).unwrap();
    world.node.release_store().unwrap();
    let removed = Event::Group {
        group: id,
        name: name("group"),
        state: GroupState::Removed,
    };
    assert_eq!(world.events(circle[1]), [removed]);
    world.ok(circle[0], send(lost, "without b"));
    assert_eq!(world.events(circle[1]), []);
    assert_eq!(world.events(circle[0]).len(), 1);
}

#[test]
fn changes_are_read_one_at_a_time() {
    let mut world = cluster(|config| config.reconcile = Duration::from_secs(5));
    world.circle(2);
    world.wait(Duration::from_secs(6));
    world.node.hold_store();
    world.wait(Duration::from_secs(20));
    let held = world.node.take_held();
    let changes = held.iter().filter(|(_, request)| is_changes(request));
    assert_eq!(changes.count(), 1, "{held:?}");
}

#[test]
fn a_node_that_stops_reads_no_changes() {
    let mut world = cluster(|config| config.reconcile = Duration::from_secs(5));
    let circle = world.circle(2);
    world.wait(Duration::from_secs(6));
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, send(user(2), "one"))
        .unwrap();
    world.node.input(Input::Drain).unwrap();
    world.wait(Duration::from_secs(8));
    let held = world.node.take_held();
    assert!(
        !held.iter().any(|(_, request)| is_changes(request)),
        "{held:?}"
    );
}

#[test]
fn a_commit_in_doubt_may_come_late_and_is_not_looked_for_for_ever() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.wait(Duration::from_secs(6));
    world.node.hold_store();
    let request = said_in_doubt(&mut world, circle[0], "one");
    world.node.release_store().unwrap();
    // Changes are read before it commits.
    world.wait(Duration::from_secs(6));
    world.node.store.execute(request, world.node.now()).unwrap();
    assert_eq!(seqs(&mut world, circle[1]), [0; 0]);
    world.wait(Duration::from_secs(6));
    assert_eq!(seqs(&mut world, circle[1]), [1]);
    assert_eq!(world.node.engine.repairs().reconciled, 1);
    world.wait(Duration::from_secs(40));
    world.node.hold_store();
    world.wait(Duration::from_secs(20));
    let held = world.node.take_held();
    assert!(
        !held.iter().any(|(_, request)| is_changes(request)),
        "{held:?}"
    );
}

/// Has `a` say something of which the store does not say whether it committed; returns what it was
/// asked.
fn said_in_doubt(world: &mut World, a: ConnectionId, text: &str) -> StoreRequest {
    world.node.request(a, 1000, send(user(2), text)).unwrap();
    let (token, request) = world.node.take_held().pop().unwrap();
    let unknown = Err(StoreError::Unknown.into());
    world.node.complete(token, unknown).unwrap();
    request
}

#[test]
fn a_doubt_that_arises_while_changes_are_read_is_not_settled_by_them() {
    let mut world = World::new();
    let circle = world.circle(2);
    // Until changes are read no more.
    world.wait(Duration::from_secs(31));
    world.node.hold_store();
    said_in_doubt(&mut world, circle[0], "one");
    world.wait(Duration::from_secs(6));
    let (token, request) = world.node.take_held().pop().unwrap();
    assert!(is_changes(&request), "{request:?}");
    let result = world.node.store.execute(request, world.node.now());
    world.wait(Duration::from_secs(8));
    let two = said_in_doubt(&mut world, circle[0], "two");
    world.node.complete(token, result).unwrap();
    world.node.release_store().unwrap();
    // A transaction lasts no longer than 20 seconds.
    world.wait(Duration::from_secs(19));
    world.node.store.execute(two, world.node.now()).unwrap();
    world.wait(Duration::from_secs(5));
    assert_eq!(seqs(&mut world, circle[1]), [1]);
}

#[test]
fn what_another_node_heard_acknowledged_is_written_once() {
    let mut world = cluster(|_| ());
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    world.ok(circle[0], send(user(2), "two"));
    let at = |world: &World| {
        let roster = world.node.store.roster(UserId(2), world.node.now());
        let state = roster.unwrap().conversations[0];
        (state.delivered.0, state.read.0)
    };
    let conversation = world
        .node
        .store
        .roster(UserId(2), world.node.now())
        .unwrap()
        .conversations[0]
        .id;
    for (delivered, read, news) in [
        (1, 0, true),
        (1, 0, false),
        (1, 1, true),
        (1, 1, false),
        (2, 1, true),
    ] {
        let message = RelayMessage::Receipt {
            conversation,
            pair: Pair::new(UserId(1), UserId(2)),
            to: UserId(2),
            user: UserId(2),
            delivered: Seq(delivered),
            read: Seq(read),
            origin: 7,
        };
        world.node.input(Input::Relayed { message }).unwrap();
        let waiting = world.node.engine.counts().marks;
        assert_eq!(waiting, usize::from(news), "{delivered} {read}");
        world.wait(Duration::from_secs(1));
        assert_eq!(at(&world), (delivered, read));
    }
}

impl World {
    fn begin_login(&mut self, text: &str) -> (parlor_core::id::StoreToken, StoreResult) {
        let connection = self.connect();
        self.node.request(connection, 1, login_of(text)).unwrap();
        let mut held = self.node.take_held();
        let (token, request) = held.remove(0);
        assert_eq!(held, []);
        let result = self.node.store.execute(request, self.node.now());
        (token, result)
    }

    fn acknowledge(&mut self, connection: ConnectionId, seq: u64) {
        self.node.request(connection, 1000, ack(1, seq)).unwrap();
        self.wait(Duration::from_secs(1));
        let request = answer_one(self);
        assert!(matches!(request, StoreRequest::Mark(_)), "{request:?}");
    }

    fn finish_login(&mut self, (token, result): (parlor_core::id::StoreToken, StoreResult)) {
        self.node.complete(token, result).unwrap();
        // Everything that it reads further.
        loop {
            let held = self.node.take_held();
            if held.is_empty() {
                return;
            }
            for (token, request) in held {
                let result = self.node.store.execute(request, self.node.now());
                self.node.complete(token, result).unwrap();
            }
        }
    }
}

#[test]
fn what_was_written_is_kept_for_logins_that_read_before_and_no_longer() {
    let mut world = World::new();
    let circle = world.circle(3);
    for text in ["one", "two", "three"] {
        world.ok(circle[0], send(user(2), text));
        world.ok(circle[0], send(user(3), &format!("c {text}")));
    }
    world.wait(Duration::from_secs(6));
    world.node.hold_store();
    let written = |world: &World| world.node.engine.counts().marks_written;
    let first = world.begin_login("a");
    let second = world.begin_login("a");
    world.acknowledge(circle[1], 1);
    world.finish_login(first);
    assert_eq!(written(&world), 1, "the second was asked before");
    world.acknowledge(circle[2], 1);
    assert_eq!(written(&world), 2);
    let third = world.begin_login("a");
    world.finish_login(second);
    assert_eq!(written(&world), 1, "the third was asked after the first");
    world.finish_login(third);
    assert_eq!(written(&world), 0);
}

#[test]
fn a_log_that_was_set_back_is_nobody_elses_affair() {
    let mut world = World::with(Config {
        verify: Duration::from_secs(60),
        ..config()
    });
    let circle = world.circle(3);
    world.ok(circle[0], send(user(2), "one"));
    for text in ["c one", "c two", "c three"] {
        world.ok(circle[0], send(user(3), text));
    }
    for connection in &circle {
        world.node.take(*connection);
    }
    world.verify_with(|heads| {
        let pair = Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap());
        for head in heads.iter_mut().filter(|head| head.place == pair) {
            head.last = Seq(0);
        }
    });
    let told: Vec<usize> = circle
        .iter()
        .map(|connection| world.events(*connection).len())
        .collect();
    assert_eq!(told, [1, 1, 0]);
}

#[test]
fn what_is_to_be_read_again_is_counted() {
    let mut world = cluster(|config| {
        config.batch = 1;
        config.verify = Duration::from_secs(60);
    });
    world.circle(3);
    world.node.hold_store();
    let count = |world: &World| world.node.engine.counts().refresh;
    // Of two conversations and three users, one each is being asked about.
    world.node.input(Input::RelayUp).unwrap();
    assert_eq!(count(&world), 1 + 2);
    for user in 1..=3 {
        world.relay(RelayMessage::Changed {
            user: UserId(user),
            version: 1000,
        });
    }
    assert_eq!(count(&world), 2 + 1 + 2);
    world.wait(Duration::from_secs(60));
    assert_eq!(count(&world), 2 + 1 + 2 + 1);
}

fn is_heads(request: &StoreRequest) -> bool {
    matches!(request, StoreRequest::Read(Read::Heads { .. }))
}

#[test]
fn conversations_are_verified_once_at_a_time() {
    let mut world = cluster(|config| {
        config.verify = Duration::from_secs(60);
        config.idle = LONG;
    });
    world.circle(2);
    world.node.hold_store();
    world.wait(Duration::from_secs(61));
    let mut held = world.node.take_held();
    held.retain(|(_, request)| is_heads(request));
    let (token, request) = held.pop().unwrap();
    world.wait(Duration::from_secs(60));
    let result = world.node.store.execute(request, world.node.now());
    world.node.complete(token, result).unwrap();
    let held = world.node.take_held();
    assert!(!held.iter().any(|(_, request)| is_heads(request)));
    world.wait(Duration::from_secs(60));
    let held = world.node.take_held();
    assert!(held.iter().any(|(_, request)| is_heads(request)));
}

#[test]
fn who_had_not_come_further_than_a_log_was_set_back_goes_on() {
    let mut world = cluster(|config| {
        config.verify = Duration::from_secs(60);
        config.outgoing = MESSAGE;
        config.write_timeout = LONG;
    });
    let circle = world.circle(2);
    said_elsewhere(&mut world, "one");
    world.node.stall(circle[1]);
    world.node.input(Input::RelayUp).unwrap();
    said_elsewhere(&mut world, "two");
    world.node.input(Input::RelayUp).unwrap();
    assert_eq!(seqs(&mut world, circle[0]), [1, 2]);
    assert_eq!(seqs(&mut world, circle[1]), [1]);
    world.verify_with(|heads| heads[0].last = Seq(1));
    assert_eq!(world.events(circle[0]).len(), 1, "a notice");
    assert_eq!(world.events(circle[1]), []);
}
