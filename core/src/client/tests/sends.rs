//! Sends and other requests, on a connection that holds.

use super::*;
use crate::client::NotSent;

#[test]
fn a_login_gives_the_session_to_the_caller() {
    let mut desk = Desk::new(|_| ());
    assert_eq!(
        desk.give(Input::Connect),
        [Effect::Connect, Effect::Status(Status::Connecting)]
    );
    assert_eq!(
        desk.give(Input::Connected),
        [Effect::Status(Status::Anonymous)]
    );
    assert_eq!(
        desk.ask(1, login("ann")),
        [sent(1, login("ann")), Effect::Status(Status::Resuming)]
    );
    assert!(!desk.session.is_online());
    let reply = session_of(ANN, Vec::new());
    assert_eq!(
        desk.answer(1, reply.clone()),
        [done(1, reply), Effect::Status(Status::Online)]
    );
    assert!(desk.session.is_online());
    assert_eq!(desk.session.user(), Some(ANN));
    assert_eq!(desk.session.token(), Some(&Secret::new("token")));
}

#[test]
fn a_refused_login_leaves_the_connection_to_the_next_try() {
    let mut desk = Desk::new(|_| ());
    desk.give(Input::Connect);
    desk.give(Input::Connected);
    desk.ask(1, login("ann"));
    let error = RequestError::from(ErrorCode::BadCredentials);
    assert_eq!(
        desk.refuse(1, error.clone()),
        [
            ended(1, Outcome::Refused(error)),
            Effect::Status(Status::Anonymous)
        ]
    );
    assert_eq!(
        desk.ask(2, login("ann")),
        [sent(2, login("ann")), Effect::Status(Status::Resuming)]
    );
}

#[test]
fn one_send_of_a_conversation_is_under_way_and_each_has_its_outcome() {
    let mut desk = Desk::online(|_| (), Vec::new());
    assert_eq!(desk.ask(1, text(BOB, "a")), [sent(2, text(BOB, "a"))]);
    assert_eq!(desk.ask(2, text(BOB, "b")), []);
    assert_eq!(desk.ask(3, text(CREW, "c")), [sent(3, text(CREW, "c"))]);
    assert!(!desk.session.is_settled());
    assert_eq!(
        desk.answer(2, appended(1)),
        [done(1, appended(1)), sent(4, text(BOB, "b"))]
    );
    assert_eq!(desk.answer(3, appended(9)), [done(3, appended(9))]);
    assert_eq!(desk.answer(4, appended(2)), [done(2, appended(2))]);
    assert!(desk.session.is_settled());
}

#[test]
fn a_send_that_is_refused_for_good_ends_and_the_next_one_leaves() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.ask(1, text(BOB, "a"));
    desk.ask(2, text(BOB, "b"));
    let error = RequestError::from(ErrorCode::NotFriends);
    assert_eq!(
        desk.refuse(2, error.clone()),
        [ended(1, Outcome::Refused(error)), sent(3, text(BOB, "b"))]
    );
}

#[test]
fn what_passes_is_repeated_with_the_same_key_when_the_server_says() {
    for code in [
        ErrorCode::Busy,
        ErrorCode::Unavailable,
        ErrorCode::RateLimited,
        ErrorCode::ShuttingDown,
    ] {
        let mut desk = Desk::online(|_| (), Vec::new());
        desk.ask(1, text(BOB, "a"));
        let error = RequestError::from(code).retry_after(Duration::from_secs(7));
        assert_eq!(desk.refuse(2, error), []);
        let from = desk.now;
        assert_eq!(desk.wait(), [sent(3, text(BOB, "a"))], "{code}");
        assert_eq!(desk.now, from + Duration::from_secs(7), "{code}");
        assert_eq!(desk.answer(3, appended(1)), [done(1, appended(1))]);
    }
}

#[test]
fn repeats_wait_longer_each_time_where_the_server_says_nothing() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.ask(1, text(BOB, "a"));
    for (id, range) in [(2, 500), (3, 1000), (4, 2000)] {
        let from = desk.now;
        assert_eq!(desk.refuse(id, ErrorCode::Unavailable), []);
        assert_eq!(desk.wait(), [sent(id + 1, text(BOB, "a"))]);
        let wait = desk.now.since(from);
        let range = Duration::from_millis(range);
        assert!((range / 2..=range).contains(&wait), "{wait:?} of {range:?}");
    }
}

#[test]
fn refusals_that_come_together_make_the_wait_grow_once() {
    let mut desk = Desk::online(|_| (), Vec::new());
    for number in 1..=8 {
        desk.ask(number, text(ConversationRef::User(UserId(number)), "a"));
    }
    let from = desk.now;
    for id in 2..=9 {
        let error = RequestError::from(ErrorCode::RateLimited);
        desk.refuse(id, error.retry_after(Duration::from_millis(20)));
    }
    desk.wait();
    let wait = desk.now.since(from);
    assert!(wait <= Duration::from_millis(500), "{wait:?}");
}

#[test]
fn a_full_outbox_refuses_by_name() {
    let mut desk = Desk::online(|config| config.outbox = 1, Vec::new());
    desk.ask(1, text(BOB, "a"));
    assert_eq!(
        desk.ask(2, text(BOB, "b")),
        [ended(2, Outcome::NotSent(NotSent::OutboxFull))]
    );
}

#[test]
fn a_send_before_the_first_login_is_refused() {
    let mut desk = Desk::new(|_| ());
    assert_eq!(
        desk.ask(1, text(BOB, "a")),
        [ended(1, Outcome::NotSent(NotSent::NotLoggedIn))]
    );
}

#[test]
fn a_text_whose_frame_would_be_too_large_is_never_sent() {
    let mut desk = Desk::online(|_| (), Vec::new());
    // Within a text's limit, but each control character takes six bytes in JSON.
    let large = Request::Send {
        to: BOB,
        key: Key::new("a").unwrap(),
        text: "\u{1}".repeat(16 * 1024).into(),
        reply_to: None,
        meta: None,
    };
    assert_eq!(
        desk.ask(1, large),
        [ended(1, Outcome::NotSent(NotSent::TooLarge))]
    );
}

#[test]
fn a_frame_that_is_as_large_as_may_be_is_sent() {
    let filled = |length: usize| Request::Edit {
        conversation: BOB,
        seq: Seq(1),
        text: "x".repeat(length).into(),
    };
    let mut frame = Vec::new();
    let id = RequestId(crate::id::MAX_INTEGER);
    crate::protocol::client::encode_request(id, &filled(0), &mut frame);
    let room = crate::protocol::MAX_CLIENT_FRAME - frame.len();
    let mut desk = Desk::online(|_| (), Vec::new());
    assert_eq!(desk.ask(1, filled(room)), [sent(2, filled(room))]);
    assert_eq!(
        desk.ask(2, filled(room + 1)),
        [ended(2, Outcome::NotSent(NotSent::TooLarge))]
    );
}

#[test]
fn a_login_during_a_session_is_a_request_like_others() {
    let mut desk = Desk::online(|_| (), Vec::new());
    assert_eq!(desk.ask(1, login("ann")), [sent(2, login("ann"))]);
    let error = RequestError::from(ErrorCode::AlreadyLoggedIn);
    assert_eq!(
        desk.refuse(2, error.clone()),
        [ended(1, Outcome::Refused(error))]
    );
    assert!(desk.session.is_online());
}

#[test]
fn what_is_under_way_or_waits_is_not_settled() {
    let mut desk = Desk::online(|_| (), Vec::new());
    assert!(desk.session.is_settled());
    desk.ask(1, Request::Ping);
    assert!(!desk.session.is_settled(), "a request is under way");
    desk.answer(2, Reply::Pong { at: Timestamp(1) });
    assert!(desk.session.is_settled());
    desk.give(Input::Disconnected);
    desk.ask(2, text(BOB, "a"));
    assert!(!desk.session.is_settled(), "a send waits");
}

#[test]
fn requests_under_way_are_bounded() {
    let mut desk = Desk::online(|config| config.requests = 1, Vec::new());
    assert_eq!(desk.ask(1, Request::Ping), [sent(2, Request::Ping)]);
    assert_eq!(
        desk.ask(2, Request::Ping),
        [ended(2, Outcome::NotSent(NotSent::TooManyRequests))]
    );
    // A send waits for its turn instead, and nothing keeps the clock busy meanwhile.
    assert_eq!(desk.ask(3, text(BOB, "a")), []);
    let quiet = desk.now + Duration::from_secs(60);
    assert_eq!(desk.session.poll_timeout(), Some(quiet));
    let pong = Reply::Pong { at: Timestamp(1) };
    assert_eq!(
        desk.answer(2, pong.clone()),
        [done(1, pong), sent(3, text(BOB, "a"))]
    );
}

#[test]
fn a_ticket_under_way_is_not_used_again() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.ask(1, Request::Ping);
    let again = Input::Request {
        ticket: Ticket(1),
        request: Request::Ping,
    };
    let refused = desk.session.handle(again, desk.now);
    assert_eq!(refused, Err(crate::client::Misuse::TicketUsed(Ticket(1))));
}

#[test]
fn a_logout_ends_the_session_and_what_it_kept() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.ask(1, text(BOB, "a"));
    assert_eq!(desk.ask(2, Request::Logout), [sent(3, Request::Logout)]);
    assert_eq!(
        desk.answer(3, Reply::Done),
        [
            ended(1, Outcome::NotSent(NotSent::NotLoggedIn)),
            done(2, Reply::Done),
            Effect::Status(Status::Anonymous)
        ]
    );
    assert_eq!(desk.session.user(), None);
    assert_eq!(desk.session.token(), None);
}

#[test]
fn a_changed_password_brings_the_token_to_resume_by() {
    let mut desk = Desk::online(|_| (), Vec::new());
    let change = Request::Password {
        old: Secret::new("correct horse"),
        new: Secret::new("battery staple"),
    };
    desk.ask(1, change);
    let token = Secret::new("second");
    desk.answer(
        2,
        Reply::Token {
            token: token.clone(),
        },
    );
    assert_eq!(desk.session.token(), Some(&token));
}
