use std::time::Duration;

use parlor_core::engine::{Config, Misuse, Registration};
use parlor_core::id::{ConnectionId, SessionId, UserId};
use parlor_core::protocol::request::{FriendAction, UserRef};
use parlor_core::protocol::{ErrorCode, Event, NoticeCode, Reply, Request, RequestError};
use parlor_core::secret::Secret;
use parlor_core::sim::Sent;

use crate::{World, config, login_of, name, nobody, send, user};

fn notices(world: &mut World, connection: ConnectionId) -> Vec<NoticeCode> {
    world
        .events(connection)
        .into_iter()
        .filter_map(|event| match event {
            Event::Notice { code, .. } => Some(code),
            _ => None,
        })
        .collect()
}

#[test]
fn without_a_session_only_four_requests_work() {
    let mut world = World::new();
    let connection = world.connect();
    assert_eq!(
        world.ok(connection, Request::Ping),
        Reply::Pong {
            at: world.node.now()
        }
    );
    assert_eq!(
        world.ask(connection, send(user(1), "x")),
        Err(ErrorCode::NotLoggedIn)
    );
    assert_eq!(
        world.ask(connection, Request::Logout),
        Err(ErrorCode::NotLoggedIn)
    );
    let login = |password: &str| Request::Login {
        who: UserRef::Name(name("a")),
        password: Secret::new(password),
        device: None,
        start: Default::default(),
    };
    assert_eq!(
        world.ask(connection, login("password")),
        Err(ErrorCode::BadCredentials)
    );
    world.register("a");
    assert_eq!(
        world.ask(connection, login("wrong one")),
        Err(ErrorCode::BadCredentials)
    );
    world.ok(connection, login("password"));
    assert_eq!(
        world.ask(connection, login("password")),
        Err(ErrorCode::AlreadyLoggedIn)
    );
    assert_eq!(world.ok(connection, Request::Logout), Reply::Done);
    assert_eq!(
        world.ask(connection, Request::Logout),
        Err(ErrorCode::NotLoggedIn)
    );
}

#[test]
fn a_token_resumes_its_session_and_replaces_the_older_connection() {
    let mut world = World::new();
    world.register("a");
    let (first, session) = world.login("a");
    let (second, resumed) = world.resume(&session.token).unwrap();
    assert_eq!(
        (resumed.session, resumed.token),
        (session.session, session.token.clone())
    );
    assert_eq!(notices(&mut world, first), [NoticeCode::Replaced]);
    world.ok(second, Request::Logout);
    assert_eq!(world.resume(&session.token), Err(ErrorCode::TokenExpired));
    assert_eq!(
        world.resume(&Secret::new("nonsense")),
        Err(ErrorCode::TokenExpired)
    );
}

#[test]
fn the_ninth_session_ends_the_oldest() {
    let mut world = World::new();
    world.register("a");
    let sessions: Vec<_> = (0..9)
        .map(|_| {
            let login = world.login("a");
            world.wait(Duration::from_millis(1));
            login
        })
        .collect();
    assert_eq!(notices(&mut world, sessions[0].0), [NoticeCode::Replaced]);
    assert_eq!(
        world.resume(&sessions[0].1.token),
        Err(ErrorCode::TokenExpired)
    );
    for (connection, _) in &sessions[1..] {
        assert_eq!(notices(&mut world, *connection), []);
    }
}

#[test]
fn a_new_password_ends_every_other_session_and_every_old_token() {
    let mut world = World::new();
    world.register("a");
    let (first, session) = world.login("a");
    let (second, other) = world.login("a");
    let change = |old: &str| Request::Password {
        old: Secret::new(old),
        new: Secret::new("a new password"),
    };
    assert_eq!(
        world.ask(first, change("wrong")),
        Err(ErrorCode::BadCredentials)
    );
    let Reply::Token { token } = world.ok(first, change("password")) else {
        panic!()
    };
    assert_eq!(notices(&mut world, second), [NoticeCode::Ended]);
    assert_eq!(notices(&mut world, first), []);
    assert_eq!(world.resume(&other.token), Err(ErrorCode::TokenExpired));
    assert_eq!(world.resume(&session.token), Err(ErrorCode::TokenExpired));
    let (_, resumed) = world.resume(&token).unwrap();
    assert_eq!(resumed.session, session.session);
}

#[test]
fn a_deleted_account_frees_its_name_and_leaves_its_friends() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.ok(circle[1], send(user(1), "hello"));
    world.events(circle[0]);
    let delete = Request::DeleteAccount {
        password: Secret::new("password"),
    };
    assert_eq!(world.ok(circle[1], delete), Reply::Done);
    let gone = Event::Friend {
        user: UserId(2),
        name: name("b"),
        state: parlor_core::log::FriendState::None,
    };
    assert!(world.events(circle[0]).contains(&gone));
    assert_eq!(
        world.ask(circle[0], send(user(2), "x")),
        Err(ErrorCode::NoSuchUser)
    );
    assert_eq!(world.register("b"), UserId(3));
}

#[test]
fn registration_follows_the_configuration() {
    let register = |invite: Option<&str>| Request::Register {
        name: name("a"),
        password: Secret::new("password"),
        invite: invite.map(Secret::new),
    };
    let closed = Config {
        registration: Registration::Closed,
        ..config()
    };
    let mut world = World::with(closed);
    let connection = world.connect();
    assert_eq!(
        world.ask(connection, register(None)),
        Err(ErrorCode::RegistrationClosed)
    );
    // A code that stands twice is one all the same.
    let invite = Registration::Invite(["one", "three", "three"].map(Secret::new).to_vec());
    let mut world = World::with(Config {
        registration: invite,
        ..config()
    });
    let connection = world.connect();
    for wrong in [
        None,
        Some(""),
        Some("on"),
        Some("onee"),
        Some("thref"),
        Some("eno"),
    ] {
        assert_eq!(
            world.ask(connection, register(wrong)),
            Err(ErrorCode::BadInvite),
            "{wrong:?}"
        );
    }
    world.ok(connection, register(Some("three")));
}

#[test]
fn silence_and_not_logging_in_close_a_connection() {
    let mut world = World::new();
    world.register("a");
    let stranger = world.connect();
    let (a, _) = world.login("a");
    world.wait(Duration::from_secs(59));
    world.ok(stranger, Request::Ping);
    assert_eq!(notices(&mut world, stranger), []);
    world.wait(Duration::from_secs(2));
    assert_eq!(
        notices(&mut world, stranger),
        [NoticeCode::Idle],
        "pings are no login"
    );
    world.ok(a, Request::Ping);
    world.wait(Duration::from_secs(89));
    assert_eq!(notices(&mut world, a), []);
    world.wait(Duration::from_secs(2));
    assert_eq!(notices(&mut world, a), [NoticeCode::Idle]);
}

#[test]
fn rates_are_limited_and_say_when_to_go_on() {
    let mut world = World::with(Config {
        rates: Some(Default::default()),
        ..config()
    });
    let connection = world.connect();
    for id in 0..1001 {
        world.node.request(connection, id, Request::Ping).unwrap();
    }
    let sent = world.node.take(connection);
    let Some(Sent::Reply(_, Err(RequestError { code, retry_ms, .. }))) = sent.last() else {
        panic!("{:?}", sent.last())
    };
    assert_eq!((*code, *retry_ms), (ErrorCode::RateLimited, Some(5)));
    assert_eq!(
        sent.iter()
            .filter(|sent| matches!(sent, Sent::Reply(_, Ok(_))))
            .count(),
        1000
    );
    world.wait(Duration::from_millis(5));
    world.ok(connection, Request::Ping);
}

#[test]
fn a_login_whose_client_left_leaves_no_session_behind() {
    let mut world = World::new();
    world.register("a");
    let connection = world.connect();
    world.node.hold_store();
    let login = login_of("a");
    world.node.request(connection, 1, login).unwrap();
    world.node.disconnect(connection).unwrap();
    world.node.release_store().unwrap();
    let now = world.node.now();
    let roster = world.node.store.roster(UserId(1), now).unwrap();
    assert_eq!(roster.sessions, [] as [SessionId; 0]);
}

#[test]
fn changes_during_a_login_are_not_missed() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.disconnect(circle[1]).unwrap();
    world.wait(Duration::from_secs(60));
    world.ok(circle[0], Request::Ping);
    let connection = world.connect();
    world.node.hold_store();
    let login = login_of("b");
    world.node.request(connection, 1, login).unwrap();
    let (token, request) = world.node.take_held().pop().unwrap();
    let now = world.node.now();
    let result = world.node.store.execute(request, now);
    // The roster is read; before the engine learns of it, a message and a block are committed.
    world.node.release_store().unwrap();
    world.ok(circle[0], send(user(2), "in between"));
    world.ok(
        circle[0],
        Request::Friend {
            action: FriendAction::Remove,
            user: UserId(2),
        },
    );
    world.node.complete(token, result).unwrap();
    let sent = world.node.take(connection);
    assert!(
        matches!(&sent[0], Sent::Reply(_, Ok(Reply::Session(session))) if session.friends.len() == 1)
    );
    let events: Vec<String> = sent[1..]
        .iter()
        .map(|sent| match sent {
            Sent::Event(Event::Message(message)) => crate::show(&message.body),
            Sent::Event(Event::Friend { state, .. }) => state.as_str().to_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    let mut sorted = events.clone();
    sorted.sort();
    assert_eq!(sorted, ["in between", "none"]);
}

#[test]
fn a_node_forgets_who_left() {
    let mut world = World::new();
    let circle = world.circle(3);
    world.group_of(&circle);
    for connection in &circle {
        world.node.disconnect(*connection).unwrap();
    }
    world.wait(Duration::from_secs(10));
    assert_eq!(world.node.engine.counts(), nobody(2));
}

#[test]
fn the_drivers_mistakes_are_named() {
    let mut world = World::new();
    let connection = world.connect();
    let again = parlor_core::engine::Input::Connected {
        connection,
        address: None,
    };
    assert_eq!(
        world.node.input(again),
        Err(Misuse::ConnectionUsed(connection))
    );
    let unknown = ConnectionId(99);
    assert_eq!(
        world.node.request(unknown, 1, Request::Ping),
        Err(Misuse::NoConnection(unknown))
    );
    let written = parlor_core::engine::Input::Written {
        connection,
        weight: 1,
    };
    assert_eq!(
        world.node.input(written),
        Err(Misuse::TooMuchWritten(connection))
    );
}
