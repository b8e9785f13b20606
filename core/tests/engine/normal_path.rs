//! The normal path, whose faults a repair would hide: the repairs that work by time never run here.

use std::time::Duration;

use parlor_core::engine::{Config, Input};
use parlor_core::id::{ConnectionId, Pair, Place, Seq, UserId};
use parlor_core::log::{Body, FriendState};
use parlor_core::protocol::request::{FriendAction, GroupSelfAction, UserRef};
use parlor_core::protocol::{Event, NoticeCode, Request};
use parlor_core::relay::{Channel, RelayMessage};
use parlor_core::store::{Command, Read, StoreError, StoreRequest, StoreResponse, StoreResult};

use crate::{World, ack, config, group, name, said_elsewhere, send, user};

const LONG: Duration = Duration::from_secs(86_400);

/// A node of a cluster that neither reconciles nor verifies within a day.
fn cluster() -> World {
    World::with(Config {
        clustered: true,
        reconcile: LONG,
        reconcile_down: LONG,
        verify: LONG,
        ..config()
    })
}

/// Carries a change out as another node would: this one is not told.
fn elsewhere(world: &mut World, command: Command) -> StoreResult {
    let now = world.node.now();
    let request = StoreRequest::Command(Box::new(command));
    world.node.store.execute(request, now)
}

/// Takes where entries were published, and which.
fn entries_published(world: &mut World) -> Vec<(Channel, u64)> {
    let entry = |(channel, message)| match message {
        RelayMessage::Entry(entry) => Some((channel, entry.seq.0)),
        _ => None,
    };
    let published = std::mem::take(&mut world.node.published);
    published.into_iter().filter_map(entry).collect()
}

/// Returns the channels of users and groups that the node is subscribed to.
fn channels(world: &World) -> Vec<Channel> {
    let subscribed = world.node.subscribed.iter().copied();
    subscribed
        .filter(|channel| *channel != Channel::Nodes)
        .collect()
}

#[test]
fn nothing_is_told_before_the_commit() {
    let mut world = cluster();
    let circle = world.circle(2);
    world.node.published.clear();
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, send(user(2), "one"))
        .unwrap();
    assert_eq!(world.node.published, []);
    assert_eq!(world.node.take(circle[0]), []);
    assert_eq!(world.node.take(circle[1]), []);
    world.node.release_store().unwrap();
    assert_eq!(world.messages(circle[1]), [(user(1), 1, "one".into())]);
}

#[test]
fn nothing_is_told_of_what_the_store_refused() {
    let mut world = cluster();
    let circle = world.circle(2);
    for error in [
        StoreError::Unavailable,
        StoreError::Unknown,
        StoreError::Busy,
    ] {
        world.node.published.clear();
        world.node.hold_store();
        world
            .node
            .request(circle[0], 1000, send(user(2), "one"))
            .unwrap();
        let (token, _) = world.node.take_held().pop().unwrap();
        world.node.complete(token, Err(error.into())).unwrap();
        world.node.release_store().unwrap();
        assert_eq!(entries_published(&mut world), [], "{error:?}");
        assert_eq!(world.messages(circle[1]), [], "{error:?}");
    }
}

#[test]
fn a_commit_is_told_once_on_every_channel_that_it_concerns() {
    let mut world = cluster();
    let circle = world.circle(3);
    let id = world.group_of(&circle);
    world.node.published.clear();
    let both = [(Channel::User(UserId(1)), 1), (Channel::User(UserId(2)), 1)];
    world.ok(circle[0], send(user(2), "one"));
    assert_eq!(entries_published(&mut world), both);
    world.ok(circle[0], send(user(2), "one"));
    assert_eq!(entries_published(&mut world), [], "it was stored before");
    world.ok(circle[2], send(group(id.0), "all"));
    assert_eq!(entries_published(&mut world), [(Channel::Group(id), 4)]);
}

#[test]
fn a_version_that_rose_is_told_to_those_whose_it_is() {
    let mut world = cluster();
    world.register("a");
    world.register("b");
    let (a, _) = world.login("a");
    world.node.published.clear();
    let who = UserRef::Id(UserId(2));
    world.ok(a, Request::FriendRequest { who });
    let mut told: Vec<(Channel, UserId)> = world
        .node
        .published
        .iter()
        .filter_map(|(channel, message)| match message {
            RelayMessage::Changed { user, .. } => Some((*channel, *user)),
            _ => None,
        })
        .collect();
    told.sort_unstable();
    let own = |number| (Channel::User(UserId(number)), UserId(number));
    assert_eq!(told, [own(1), own(2)]);
}

#[test]
fn a_version_that_rose_elsewhere_has_the_roster_read_again() {
    let mut world = cluster();
    world.register("a");
    world.register("b");
    let (a, _) = world.login("a");
    world.node.take(a);
    let asked = elsewhere(
        &mut world,
        Command::FriendRequest {
            user: UserId(2),
            who: UserRef::Id(UserId(1)),
        },
    );
    let Ok(StoreResponse::Applied(applied)) = asked else {
        panic!("{asked:?}")
    };
    for (user, version) in applied.changed {
        let message = RelayMessage::Changed { user, version };
        world.node.input(Input::Relayed { message }).unwrap();
    }
    let told = Event::Friend {
        user: UserId(2),
        name: name("b"),
        state: FriendState::RequestedBy,
    };
    assert_eq!(world.events(a), [told]);
}

/// Has the only request that the store keeps fail; returns what it was.
fn fail_one(world: &mut World) -> StoreRequest {
    let mut held = world.node.take_held();
    assert_eq!(held.len(), 1, "{held:?}");
    let (token, request) = held.remove(0);
    let failed = Err(StoreError::Unavailable.into());
    world.node.complete(token, failed).unwrap();
    request
}

#[test]
fn rosters_and_heads_that_could_not_be_read_are_read_again() {
    let mut world = cluster();
    world.circle(2);
    world.wait(Duration::from_secs(1));
    world.node.hold_store();
    let message = RelayMessage::Changed {
        user: UserId(1),
        version: 1000,
    };
    for (input, rosters) in [(Input::Relayed { message }, true), (Input::RelayUp, false)] {
        world.node.input(input).unwrap();
        let asked = fail_one(&mut world);
        assert_eq!(
            matches!(asked, StoreRequest::Read(Read::Rosters(_))),
            rosters,
            "{asked:?}"
        );
        assert_eq!(world.node.take_held(), [], "not at once");
        world.wait(Duration::from_secs(1));
        let mut again = world.node.take_held();
        assert_eq!(again.len(), 1, "{again:?}");
        let (token, request) = again.remove(0);
        assert_eq!(request, asked);
        let result = world.node.store.execute(request, world.node.now());
        world.node.complete(token, result).unwrap();
    }
}

#[test]
fn what_the_relay_lost_while_it_was_away_is_found_once_it_is_back() {
    let mut world = cluster();
    let circle = world.circle(2);
    world.node.input(Input::RelayLost).unwrap();
    said_elsewhere(&mut world, "one");
    elsewhere(
        &mut world,
        Command::Friend {
            user: UserId(1),
            action: FriendAction::Remove,
            other: UserId(2),
        },
    )
    .unwrap();
    assert_eq!(world.events(circle[1]), []);
    world.node.input(Input::RelayUp).unwrap();
    let events = world.events(circle[1]);
    let message = |event: &Event| matches!(event, Event::Message(message) if message.seq == Seq(1));
    let removed = |event: &Event| {
        matches!(
            event,
            Event::Friend {
                state: FriendState::None,
                ..
            }
        )
    };
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events.iter().any(message) && events.iter().any(removed));
}

#[test]
fn channels_are_left_with_the_last_session_and_no_earlier() {
    let mut world = cluster();
    let circle = world.circle(2);
    let id = world.group_of(&circle);
    let [a, b] = [1, 2].map(|number| Channel::User(UserId(number)));
    let group = Channel::Group(id);
    assert_eq!(channels(&world), [a, b, group]);
    let (other, _) = world.login("b");
    world.node.disconnect(circle[1]).unwrap();
    world.wait(Duration::from_secs(10));
    assert_eq!(channels(&world), [a, b, group], "a session is left");
    world.node.disconnect(other).unwrap();
    assert_eq!(channels(&world), [a, b, group], "it may come back");
    world.wait(Duration::from_secs(10));
    assert_eq!(channels(&world), [a, group]);
    let (back, _) = world.login("b");
    assert_eq!(channels(&world), [a, b, group]);
    for connection in [circle[0], back] {
        world.node.disconnect(connection).unwrap();
    }
    world.wait(Duration::from_secs(10));
    assert_eq!(channels(&world), []);
}

#[test]
fn a_groups_channel_is_kept_from_its_first_member_here_to_the_last() {
    let mut world = cluster();
    let circle = world.circle(2);
    let id = world.group_of(&circle[..1]);
    let listens = |world: &World| world.node.subscribed.contains(&Channel::Group(id));
    assert!(listens(&world));
    for (connection, action, kept) in [
        (circle[1], GroupSelfAction::Join, true),
        (circle[1], GroupSelfAction::Leave, true),
        (circle[0], GroupSelfAction::Disband, false),
    ] {
        world.ok(connection, Request::GroupSelf { action, group: id });
        assert_eq!(listens(&world), kept, "{action:?}");
    }
}

#[test]
fn acknowledgements_that_the_store_did_not_take_are_written_later() {
    let mut world = cluster();
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    world.node.hold_store();
    world.ok(circle[1], ack(1, 1));
    world.wait(Duration::from_secs(1));
    let (token, request) = world.node.take_held().pop().unwrap();
    assert!(matches!(request, StoreRequest::Mark(_)), "{request:?}");
    let failed = Err(StoreError::Unavailable.into());
    world.node.complete(token, failed).unwrap();
    world.node.release_store().unwrap();
    world.wait(Duration::from_secs(1));
    let roster = world.node.store.roster(UserId(2), world.node.now());
    assert_eq!(roster.unwrap().conversations[0].delivered, Seq(1));
}

#[test]
fn a_login_shows_what_was_acknowledged_before_the_store_has_it() {
    let mut world = cluster();
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    world.ok(
        circle[1],
        Request::Ack {
            conversation: user(1),
            delivered: None,
            read: Some(Seq(1)),
        },
    );
    let shown = |world: &mut World, text| world.login(text).1.conversations[0].clone();
    let own = shown(&mut world, "b");
    assert_eq!((own.delivered, own.read), (Seq(1), Seq(1)));
    assert_eq!(shown(&mut world, "a").peer, Some((Seq(1), Seq(1))));
    let stored = world.node.store.roster(UserId(1), world.node.now());
    assert_eq!(
        stored.unwrap().conversations[0].peer,
        Some((Seq(0), Seq(0)))
    );
}

/// Lets time pass until held conversations are verified; the store then says that the log of `a` and
/// `b` ends at `last`. Returns what a connection is sent.
fn verified(last: u64) -> (World, Vec<ConnectionId>) {
    let mut world = World::with(Config {
        verify: Duration::from_secs(60),
        ..config()
    });
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    world.ok(circle[0], send(user(2), "two"));
    for connection in &circle {
        world.node.take(*connection);
    }
    world.verify_with(|heads| {
        assert_eq!(heads.len(), 1);
        heads[0].last = Seq(last);
    });
    (world, circle)
}

#[test]
fn a_log_that_was_set_back_begins_anew() {
    for (last, restored) in [(0, true), (1, true), (2, false)] {
        let (mut world, circle) = verified(last);
        for connection in circle {
            let events = world.events(connection);
            let code = |event: &Event| {
                matches!(
                    event,
                    Event::Notice {
                        code: NoticeCode::Restored,
                        retry_ms: Some(_),
                        ..
                    }
                )
            };
            assert_eq!(events.iter().any(code), restored, "{last}: {events:?}");
            assert_eq!(events.len(), usize::from(restored), "{last}: {events:?}");
        }
    }
}

#[test]
fn what_verifying_finds_is_fetched() {
    let mut world = World::with(Config {
        reconcile: LONG,
        verify: Duration::from_secs(60),
        clustered: true,
        ..config()
    });
    let circle = world.circle(2);
    said_elsewhere(&mut world, "one");
    world.wait(Duration::from_secs(59));
    assert_eq!(world.messages(circle[1]), []);
    world.wait(Duration::from_secs(2));
    assert_eq!(world.messages(circle[1]), [(user(1), 1, "one".into())]);
    assert_eq!(world.node.engine.repairs().verified, 1);
}

#[test]
fn a_session_is_told_of_an_entry_as_the_store_has_it() {
    let mut world = cluster();
    let circle = world.circle(2);
    let at = world.node.now();
    world.ok(circle[0], send(user(2), "one"));
    let events = world.events(circle[1]);
    let [Event::Message(message)] = &events[..] else {
        panic!("{events:?}")
    };
    let place = Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap());
    let entry = world.node.store.entry(place, Seq(1)).unwrap();
    assert_eq!((message.at, &message.body), (at, &entry.body));
    assert!(matches!(&message.body, Body::Text(text) if &*text.text == "one"));
}
