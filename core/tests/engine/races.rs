//! Answers of the store that arrive late, or in another order than they were committed in.

use std::time::Duration;

use parlor_core::id::{ConnectionId, Seq, StoreToken, UserId};
use parlor_core::protocol::reply::SessionReply;
use parlor_core::protocol::request::{FriendAction, GroupOtherAction, UserRef};
use parlor_core::protocol::{ErrorCode, Event, NoticeCode, Reply, Request};
use parlor_core::relay::RelayMessage;
use parlor_core::sim::Sent;
use parlor_core::store::{Read, StoreRequest, StoreResponse, StoreResult};
use parlor_core::time::Timestamp;

use crate::{World, ack, config, group, login_of, name, send, user};

fn befriend(text: &str) -> Request {
    Request::FriendRequest {
        who: UserRef::Name(name(text)),
    }
}

impl World {
    /// Has the held store carry out its only request, without saying so.
    fn carry_out(&mut self) -> (StoreToken, StoreResult) {
        let mut held = self.node.take_held();
        assert_eq!(held.len(), 1, "{held:?}");
        let (token, request) = held.remove(0);
        let now = self.node.now();
        (token, self.node.store.execute(request, now))
    }

    fn say(&mut self, (token, result): (StoreToken, StoreResult)) {
        self.node.complete(token, result).unwrap();
    }

    fn begin(&mut self, request: Request) -> ConnectionId {
        let connection = self.connect();
        self.node.request(connection, 1, request).unwrap();
        connection
    }
}

fn closed(sent: &[Sent]) -> bool {
    sent.contains(&Sent::Closed)
}

#[test]
fn a_roster_older_than_the_known_one_is_read_again() {
    let mut world = World::new();
    for text in ["a", "b", "c"] {
        world.register(text);
    }
    let (first, session) = world.login("a");
    let (b, _) = world.login("b");
    world.node.hold_store();
    let token = session.token.clone();
    let resumed = world.begin(Request::Resume {
        token,
        start: Default::default(),
    });
    let oldest = world.carry_out();
    // A version later, a roster is read for the first session; its answer is late as well.
    world.node.request(b, 1000, befriend("a")).unwrap();
    let change = world.carry_out();
    world.say(change);
    let mut reads = world.node.take_held();
    assert!(matches!(reads[0].1, StoreRequest::Read(_)), "{reads:?}");
    let (token, request) = reads.remove(0);
    let now = world.node.now();
    let older = (token, world.node.store.execute(request, now));
    // Two versions later, another session begins and is answered at once.
    let other = world.begin(login_of("a"));
    let newest = world.carry_out();
    world.say(newest);
    assert!(!closed(&world.node.take(other)));
    world.say(oldest);
    world.say(older);
    world.node.release_store().unwrap();
    assert!(!closed(&world.node.take(other)), "it was not replaced");
    assert!(closed(&world.node.take(first)), "it was resumed");
    let sent = world.node.take(resumed);
    let Some(Sent::Reply(_, Ok(Reply::Session(session)))) = sent.first() else {
        panic!("{sent:?}")
    };
    assert_eq!(session.requests[0].user, UserId(2), "it is up to date");
}

#[test]
fn a_resumed_session_that_ended_meanwhile_is_said_to_be_expired() {
    let mut world = World::new();
    world.register("a");
    let (first, session) = world.login("a");
    world.login("a");
    world.node.hold_store();
    let token = session.token;
    let resumed = world.begin(Request::Resume {
        token,
        start: Default::default(),
    });
    let late = world.carry_out();
    world.node.release_store().unwrap();
    world.ok(first, Request::Logout);
    world.say(late);
    let sent = world.node.take(resumed);
    let [Sent::Reply(_, Err(error))] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(error.code, ErrorCode::TokenExpired);
}

#[test]
fn a_session_that_others_replaced_before_it_was_answered_ends_at_once() {
    let mut world = World::new();
    world.register("a");
    world.node.hold_store();
    let first = world.begin(login_of("a"));
    let mut answer = world.carry_out();
    let others: Vec<_> = (0..8).map(|_| world.begin(login_of("a"))).collect();
    // Whoever shares a read of the roster gets the newest, and no news of what came before.
    let newest = world.node.take_held().into_iter().map(|(token, request)| {
        let now = world.node.now();
        (token, world.node.store.execute(request, now))
    });
    let newest: Vec<_> = newest.collect();
    let (Some((_, Ok(StoreResponse::Session(last)))), (_, Ok(StoreResponse::Session(late)))) =
        (newest.last(), &mut answer)
    else {
        panic!("{newest:?} {answer:?}")
    };
    late.roster = last.roster.clone();
    world.say(answer);
    let sent = world.node.take(first);
    assert!(
        matches!(
            sent[..],
            [
                Sent::Reply(_, Ok(Reply::Session(_))),
                Sent::Event(Event::Notice {
                    code: NoticeCode::Replaced,
                    ..
                }),
                Sent::Closed
            ]
        ),
        "{sent:?}"
    );
    newest.into_iter().for_each(|answer| world.say(answer));
    for connection in others {
        assert!(!closed(&world.node.take(connection)), "{connection:?}");
    }
}

#[test]
fn a_login_whose_session_others_replaced_may_be_tried_again() {
    let mut world = World::new();
    world.register("a");
    world.node.hold_store();
    let first = world.begin(login_of("a"));
    let late = world.carry_out();
    let others: Vec<_> = (0..8).map(|_| world.begin(login_of("a"))).collect();
    world.node.release_store().unwrap();
    for connection in others {
        assert!(!closed(&world.node.take(connection)), "{connection:?}");
    }
    // Its roster is older than what the others brought: it is read again, for a session that the
    // store does not have any more.
    world.say(late);
    let sent = world.node.take(first);
    let [Sent::Reply(_, Err(error))] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(error.code, ErrorCode::Busy);
    assert!(error.retry_ms.is_some());
}

#[test]
fn nodes_agree_on_the_later_of_two_resumes_whatever_their_clocks_say() {
    let ahead = Duration::from_secs(3600);
    let mut first = World::cluster();
    first.register("a");
    let (_, session) = first.login("a");
    let mut second = World::cluster();
    second.register("a");
    assert_eq!(second.login("a").1.session, session.session);
    let database = first.node.now();
    first.wait(ahead);
    // On one node the client asks and gives up after 300 ms; then it asks on the other, which
    // answers at once. The database comes to both in the same millisecond.
    let (earlier, first_told) = resume_at(&mut first, &session, database, 300);
    let (later, second_told) = resume_at(&mut second, &session, database, 0);
    assert_eq!(
        [first_told.clone(), second_told.clone()],
        [300, 0].map(|waited| RelayMessage::Resumed {
            user: UserId(1),
            session: session.session,
            at: database - Duration::from_millis(waited),
        })
    );
    second.relay(first_told);
    assert!(!closed(&second.node.take(later)));
    // Neither is certainly the older one: the client alone knows, and has closed it.
    first.relay(second_told.clone());
    assert!(!closed(&first.node.take(earlier)));
    let RelayMessage::Resumed { user, session, at } = second_told else {
        panic!("{second_told:?}")
    };
    let at = at + Duration::from_millis(1);
    first.relay(RelayMessage::Resumed { user, session, at });
    assert!(closed(&first.node.take(earlier)));
}

/// Resumes a session when the database's clock stands at a moment; the answer reaches the node
/// some milliseconds after the client asked. Returns what the other nodes are told.
fn resume_at(
    world: &mut World,
    session: &SessionReply,
    database: Timestamp,
    waited: u64,
) -> (ConnectionId, RelayMessage) {
    world.node.published.clear();
    world.node.hold_store();
    let connection = world.begin(Request::Resume {
        token: session.token.clone(),
        start: Default::default(),
    });
    world.wait(Duration::from_millis(waited));
    for (token, request) in world.node.take_held() {
        let answer = world.node.store.execute(request, database);
        world.say((token, answer));
    }
    world.node.release_store().unwrap();
    let resumed = world
        .node
        .published
        .iter()
        .map(|(_, message)| message)
        .find(|message| matches!(message, RelayMessage::Resumed { .. }));
    let resumed = resumed.cloned().unwrap();
    (connection, resumed)
}

#[test]
fn what_was_acknowledged_is_not_replayed_from_an_older_roster() {
    let mut world = World::new();
    let circle = world.circle(3);
    world.wait(Duration::from_secs(1));
    world.ok(circle[0], send(user(2), "to b"));
    world.ok(circle[0], send(user(3), "to c"));
    world.node.hold_store();
    let late = world.begin(login_of("b"));
    let stale = world.carry_out();
    for (index, connection) in circle[1..].iter().enumerate() {
        world.node.request(*connection, 1000, ack(1, 1)).unwrap();
        world.wait(Duration::from_secs(1));
        let written = world.node.take_held();
        assert_eq!(written.len(), 1, "{index}: {written:?}");
        for (token, request) in written {
            let now = world.node.now();
            let result = world.node.store.execute(request, now);
            world.say((token, result));
        }
    }
    world.say(stale);
    world.node.release_store().unwrap();
    assert_eq!(world.messages(late), []);
}

#[test]
fn positions_are_written_as_soon_as_a_session_leaves() {
    let mut world = World::with(parlor_core::engine::Config {
        mark_interval: Duration::from_secs(3600),
        ..config()
    });
    let circle = world.circle(2);
    world.login("b");
    world.ok(circle[0], send(user(2), "one"));
    world.ok(circle[1], ack(1, 1));
    world.ok(circle[0], ack(2, 1));
    world.node.hold_store();
    world.node.disconnect(circle[1]).unwrap();
    let first = world.carry_out();
    assert!(first.1.is_ok());
    world.node.release_store().unwrap();
    world.ok(circle[0], send(user(2), "two"));
    world.ok(circle[0], ack(2, 2));
    world.node.hold_store();
    world.node.disconnect(circle[0]).unwrap();
    assert_eq!(
        world.node.take_held().len(),
        0,
        "the first is being written"
    );
    world.say(first);
    let second = world.carry_out();
    world.say(second);
    assert_eq!(world.node.engine.counts().marks, 0);
}

#[test]
fn who_becomes_a_friend_during_a_login_is_seen_online() {
    let mut world = World::new();
    world.register("a");
    world.register("b");
    let (a, _) = world.login("a");
    let (b, _) = world.login("b");
    world.ok(b, befriend("a"));
    world.node.disconnect(b).unwrap();
    world.wait(Duration::from_secs(10));
    world.node.hold_store();
    let b = world.begin(login_of("b"));
    let late = world.carry_out();
    world.node.release_store().unwrap();
    world.events(a);
    let accept = Request::Friend {
        action: FriendAction::Accept,
        user: UserId(2),
    };
    world.ok(a, accept);
    world.say(late);
    let online = |number| Event::Presence {
        user: UserId(number),
        online: true,
    };
    let told = world.events(a);
    assert_eq!(told.last(), Some(&online(2)), "{told:?}");
    assert!(world.events(b).contains(&online(1)));
}

#[test]
fn a_text_whose_recall_is_known_is_not_pushed() {
    let mut world = World::new();
    let circle = world.circle(2);
    let (other, _) = world.login("a");
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, send(user(2), "secret"))
        .unwrap();
    let sent = world.carry_out();
    let recall = Request::Recall {
        conversation: user(2),
        seq: Seq(1),
    };
    world.node.request(other, 1000, recall).unwrap();
    let recalled = world.carry_out();
    world.say(recalled);
    world.say(sent);
    assert_eq!(world.messages(circle[1]), []);
    world.node.release_store().unwrap();
    let texts: Vec<String> = world
        .messages(circle[1])
        .into_iter()
        .map(|(_, _, text)| text)
        .collect();
    assert_eq!(texts, ["recalled", "recall 1"]);
}

#[test]
fn a_roster_read_before_a_removal_does_not_bring_the_group_back() {
    let mut world = World::new();
    let circle = world.circle(3);
    let id = world.group_of(&circle);
    world.node.hold_store();
    world.node.request(circle[2], 1000, befriend("b")).unwrap();
    let asked = world.carry_out();
    world.say(asked);
    let stale = world.node.take_held();
    assert!(
        matches!(&stale[..], [(_, StoreRequest::Read(Read::Rosters(users)))] if users.contains(&UserId(2))),
        "{stale:?}"
    );
    let now = world.node.now();
    let stale: Vec<_> = stale
        .into_iter()
        .map(|(token, request)| (token, world.node.store.execute(request, now)))
        .collect();
    let remove = Request::GroupOther {
        action: GroupOtherAction::Remove,
        group: id,
        user: UserId(2),
    };
    world.node.request(circle[0], 1000, remove).unwrap();
    let removed = world.carry_out();
    world.say(removed);
    assert_eq!(
        world.messages(circle[1]),
        [(group(id.0), 4, "removed 2".into())]
    );
    for answer in stale {
        world.say(answer);
    }
    world.node.release_store().unwrap();
    world.node.take(circle[0]);
    world.ok(circle[0], send(group(id.0), "without b"));
    assert_eq!(world.messages(circle[1]), []);
}

#[test]
fn a_message_between_new_friends_overtakes_their_rosters_and_is_not_lost() {
    let mut world = World::new();
    for text in ["a", "b"] {
        world.register(text);
    }
    let (a, _) = world.login("a");
    let (b, _) = world.login("b");
    world.ok(b, befriend("a"));
    world.node.hold_store();
    let accept = Request::Friend {
        action: FriendAction::Accept,
        user: UserId(2),
    };
    world.node.request(a, 1000, accept).unwrap();
    let accepted = world.carry_out();
    world.say(accepted);
    // Both rosters are read before the message is committed, and known after it.
    let rosters = world.carry_out();
    world.node.request(a, 1001, send(user(2), "hello")).unwrap();
    let sent = world.carry_out();
    world.say(sent);
    world.say(rosters);
    world.node.release_store().unwrap();
    for (connection, with) in [(a, 2), (b, 1)] {
        let messages = world.messages(connection);
        assert_eq!(messages, [(user(with), 1, "hello".into())]);
    }
}

#[test]
fn a_resume_that_is_answered_late_does_not_replace_a_later_one() {
    let mut world = World::new();
    world.register("a");
    let (first, session) = world.login("a");
    world.node.disconnect(first).unwrap();
    world.node.hold_store();
    let resume = |world: &mut World| {
        let connection = world.connect();
        let request = Request::Resume {
            token: session.token.clone(),
            start: Default::default(),
        };
        world.node.request(connection, 1, request).unwrap();
        connection
    };
    // The client gives a connection up that this node takes to be there still.
    let older = resume(&mut world);
    let late = world.carry_out();
    world.wait(Duration::from_secs(2));
    let newer = resume(&mut world);
    world.node.release_store().unwrap();
    assert!(matches!(
        world.node.take(newer)[..],
        [Sent::Reply(_, Ok(_))]
    ));
    world.say(late);
    let code = |sent: &Sent| match sent {
        Sent::Event(Event::Notice { code, .. }) => Some(*code),
        _ => None,
    };
    let told: Vec<_> = world.node.take(older).iter().map(code).collect();
    assert_eq!(told, [Some(NoticeCode::Replaced), None], "and closed");
    assert_eq!(world.node.take(newer), []);
    world.ok(newer, Request::Ping);
}
