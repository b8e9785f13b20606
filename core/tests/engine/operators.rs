use std::time::Duration;

use parlor_core::engine::{
    Effect, Engine, Input, Misuse, Order, OrderDone, SessionHere, Step, StepKind,
};
use parlor_core::id::{OrderTicket, Pair, Place, Seq, StoreToken, UserId};
use parlor_core::protocol::request::UserRef;
use parlor_core::protocol::{ErrorCode, Event, NoticeCode, Request, RequestError};
use parlor_core::relay::{Channel, RelayMessage};
use parlor_core::secret::Secret;
use parlor_core::sim::Sent;
use parlor_core::store::{
    Command, MessageRef, StoreError, StoreRequest, StoreResponse, Supervision,
};
use parlor_core::time::Timestamp;

use crate::{World, config, login_of, name, said_elsewhere, send, user};

type Told = Result<OrderDone, RequestError>;

/// Gives an order and returns what the operator is told.
fn order(world: &mut World, order: Order) -> Told {
    let ticket = OrderTicket(7);
    world.node.input(Input::Operator { ticket, order }).unwrap();
    let mut told = std::mem::take(&mut world.node.told);
    assert_eq!(told.len(), 1, "one answer");
    let (answered, result) = told.remove(0);
    assert_eq!(answered, ticket);
    result
}

fn refused(told: Told) -> ErrorCode {
    told.unwrap_err().code
}

fn supervised(number: u64, ended: usize) -> Told {
    let user = UserId(number);
    Ok(OrderDone::Supervised { user, ended })
}

fn ended(sentence: &'static str) -> Vec<Sent> {
    let notice = Event::Notice {
        code: NoticeCode::Ended,
        message: sentence.into(),
        retry_ms: None,
    };
    vec![Sent::Event(notice), Sent::Closed]
}

fn ann() -> UserRef {
    UserRef::Id(UserId(1))
}

#[test]
fn sessions_end_here_at_once_and_other_nodes_are_told() {
    let mut world = World::cluster();
    world.register("a");
    let [(first, reply), (second, _)] = [(), ()].map(|()| world.login("a"));
    for connection in [first, second] {
        world.node.take(connection);
    }
    world.node.published.clear();
    let told = order(&mut world, Order::EndSessions(ann()));
    assert_eq!(told, supervised(1, 2));
    for connection in [first, second] {
        let expected = ended("an operator ended the session");
        assert_eq!(world.node.take(connection), expected);
    }
    let changed = RelayMessage::Changed {
        user: UserId(1),
        version: 4,
    };
    let to_nodes = (Channel::User(UserId(1)), changed);
    assert_eq!(world.node.published, [to_nodes]);
    assert_eq!(
        world.resume(&reply.token).unwrap_err(),
        ErrorCode::TokenExpired
    );
    let again = order(&mut world, Order::EndSessions(UserRef::Name(name("A"))));
    assert_eq!(again, supervised(1, 0));
}

#[test]
fn what_an_operator_did_elsewhere_ends_sessions_here() {
    let mut world = World::cluster();
    world.register("a");
    let (connection, _) = world.login("a");
    world.node.take(connection);
    let command = Command::Supervise {
        who: ann(),
        action: Supervision::Lock,
    };
    let request = StoreRequest::Command(Box::new(command));
    let now = world.node.now();
    let result = world.node.store.execute(request, now).unwrap();
    let StoreResponse::Applied(applied) = result else {
        panic!("{result:?}")
    };
    let (user, version) = applied.changed[0];
    world.relay(RelayMessage::Changed { user, version });
    let sent = world.node.take(connection);
    assert_eq!(sent.last(), Some(&Sent::Closed), "{sent:?}");
}

#[test]
fn a_locked_account_lets_nobody_in_until_it_is_unlocked() {
    let mut world = World::new();
    world.register("a");
    let (connection, _) = world.login("a");
    world.node.take(connection);
    assert_eq!(order(&mut world, Order::Lock(ann())), supervised(1, 1));
    let expected = ended("an operator locked the account");
    assert_eq!(world.node.take(connection), expected);
    let other = world.connect();
    assert_eq!(world.ask(other, login_of("a")), Err(ErrorCode::Locked));
    assert_eq!(order(&mut world, Order::Unlock(ann())), supervised(1, 0));
    world.ok(other, login_of("a"));
}

#[test]
fn a_session_with_the_new_password_outlives_the_answer_to_the_reset() {
    let mut world = World::new();
    world.register("a");
    let (old, _) = world.login("a");
    world.node.take(old);
    world.node.hold_store();
    let ticket = OrderTicket(1);
    let password = Secret::new("new password");
    let reset = Order::ResetPassword {
        who: ann(),
        password: password.clone(),
    };
    let input = Input::Operator {
        ticket,
        order: reset,
    };
    world.node.input(input).unwrap();
    let (token, request) = world.node.take_held().remove(0);
    let now = world.node.now();
    let result = world.node.store.execute(request, now);
    world.node.release_store().unwrap();
    let fresh = world.connect();
    let login = Request::Login {
        who: ann(),
        password,
        device: None,
        start: Default::default(),
    };
    world.ok(fresh, login);
    world.node.complete(token, result).unwrap();
    assert_eq!(world.node.told, [(ticket, supervised(1, 1))]);
    assert_eq!(world.node.take(old).last(), Some(&Sent::Closed));
    assert_eq!(world.node.take(fresh), []);
    let connection = world.connect();
    let refused = world.ask(connection, login_of("a"));
    assert_eq!(refused, Err(ErrorCode::BadCredentials), "the old password");
}

#[test]
fn an_announcement_reaches_every_session_and_closes_none() {
    let mut world = World::new();
    let circle = world.circle(2);
    let anonymous = world.connect();
    let told = order(&mut world, Order::Announce("maintenance at noon".into()));
    assert_eq!(told, Ok(OrderDone::Announced { connections: 2 }));
    let notice = Event::Notice {
        code: NoticeCode::Announcement,
        message: "maintenance at noon".into(),
        retry_ms: None,
    };
    for connection in circle {
        let sent = world.node.take(connection);
        assert_eq!(sent, [Sent::Event(notice.clone())]);
        world.ok(connection, Request::Ping);
    }
    assert_eq!(world.node.take(anonymous), []);
}

#[test]
fn who_accepts_nothing_is_sent_announcements_up_to_a_limit() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.stall(circle[0]);
    let text = "x".repeat(100_000);
    let mut told = Vec::new();
    for _ in 0..12 {
        match order(&mut world, Order::Announce(text.as_str().into())) {
            Ok(OrderDone::Announced { connections }) => told.push(connections),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1], "at most 1 MiB");
}

#[test]
fn sessions_are_listed_in_pages() {
    let mut world = World::new();
    let circle = world.circle(3);
    world.connect();
    let page =
        |world: &mut World, after, limit| match order(world, Order::Sessions { after, limit }) {
            Ok(OrderDone::Sessions { sessions, more }) => (sessions, more),
            other => panic!("{other:?}"),
        };
    let (all, more) = page(&mut world, None, 3);
    assert!(!more);
    let users: Vec<_> = all.iter().map(|it| (it.connection, it.user.0)).collect();
    assert_eq!(users, [(circle[0], 1), (circle[1], 2), (circle[2], 3)]);
    assert_eq!(page(&mut world, None, 2), (all[..2].to_vec(), true));
    let rest = page(&mut world, Some(circle[1]), 2);
    assert_eq!(rest, (all[2..].to_vec(), false));
}

#[test]
fn an_account_is_shown_with_its_sessions_here() {
    let mut world = World::new();
    world.register("a");
    let (gone, _) = world.login("a");
    world.node.disconnect(gone).unwrap();
    let (connection, reply) = world.login("a");
    let told = order(&mut world, Order::Account(UserRef::Name(name("A"))));
    let Ok(OrderDone::Account { account, here }) = told else {
        panic!("{told:?}")
    };
    assert_eq!(account.sessions.len(), 2);
    let expected = SessionHere {
        connection,
        session: reply.session,
        user: UserId(1),
        name: name("a"),
        since: world.node.now(),
        behind: false,
    };
    assert_eq!(here, [expected]);
    let nobody = Order::Account(UserRef::Id(UserId(9)));
    assert_eq!(refused(order(&mut world, nobody)), ErrorCode::NoSuchUser);
}

fn way(world: &mut World, seq: u64) -> Vec<StepKind> {
    let place = Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap());
    let seq = Seq(seq);
    let message = MessageRef::Entry { place, seq };
    match order(world, Order::Message(message)) {
        Ok(OrderDone::Message { entry, steps }) => {
            assert_eq!((entry.place, entry.seq), (place, seq));
            steps.into_iter().map(|Step { what, .. }| what).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_is_followed_to_the_sessions_that_got_it() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    let session = |world: &mut World, connection| {
        let order = order(
            world,
            Order::Sessions {
                after: None,
                limit: 9,
            },
        );
        let Ok(OrderDone::Sessions { sessions, .. }) = order else {
            panic!("{order:?}")
        };
        let found = sessions.iter().find(|it| it.connection == connection);
        found.map(|it| (it.user, it.session))
    };
    let sessions = [circle[0], circle[1]].map(|it| session(&mut world, it));
    world.ok(circle[0], send(user(2), "one"));
    let pushed = |index: usize| StepKind::Pushed {
        connection: circle[index],
        session: sessions[index],
    };
    let expected = [StepKind::Stored, StepKind::Published, pushed(0), pushed(1)];
    assert_eq!(way(&mut world, 1), expected);
    // The connection goes on with another session, which is sent what nobody acknowledged, and then
    // ends.
    world.ok(circle[1], Request::Logout);
    world.ok(circle[1], login_of("b"));
    let again = StepKind::Pushed {
        connection: circle[1],
        session: session(&mut world, circle[1]),
    };
    let expected = [&expected[..], &[again]].concat();
    assert_eq!(way(&mut world, 1), expected);
    world.node.disconnect(circle[1]).unwrap();
    assert_eq!(way(&mut world, 1), expected);
}

#[test]
fn without_the_relay_a_message_is_withheld_from_other_nodes() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    world.node.input(Input::RelayLost).unwrap();
    world.ok(circle[0], send(user(2), "one"));
    assert_eq!(
        way(&mut world, 1)[..2],
        [StepKind::Stored, StepKind::Withheld]
    );
    world.node.input(Input::RelayUp).unwrap();
    let entry = said_elsewhere(&mut world, "two");
    world.relay(RelayMessage::Entry(entry));
    let steps = way(&mut world, 2);
    assert_eq!((steps[0], steps.len()), (StepKind::Relayed, 3), "{steps:?}");
}

#[test]
fn what_is_remembered_has_a_bound() {
    let mut config = config();
    config.trail = 6;
    let mut world = World::with(config);
    let circle = world.circle(2);
    for text in ["one", "two", "three"] {
        world.ok(circle[0], send(user(2), text));
    }
    assert_eq!(way(&mut world, 1), []);
    assert_eq!(way(&mut world, 3).len(), 3);
    let nobody = MessageRef::Entry {
        place: Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap()),
        seq: Seq(4),
    };
    let told = order(&mut world, Order::Message(nobody));
    assert_eq!(refused(told), ErrorCode::NoSuchMessage);
}

#[test]
fn a_store_that_fails_is_said_to() {
    let mut world = World::new();
    world.node.hold_store();
    let ticket = OrderTicket(1);
    let order = Order::Lock(ann());
    world.node.input(Input::Operator { ticket, order }).unwrap();
    let held = world.node.take_held();
    let (token, _) = *held.last().unwrap();
    let failed = Err(StoreError::Unavailable.into());
    world.node.complete(token, failed).unwrap();
    let (_, told) = world.node.told.pop().unwrap();
    assert_eq!(refused(told), ErrorCode::Unavailable);
}

#[test]
fn an_order_that_nothing_may_be_asked_for_is_busy() {
    let mut config = config();
    config.store_requests = 0;
    let mut engine = Engine::new(config, Timestamp(1));
    while engine.poll_effect().is_some() {}
    let ticket = OrderTicket(1);
    let order = Order::Lock(ann());
    let input = Input::Operator { ticket, order };
    engine.handle(input, Timestamp(1)).unwrap();
    let Some(Effect::Told { result, .. }) = engine.poll_effect() else {
        panic!("no answer")
    };
    let error = result.unwrap_err();
    assert_eq!(error.code, ErrorCode::Busy);
    assert!(error.retry_ms.is_some());
}

#[test]
fn a_completion_of_another_kind_is_a_mistake_of_the_driver() {
    let mut world = World::new();
    world.node.hold_store();
    let ticket = OrderTicket(1);
    let order = Order::Lock(ann());
    world.node.input(Input::Operator { ticket, order }).unwrap();
    let (token, _): (StoreToken, _) = world.node.take_held().pop().unwrap();
    let marked = world.node.complete(token, Ok(StoreResponse::Marked));
    assert_eq!(marked, Err(Misuse::WrongCompletion(token)));
}

fn count(waits: parlor_core::engine::Waits) -> u64 {
    waits.counts.iter().sum()
}

#[test]
fn commits_and_arrivals_are_timed() {
    let mut world = World::new();
    let circle = world.circle(2);
    let before = world.node.engine.tally().clone();
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1, send(user(2), "one"))
        .unwrap();
    world.wait(Duration::from_millis(300));
    let (token, request) = world.node.take_held().remove(0);
    // The database commits, and says so 200 ms later.
    let committed = world.node.now();
    let result = world.node.store.execute(request, committed);
    world.wait(Duration::from_millis(200));
    world.node.complete(token, result).unwrap();
    let tally = world.node.engine.tally();
    let commits = tally.commits.sum - before.commits.sum;
    assert_eq!(commits, Duration::from_millis(500));
    assert_eq!(count(tally.commits) - count(before.commits), 1);
    let arrivals = tally.arrivals.sum - before.arrivals.sum;
    assert_eq!(arrivals, Duration::from_millis(400), "200 to each of two");
    assert_eq!(count(tally.arrivals) - count(before.arrivals), 2);
}

#[test]
fn what_was_missed_while_away_counts_as_no_late_arrival() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.disconnect(circle[1]).unwrap();
    world.ok(circle[0], send(user(2), "one"));
    world.wait(Duration::from_secs(100));
    let before = world.node.engine.tally().clone();
    let (connection, _) = world.login("b");
    assert_eq!(world.messages(connection).len(), 1);
    let tally = world.node.engine.tally();
    assert_eq!(tally.arrivals, before.arrivals);
    assert_eq!(tally.pushes, before.pushes + 1);
}

#[test]
fn an_order_shows_no_password() {
    let order = Order::ResetPassword {
        who: UserRef::Id(UserId(1)),
        password: Secret::new("open sesame"),
    };
    assert!(!format!("{order:?}").contains("sesame"));
}
