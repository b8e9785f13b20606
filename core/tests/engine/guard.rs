//! Guesses of passwords, accounts made in numbers, and crowds of connections, by where they come from.

use std::net::IpAddr;
use std::time::Duration;

use parlor_core::engine::{Allowance, Config, LoginGuard, Rate, Rates};
use parlor_core::id::{ConnectionId, UserId};
use parlor_core::protocol::request::{Start, UserRef};
use parlor_core::protocol::{ErrorCode, Event, NoticeCode, Reply, Request, RequestError};
use parlor_core::secret::Secret;
use parlor_core::sim::Sent;
use parlor_core::store::{StoreError, StoreFailure};

use crate::{World, config, name};

const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.7";

const fn allowance(failures: u32, seconds: u64) -> Allowance {
    Allowance {
        failures,
        delay: Duration::from_secs(seconds),
        most_delay: Duration::from_secs(60),
    }
}

/// Two failures are free for a pair, four for an address, six for an account.
fn guarded() -> World {
    let plenty = Rate::per_second(1000, 1000);
    let mut world = World::with(Config {
        rates: Some(Rates {
            requests: plenty,
            logins: plenty,
            sends: plenty,
            registrations: plenty,
            guard: LoginGuard {
                pair: allowance(2, 1),
                address: allowance(4, 10),
                account: allowance(6, 30),
                forget: Duration::from_secs(100),
                entries: 1000,
            },
        }),
        ..config()
    });
    for letter in ["a", "b", "c", "d"] {
        world.register(letter);
    }
    world
}

fn from(world: &mut World, address: &str) -> ConnectionId {
    let address: IpAddr = address.parse().unwrap();
    world.node.connect_from(Some(address)).unwrap()
}

fn login(who: UserRef, password: &str) -> Request {
    Request::Login {
        who,
        password: Secret::new(password),
        device: None,
        start: Start::default(),
    }
}

fn named(text: &str) -> UserRef {
    UserRef::Name(name(text))
}

/// Logs in from somewhere, and disconnects; the error's code and the time to wait.
fn try_login(
    world: &mut World,
    address: &str,
    who: UserRef,
    password: &str,
) -> Result<Reply, (ErrorCode, Option<u64>)> {
    let connection = from(world, address);
    let request = login(who, password);
    world.node.request(connection, 1, request).unwrap();
    let sent = world.node.take(connection);
    world.node.disconnect(connection).unwrap();
    match sent.into_iter().next() {
        Some(Sent::Reply(_, result)) => {
            result.map_err(|RequestError { code, retry_ms, .. }| (code, retry_ms))
        }
        other => panic!("{other:?}"),
    }
}

fn wrong(world: &mut World, address: &str, who: &str) -> (ErrorCode, Option<u64>) {
    try_login(world, address, named(who), "wrong password").unwrap_err()
}

const WRONG: (ErrorCode, Option<u64>) = (ErrorCode::BadCredentials, None);

const fn wait(ms: u64) -> (ErrorCode, Option<u64>) {
    (ErrorCode::RateLimited, Some(ms))
}

#[test]
fn guesses_at_one_account_from_one_address_become_slower() {
    let mut world = guarded();
    assert_eq!(wrong(&mut world, HOME, "a"), WRONG);
    assert_eq!(wrong(&mut world, HOME, "A"), WRONG, "the same name");
    assert_eq!(wrong(&mut world, HOME, "a"), wait(1000));
    world.wait(Duration::from_millis(400));
    assert_eq!(wrong(&mut world, HOME, "a"), wait(600));
    world.wait(Duration::from_millis(600));
    assert_eq!(wrong(&mut world, HOME, "a"), WRONG);
    let right = try_login(&mut world, HOME, named("a"), "password");
    assert_eq!(right, Err(wait(2000)), "the right one has to wait as well");
    assert_eq!(
        wrong(&mut world, HOME, "b"),
        WRONG,
        "another account does not"
    );
    // That was the fourth from this address, which costs more.
    world.wait(Duration::from_secs(10));
    try_login(&mut world, HOME, named("a"), "password").unwrap();
    assert_eq!(wrong(&mut world, HOME, "a"), WRONG, "forgiven");
    assert_eq!(wrong(&mut world, HOME, "a"), WRONG);
    assert_eq!(wrong(&mut world, HOME, "a"), wait(1000));
}

#[test]
fn guesses_at_many_accounts_from_one_address_become_slower() {
    let mut world = guarded();
    try_login(&mut world, HOME, named("d"), "password").unwrap();
    for unknown in ["p", "q", "r", "s"] {
        assert_eq!(wrong(&mut world, HOME, unknown), WRONG);
    }
    assert_eq!(wrong(&mut world, HOME, "a"), wait(10_000));
    assert_eq!(wrong(&mut world, ELSEWHERE, "a"), WRONG, "not from there");
    try_login(&mut world, HOME, named("d"), "password").unwrap();
    world.wait(Duration::from_secs(10));
    try_login(&mut world, HOME, named("a"), "password").unwrap();
}

#[test]
fn whoever_attacks_an_account_from_everywhere_does_not_lock_its_owner_out() {
    let mut world = guarded();
    try_login(&mut world, HOME, named("a"), "password").unwrap();
    for last in 1..=6 {
        let address = format!("203.0.113.{last}");
        assert_eq!(wrong(&mut world, &address, "a"), WRONG);
    }
    assert_eq!(wrong(&mut world, ELSEWHERE, "a"), wait(30_000));
    let session = try_login(&mut world, HOME, named("a"), "password").unwrap();
    let Reply::Session(session) = session else {
        panic!("{session:?}")
    };
    let connection = from(&mut world, ELSEWHERE);
    let resume = Request::Resume {
        token: session.token.clone(),
        start: Start::default(),
    };
    world.ok(connection, resume);
    // From home, failures for the account are counted all the same.
    assert_eq!(wrong(&mut world, HOME, "a"), WRONG);
    assert_eq!(wrong(&mut world, HOME, "a"), WRONG);
    assert_eq!(wrong(&mut world, HOME, "a"), wait(1000));
    world.wait(Duration::from_secs(30));
    try_login(&mut world, ELSEWHERE, named("a"), "password").unwrap();
}

#[test]
fn failures_are_forgotten_in_the_end() {
    let mut world = guarded();
    for _ in 0..2 {
        wrong(&mut world, HOME, "a");
    }
    world.wait(Duration::from_secs(100));
    assert_eq!(wrong(&mut world, HOME, "a"), WRONG);
    assert_eq!(wrong(&mut world, HOME, "a"), WRONG);
    assert_eq!(wrong(&mut world, HOME, "a"), wait(1000));
}

#[test]
fn many_tries_at_once_are_no_way_around() {
    let mut world = guarded();
    world.node.hold_store();
    let connections: Vec<ConnectionId> = (0..5).map(|_| from(&mut world, HOME)).collect();
    for connection in &connections {
        let request = login(named("a"), "wrong password");
        world.node.request(*connection, 1, request).unwrap();
    }
    let held = world.node.take_held();
    assert_eq!(held.len(), 2, "the others were refused at once");
    assert_eq!(world.node.engine.counts().tries, 2);
    for (connection, refused) in connections.iter().zip([false, false, true, true, true]) {
        let sent = world.node.take(*connection);
        assert_eq!(!sent.is_empty(), refused, "{sent:?}");
    }
    // What the store could not look at was no guess.
    for (token, _) in held {
        let failed = Err(StoreFailure::Failed(StoreError::Unavailable));
        world.node.complete(token, failed).unwrap();
    }
    world.node.release_store().unwrap();
    assert_eq!(world.node.engine.counts().tries, 0);
    assert_eq!(wrong(&mut world, HOME, "a"), WRONG);
    assert_eq!(wrong(&mut world, HOME, "a"), WRONG);
    assert_eq!(wrong(&mut world, HOME, "a"), wait(1000));
}

#[test]
fn a_session_is_no_place_to_guess_from() {
    let mut world = guarded();
    let connection = from(&mut world, HOME);
    world.ok(connection, login(named("a"), "password"));
    let change = |old: &str| Request::Password {
        old: Secret::new(old),
        new: Secret::new("another password"),
    };
    let delete = || Request::DeleteAccount {
        password: Secret::new("wrong password"),
    };
    for request in [change("wrong password"), delete()] {
        assert_eq!(
            world.ask(connection, request),
            Err(ErrorCode::BadCredentials)
        );
    }
    for request in [change("password"), delete()] {
        assert_eq!(world.ask(connection, request), Err(ErrorCode::RateLimited));
    }
    let by_number = try_login(&mut world, HOME, UserRef::Id(UserId(1)), "password");
    assert_eq!(by_number, Err(wait(1000)), "by number it is the same");
    try_login(&mut world, HOME, named("a"), "password").unwrap();
    world.wait(Duration::from_secs(1));
    world.ok(connection, change("password"));
}

/// Plays 10,000 tries, one each 360 ms, which is an hour; returns how many were looked at, and how many of
/// them in the first minute.
fn an_hour_of(
    world: &mut World,
    mut attempt: impl FnMut(usize) -> (String, UserRef),
) -> (usize, usize) {
    let (mut looked_at, mut in_the_first_minute) = (0, 0);
    for number in 0..10_000 {
        let (address, who) = attempt(number);
        match try_login(world, &address, who, "wrong password").unwrap_err() {
            WRONG => looked_at += 1,
            (ErrorCode::RateLimited, Some(1..)) => {}
            other => panic!("{other:?}"),
        }
        world.wait(Duration::from_millis(360));
        if number == 60_000 / 360 {
            in_the_first_minute = looked_at;
        }
    }
    (looked_at, in_the_first_minute)
}

/// A world with the guard as it is by default, but for the size of its tables; `a` has an account,
/// and was in from home.
fn guarded_by_default() -> World {
    let mut world = World::with(Config {
        rates: Some(guarded_with_entries(100)),
        ..config()
    });
    world.register("a");
    try_login(&mut world, HOME, named("a"), "password").unwrap();
    world
}

#[test]
fn of_ten_thousand_tries_at_an_account_from_an_address_seventeen_are_looked_at() {
    let mut world = guarded_by_default();
    let by_name = |_| (ELSEWHERE.to_owned(), named("a"));
    assert_eq!(an_hour_of(&mut world, by_name), (17, 10));
    assert_eq!(an_hour_of(&mut world, by_name).0, 4, "and so each hour");
    let by_number = |_| (ELSEWHERE.to_owned(), UserRef::Id(UserId(1)));
    assert_eq!(an_hour_of(&mut world, by_number).0, 17, "by number apart");
    for address in [HOME, "203.0.113.1"] {
        try_login(&mut world, address, named("a"), "password").unwrap();
    }
}

#[test]
fn of_ten_thousand_names_from_an_address_a_hundred_and_fourteen_are_looked_at() {
    let mut world = guarded_by_default();
    let each = |number| ("198.51.100.8".to_owned(), named(&format!("name {number}")));
    assert_eq!(an_hour_of(&mut world, each), (114, 55));
    assert_eq!(an_hour_of(&mut world, each).0, 60, "and so each hour");
    assert_eq!(world.node.engine.counts().guarded, 100, "no table grows");
    for address in [HOME, ELSEWHERE] {
        try_login(&mut world, address, named("a"), "password").unwrap();
    }
}

#[test]
fn of_ten_thousand_tries_from_as_many_addresses_a_hundred_and_sixty_four_are_looked_at() {
    let mut world = guarded_by_default();
    let everywhere = |number: usize| {
        let address = format!("198.18.{}.{}", number / 250, number % 250);
        (address, named("a"))
    };
    assert_eq!(an_hour_of(&mut world, everywhere), (164, 104));
    assert_eq!(world.node.engine.counts().guarded, 100, "no table grows");
    // Who was in before is in at once, and who was not after a minute.
    try_login(&mut world, HOME, named("a"), "password").unwrap();
    let (code, retry) = try_login(&mut world, ELSEWHERE, named("a"), "password").unwrap_err();
    assert_eq!(code, ErrorCode::RateLimited);
    let retry = Duration::from_millis(retry.unwrap());
    assert!(retry <= Duration::from_secs(60), "{retry:?}");
    world.wait(retry);
    try_login(&mut world, ELSEWHERE, named("a"), "password").unwrap();
}

/// Logs in by a token from somewhere, and disconnects; the session's user, or the error's code.
fn vouched(world: &mut World, address: &str, jwt: &str) -> Result<UserId, ErrorCode> {
    let connection = from(world, address);
    let request = Request::LoginJwt {
        jwt: Secret::new(jwt),
        device: None,
        start: Start::default(),
    };
    world.node.request(connection, 1, request).unwrap();
    let sent = world.node.take(connection);
    world.node.disconnect(connection).unwrap();
    match sent.into_iter().next() {
        Some(Sent::Reply(_, Ok(Reply::Session(session)))) => Ok(session.user),
        Some(Sent::Reply(_, Err(error))) => Err(error.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tokens_that_are_none_count_for_the_address_alone() {
    let mut world = guarded();
    let ann = vouched(&mut world, HOME, "jwt of us, ann, ann").unwrap();
    assert!(ann > UserId(4), "it is another account than the four");
    for _ in 0..4 {
        let forged = vouched(&mut world, HOME, "forged");
        assert_eq!(forged, Err(ErrorCode::BadCredentials));
    }
    let again = vouched(&mut world, HOME, "jwt of us, ann, ann");
    assert_eq!(again, Err(ErrorCode::RateLimited));
    assert_eq!(wrong(&mut world, HOME, "a"), wait(10_000), "passwords too");
    // Elsewhere nobody has to wait.
    for address in [ELSEWHERE, "203.0.113.1"] {
        assert_eq!(vouched(&mut world, address, "jwt of us, ann, ann"), Ok(ann));
    }
    world.wait(Duration::from_secs(10));
    assert_eq!(vouched(&mut world, HOME, "jwt of us, ann, ann"), Ok(ann));
}

#[test]
fn clients_without_an_address_are_guarded_by_account() {
    let mut world = guarded();
    for guess in 0..7 {
        let connection = world.connect();
        let expected = if guess < 6 {
            ErrorCode::BadCredentials
        } else {
            ErrorCode::RateLimited
        };
        let request = login(named("a"), "wrong password");
        assert_eq!(world.ask(connection, request), Err(expected), "{guess}");
    }
}

#[test]
fn what_is_remembered_has_a_limit() {
    let rates = guarded_with_entries(3);
    let mut world = World::with(Config {
        rates: Some(rates),
        ..config()
    });
    for last in 1..=9 {
        let address = format!("203.0.113.{last}");
        assert_eq!(wrong(&mut world, &address, &format!("n{last}")), WRONG);
    }
    assert_eq!(world.node.engine.counts().guarded, 3);
}

fn guarded_with_entries(entries: usize) -> Rates {
    Rates {
        guard: LoginGuard {
            entries,
            ..LoginGuard::default()
        },
        ..Rates::default()
    }
}

#[test]
fn accounts_are_made_no_faster_than_the_rate_of_an_address() {
    let mut world = World::with(Config {
        rates: Some(Rates {
            registrations: Rate {
                burst: 2,
                per_hour: 60,
            },
            ..Rates::default()
        }),
        ..config()
    });
    let mut register = |address: &str, text: &str| {
        let connection = from(&mut world, address);
        let request = Request::Register {
            name: name(text),
            password: Secret::new("password"),
            invite: None,
        };
        world.ask(connection, request)
    };
    register("2001:db8::1", "a").unwrap();
    register("2001:db8::2", "b").unwrap();
    assert_eq!(register("2001:db8::3", "c"), Err(ErrorCode::RateLimited));
    register("2001:db8:0:1::1", "c").unwrap();
    world.wait(Duration::from_secs(60));
    let connection = from(&mut world, "2001:db8::4");
    let request = Request::Register {
        name: name("d"),
        password: Secret::new("password"),
        invite: None,
    };
    world.ok(connection, request);
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let mut world = World::with(Config {
        connections_per_address: 2,
        ..config()
    });
    let first = from(&mut world, HOME);
    let second = from(&mut world, HOME);
    let third = from(&mut world, HOME);
    let sent = world.node.take(third);
    let [Sent::Event(Event::Notice { code, .. }), Sent::Closed] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(*code, NoticeCode::Full);
    let other = from(&mut world, ELSEWHERE);
    let nowhere = world.connect();
    for connection in [first, second, other, nowhere] {
        world.ok(connection, Request::Ping);
    }
    assert_eq!(world.node.engine.counts().addresses, 2);
    world.node.disconnect(first).unwrap();
    let fourth = from(&mut world, HOME);
    world.ok(fourth, Request::Ping);
    for connection in [second, fourth, other, nowhere] {
        world.node.disconnect(connection).unwrap();
    }
    assert_eq!(world.node.engine.counts().addresses, 0);
}
