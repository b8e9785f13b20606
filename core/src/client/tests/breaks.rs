//! Connections that break, servers that drain, lie or fall silent.

use super::*;
use crate::client::{Misuse, NotSent, Offline};
use crate::protocol::{MAX_TOKEN_BYTES, encode};

#[test]
fn after_a_break_the_session_resumes_from_its_positions_and_sends_again() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 0, 0)]);
    desk.push(BOB, 1);
    desk.ask(1, text(BOB, "a"));
    desk.ask(2, text(BOB, "b"));
    desk.give(Input::Disconnected);
    assert_eq!(
        desk.wait(),
        [Effect::Connect, Effect::Status(Status::Connecting)]
    );
    assert_eq!(
        desk.give(Input::Connected),
        [
            sent(3, resume(vec![(BOB, Seq(1))])),
            Effect::Status(Status::Resuming)
        ]
    );
    let reply = session_of(ANN, vec![item(BOB, 2, 0)]);
    let Reply::Session(session) = reply.clone() else {
        unreachable!()
    };
    assert_eq!(
        desk.answer(3, reply),
        [
            Effect::Resumed(session),
            sent(4, text(BOB, "a")),
            Effect::Status(Status::Online)
        ]
    );
    // The entry at the position comes again, the one above it does not count as a hole.
    assert_eq!(desk.push(BOB, 1), []);
    assert_eq!(desk.push(BOB, 2), [handed(BOB, 2)]);
    assert_eq!(
        desk.answer(4, appended(3)),
        [done(1, appended(3)), sent(5, text(BOB, "b"))]
    );
    assert_eq!(desk.wait(), [sent(6, ack(BOB, 2))]);
}

#[test]
fn other_requests_under_way_end_unknown_and_sends_are_kept() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.ask(1, Request::Ping);
    desk.ask(2, text(BOB, "a"));
    let effects = desk.give(Input::Disconnected);
    assert_eq!(effects.first(), Some(&ended(1, Outcome::Unknown)));
    assert_eq!(effects.len(), 2, "{effects:?}");
    assert_eq!(desk.session.unacknowledged_sends(), 1);
    assert_eq!(
        desk.ask(3, Request::Ping),
        [ended(3, Outcome::NotSent(NotSent::NotConnected))]
    );
    assert_eq!(desk.ask(4, text(BOB, "b")), []);
    assert_eq!(desk.session.unacknowledged_sends(), 2);
}

#[test]
fn a_login_under_way_ends_unknown() {
    let mut desk = Desk::new(|_| ());
    desk.give(Input::Connect);
    desk.give(Input::Connected);
    desk.ask(1, login("ann"));
    let effects = desk.give(Input::Disconnected);
    assert_eq!(effects.first(), Some(&ended(1, Outcome::Unknown)));
    desk.wait();
    assert_eq!(
        desk.give(Input::Connected),
        [Effect::Status(Status::Anonymous)]
    );
}

#[test]
fn a_hole_that_was_being_read_is_sent_again_after_the_break() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 2, 2)]);
    desk.push(BOB, 4);
    desk.reconnect();
    desk.answer(3, session_of(ANN, vec![item(BOB, 4, 2)]));
    assert_eq!(desk.push(BOB, 3), [handed(BOB, 3)]);
    assert_eq!(desk.push(BOB, 4), [handed(BOB, 4)]);
}

#[test]
fn a_token_that_does_not_stand_asks_for_a_login_and_the_outbox_waits() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 3, 3)]);
    desk.ask(1, text(BOB, "a"));
    desk.reconnect();
    let error = RequestError::from(ErrorCode::TokenExpired);
    assert_eq!(
        desk.refuse(3, error.clone()),
        [Effect::Status(Status::LoginNeeded(error))]
    );
    let mut with_positions = login("ANN");
    if let Request::Login { start, .. } = &mut with_positions {
        start.have = vec![(BOB, Seq(3))];
    }
    assert_eq!(
        desk.ask(2, login("ANN")).first(),
        Some(&sent(4, with_positions))
    );
    let reply = session_of(ANN, vec![item(BOB, 3, 3)]);
    assert_eq!(
        desk.answer(4, reply.clone()),
        [
            done(2, reply),
            sent(5, text(BOB, "a")),
            Effect::Status(Status::Online)
        ]
    );
}

#[test]
fn another_users_login_gets_nothing_of_the_first_ones() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 3, 3)]);
    desk.ask(1, text(BOB, "a"));
    desk.reconnect();
    desk.refuse(3, ErrorCode::TokenExpired);
    assert_eq!(
        desk.ask(2, login("eve")).first(),
        Some(&sent(4, login("eve")))
    );
    let reply = session_of(UserId(9), Vec::new());
    assert_eq!(
        desk.answer(4, reply.clone()),
        [
            ended(1, Outcome::NotSent(NotSent::OtherUser)),
            done(2, reply),
            Effect::Status(Status::Online)
        ]
    );
    assert_eq!(desk.push(BOB, 1), [handed(BOB, 1)]);
}

#[test]
fn positions_of_another_account_with_the_same_name_are_not_kept() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 3, 3)]);
    desk.reconnect();
    desk.refuse(2, ErrorCode::TokenExpired);
    // The session names its positions: the name is the same.
    let effects = desk.ask(2, login("ann"));
    let Some(Effect::Send { id, request }) = effects.into_iter().next() else {
        panic!()
    };
    let named = matches!(&request, Request::Login { start, .. } if start.have == [(BOB, Seq(3))]);
    assert!(named, "{request:?}");
    let reply = session_of(UserId(9), vec![item(BOB, 2, 1)]);
    let effects = desk.answer(id.0, reply.clone());
    assert_eq!(effects, [Effect::Disconnect, done(2, reply)]);
    let effects = desk.reconnect();
    assert!(
        effects.contains(&sent(id.0 + 1, resume(vec![(BOB, Seq(1))]))),
        "{effects:?}"
    );
}

#[test]
fn positions_are_named_to_whoever_takes_the_session_up_again() {
    let have = |request: Request| match request {
        Request::Login { start, .. }
        | Request::LoginJwt { start, .. }
        | Request::Resume { start, .. } => start.have,
        _ => panic!(),
    };
    let by_id = |number| Request::Login {
        who: UserRef::Id(UserId(number)),
        password: Secret::new("correct horse"),
        device: None,
        start: Start::default(),
    };
    let by_token = |token: &str| Request::Resume {
        token: Secret::new(token),
        start: Start::default(),
    };
    let vouched = Request::LoginJwt {
        jwt: Secret::new("a.b.c"),
        device: None,
        start: Start::default(),
    };
    let known = vec![(BOB, Seq(3))];
    for (request, named) in [
        (by_id(1), known.clone()),
        (by_id(9), Vec::new()),
        (login("Ann"), known.clone()),
        (login("eve"), Vec::new()),
        (by_token("other"), Vec::new()),
        (vouched.clone(), Vec::new()),
    ] {
        let mut desk = Desk::online(|_| (), vec![item(BOB, 3, 3)]);
        desk.reconnect();
        desk.refuse(2, ErrorCode::TokenExpired);
        let effects = desk.ask(2, request.clone());
        let Some(Effect::Send { request: sent, .. }) = effects.into_iter().next() else {
            panic!("{request:?}")
        };
        assert_eq!(have(sent), named, "{request:?}");
    }
    // Whoever is vouched for turns out to be the same: what was there does not come twice.
    let mut desk = Desk::online(|_| (), vec![item(BOB, 3, 3)]);
    desk.reconnect();
    desk.refuse(2, ErrorCode::TokenExpired);
    assert_eq!(
        desk.ask(2, vouched.clone()).first(),
        Some(&sent(3, vouched))
    );
    desk.answer(3, session_of(ANN, vec![item(BOB, 4, 1)]));
    assert_eq!(desk.push(BOB, 2), []);
    assert_eq!(desk.push(BOB, 3), []);
    assert_eq!(desk.push(BOB, 4), [handed(BOB, 4)]);
    // The session's own token, by the caller's hand: the server says that the session is there.
    let mut desk = Desk::online(|_| (), vec![item(BOB, 3, 3)]);
    assert_eq!(desk.ask(1, by_token("token")), [sent(2, resume(known))]);
}

#[test]
fn positions_that_the_server_does_not_know_are_named_first() {
    let mut desk = Desk::online(
        |config| config.have = 1,
        vec![item(BOB, 3, 3), item(CREW, 5, 4)],
    );
    desk.push(CREW, 5);
    let effects = desk.reconnect();
    assert_eq!(
        effects.first(),
        Some(&sent(2, resume(vec![(CREW, Seq(5))])))
    );
}

#[test]
fn what_was_under_way_for_a_conversation_is_forgotten_with_the_connection() {
    let mut desk = Desk::online(|_| (), vec![item(CREW, 0, 0)]);
    desk.push(CREW, 1);
    assert_eq!(desk.wait(), [sent(2, ack(CREW, 1))]);
    assert_eq!(desk.push(CREW, 3), [sent(3, history_after(CREW, 1))]);
    desk.reconnect();
    // The reply had no room for the conversation.
    desk.answer(4, session_of(ANN, Vec::new()));
    assert_eq!(desk.wait(), [sent(5, ack(CREW, 1))]);
    assert_eq!(desk.push(CREW, 2), [handed(CREW, 2)]);
    assert_eq!(desk.push(CREW, 3), [handed(CREW, 3)]);
}

#[test]
fn a_session_of_another_user_is_not_taken_for_ones_own() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.reconnect();
    assert_eq!(
        desk.answer(2, session_of(UserId(9), Vec::new())),
        [Effect::Disconnect]
    );
    assert_eq!(desk.session.user(), Some(ANN));
}

#[test]
fn a_connection_that_has_a_session_already_is_left_and_the_token_kept() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.reconnect();
    assert_eq!(
        desk.refuse(2, ErrorCode::AlreadyLoggedIn),
        [Effect::Disconnect]
    );
    assert_eq!(desk.session.token(), Some(&Secret::new("token")));
}

#[test]
fn who_wants_no_connection_any_more_waits_for_none() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.give(Input::Disconnected);
    assert_eq!(
        desk.give(Input::Disconnect),
        [Effect::Status(Status::Offline(Offline::NotWanted))]
    );
    assert_eq!(desk.session.poll_timeout(), None);
}

#[test]
fn a_resume_that_fails_for_the_moment_is_repeated() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.reconnect();
    let error = RequestError::from(ErrorCode::Unavailable).retry_after(Duration::from_secs(9));
    assert_eq!(desk.refuse(2, error), []);
    let from = desk.now;
    assert_eq!(desk.wait(), [sent(3, resume(Vec::new()))]);
    assert_eq!(desk.now, from + Duration::from_secs(9));
}

#[test]
fn a_draining_server_is_left_alone_for_as_long_as_it_says() {
    let mut desk = Desk::online(|_| (), Vec::new());
    let event = notice(NoticeCode::Draining, Some(12_345));
    assert_eq!(
        desk.give(Input::Event(event.clone())),
        [Effect::Event(event)]
    );
    let until = desk.now + Duration::from_millis(12_345);
    assert_eq!(
        desk.give(Input::Disconnected),
        [Effect::Status(Status::Waiting { until })]
    );
    assert_eq!(desk.session.poll_timeout(), Some(until));
    // It counts for one attempt.
    desk.wait();
    desk.give(Input::ConnectFailed);
    assert!(desk.session.poll_timeout().unwrap() <= desk.now + Duration::from_millis(500));
}

#[test]
fn no_server_has_a_client_call_again_without_a_pause() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.give(Input::Event(notice(NoticeCode::Full, Some(0))));
    let until = desk.now + Duration::from_millis(500);
    assert_eq!(
        desk.give(Input::Disconnected),
        [Effect::Status(Status::Waiting { until })]
    );
}

#[test]
fn no_server_keeps_a_client_away_for_ever() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.give(Input::Event(notice(NoticeCode::Full, Some(u64::MAX))));
    desk.give(Input::Disconnected);
    let longest = desk.now + Duration::from_secs(300);
    assert_eq!(desk.session.poll_timeout(), Some(longest));
}

#[test]
fn an_ended_session_is_not_taken_back() {
    for code in [NoticeCode::Replaced, NoticeCode::Ended] {
        let mut desk = Desk::online(|_| (), Vec::new());
        let event = notice(code, None);
        assert_eq!(
            desk.give(Input::Event(event.clone())),
            [Effect::Event(event), Effect::Disconnect]
        );
        assert_eq!(
            desk.give(Input::Disconnected),
            [Effect::Status(Status::Offline(Offline::Ended(code)))]
        );
        assert_eq!(desk.session.poll_timeout(), None);
    }
}

#[test]
fn an_announcement_is_handed_on_and_changes_nothing() {
    let mut desk = Desk::online(|_| (), Vec::new());
    // No server says so, and this one does not mean the connection.
    let event = notice(NoticeCode::Announcement, Some(99_999));
    assert_eq!(
        desk.give(Input::Event(event.clone())),
        [Effect::Event(event)]
    );
    desk.give(Input::Disconnected);
    let soon = desk.now + Duration::from_millis(500);
    assert!(desk.session.poll_timeout().unwrap() <= soon);
}

#[test]
fn a_restored_server_is_met_anew() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 9, 9)]);
    desk.give(Input::Event(notice(NoticeCode::Restored, None)));
    assert_eq!(
        desk.reconnect(),
        [
            sent(2, resume(Vec::new())),
            Effect::Status(Status::Resuming)
        ]
    );
    desk.answer(2, session_of(ANN, vec![item(BOB, 4, 4)]));
    assert_eq!(desk.push(BOB, 5), [handed(BOB, 5)]);
}

#[test]
fn a_log_that_became_shorter_starts_at_its_end() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 9, 9)]);
    desk.reconnect();
    desk.answer(2, session_of(ANN, vec![item(BOB, 4, 4)]));
    assert_eq!(desk.push(BOB, 5), [handed(BOB, 5)]);
}

#[test]
fn a_silent_connection_is_pinged_then_given_up() {
    let mut desk = Desk::online(|_| (), Vec::new());
    let from = desk.now;
    assert_eq!(desk.wait(), [sent(2, Request::Ping)]);
    assert_eq!(desk.now, from + Duration::from_secs(30));
    desk.answer(2, Reply::Pong { at: Timestamp(1) });
    assert_eq!(desk.wait(), [sent(3, Request::Ping)]);
    assert_eq!(desk.wait(), [sent(4, Request::Ping)]);
    assert_eq!(desk.wait(), [Effect::Disconnect]);
    assert_eq!(desk.now, from + Duration::from_secs(120));
    assert_eq!(desk.session.poll_timeout(), None);
}

#[test]
fn pings_come_well_before_the_servers_idle_limit() {
    let mut desk = Desk::new(|_| ());
    desk.give(Input::Connect);
    desk.give(Input::Connected);
    desk.ask(1, login("ann"));
    let Reply::Session(mut session) = session_of(ANN, Vec::new()) else {
        unreachable!()
    };
    session.idle_ms = 6000;
    desk.answer(1, Reply::Session(session));
    let from = desk.now;
    assert_eq!(desk.wait(), [sent(2, Request::Ping)]);
    assert_eq!(desk.now, from + Duration::from_secs(2));
}

#[test]
fn a_reply_to_nothing_ends_the_connection() {
    for id in [None, Some(RequestId(77))] {
        let mut desk = Desk::online(|_| (), Vec::new());
        let result = Ok(Reply::Done);
        assert_eq!(desk.give(Input::Reply { id, result }), [Effect::Disconnect]);
        // What still arrives counts for nothing.
        assert_eq!(desk.push(BOB, 1), []);
    }
}

#[test]
fn frames_are_read_and_what_breaks_the_protocol_ends_the_connection() {
    let pong = Reply::Pong { at: Timestamp(3) };
    let error = RequestError::new(ErrorCode::Limit, "no more");
    let presence = Event::Presence {
        user: UserId(2),
        online: true,
    };
    let cases: [(&[u8], Vec<Effect>); 8] = [
        (br#"{"id":2,"ok":{"at":3}}"#, vec![done(1, pong)]),
        (
            br#"{"id":2,"error":{"code":"limit","message":"no more"}}"#,
            vec![ended(1, Outcome::Refused(error))],
        ),
        (
            br#"{"event":"presence","user":2,"online":true}"#,
            vec![Effect::Event(presence)],
        ),
        (br#"{"event":"of another version"}"#, Vec::new()),
        (br#"{"id":2,"ok":{"at":"three"}}"#, vec![Effect::Disconnect]),
        (br#"{"id":9,"ok":{}}"#, vec![Effect::Disconnect]),
        (b"[[[[[[[[", vec![Effect::Disconnect]),
        (b"\xff", vec![Effect::Disconnect]),
    ];
    for (frame, effects) in cases {
        let mut desk = Desk::online(|_| (), Vec::new());
        desk.ask(1, Request::Ping);
        let frame = frame.to_vec();
        assert_eq!(desk.give(Input::Frame(frame.clone())), effects, "{frame:?}");
    }
}

#[test]
fn a_reply_comes_once() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.ask(1, Request::Ping);
    desk.answer(2, Reply::Pong { at: Timestamp(1) });
    let again = desk.answer(2, Reply::Pong { at: Timestamp(1) });
    assert_eq!(again, [Effect::Disconnect]);
}

#[test]
fn a_server_that_knows_no_session_is_left_and_resumed() {
    let mut desk = Desk::online(|_| (), Vec::new());
    desk.ask(1, text(BOB, "a"));
    assert_eq!(desk.refuse(2, ErrorCode::NotLoggedIn), [Effect::Disconnect]);
    assert_eq!(desk.session.unacknowledged_sends(), 1);
    let effects = desk.reconnect();
    assert_eq!(effects.first(), Some(&sent(3, resume(Vec::new()))));
}

#[test]
fn going_offline_acknowledges_first_and_keeps_the_outbox() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 0, 0)]);
    desk.push(BOB, 1);
    desk.ask(1, text(BOB, "a"));
    assert_eq!(
        desk.give(Input::Disconnect),
        [sent(3, ack(BOB, 1)), Effect::Disconnect]
    );
    assert_eq!(
        desk.give(Input::Disconnected),
        [Effect::Status(Status::Offline(Offline::NotWanted))]
    );
    desk.give(Input::Connect);
    desk.give(Input::Connected);
    let effects = desk.answer(4, session_of(ANN, vec![item(BOB, 1, 1)]));
    assert!(effects.contains(&sent(5, text(BOB, "a"))), "{effects:?}");
}

#[test]
fn attempts_that_fail_wait_longer_each_time() {
    let mut desk = Desk::new(|_| ());
    desk.give(Input::Connect);
    for range in [500, 1000, 2000] {
        let from = desk.now;
        desk.give(Input::ConnectFailed);
        assert_eq!(desk.wait().first(), Some(&Effect::Connect));
        let wait = desk.now.since(from);
        let range = Duration::from_millis(range);
        assert!((range / 2..=range).contains(&wait), "{wait:?} of {range:?}");
    }
}

#[test]
fn a_session_that_held_for_long_starts_again_with_the_first_wait() {
    let mut desk = Desk::new(|_| ());
    desk.give(Input::Connect);
    for _ in 0..9 {
        desk.give(Input::ConnectFailed);
        desk.wait();
    }
    desk.give(Input::Connected);
    desk.ask(1, login("ann"));
    desk.answer(1, session_of(ANN, Vec::new()));
    desk.now = desk.now + Duration::from_secs(30);
    desk.give(Input::Disconnected);
    assert!(desk.session.poll_timeout().unwrap() <= desk.now + Duration::from_millis(500));
}

#[test]
fn a_connection_that_is_not_wanted_any_more_is_closed_when_it_comes() {
    let mut desk = Desk::new(|_| ());
    desk.give(Input::Connect);
    desk.give(Input::Disconnect);
    assert_eq!(
        desk.give(Input::Connected).first(),
        Some(&Effect::Disconnect)
    );
    desk.give(Input::Disconnected);
    assert_eq!(desk.session.poll_timeout(), None);
}

#[test]
fn misuse_is_named_and_changes_nothing() {
    let mut desk = Desk::new(|_| ());
    let cases = [
        (Input::Connected, Misuse::NotConnecting),
        (Input::ConnectFailed, Misuse::NotConnecting),
        (Input::Disconnected, Misuse::NotConnected),
        (Input::Frame(Vec::new()), Misuse::NotConnected),
    ];
    for (input, misuse) in cases {
        assert_eq!(desk.session.handle(input, desk.now), Err(misuse));
    }
    let back = desk.session.handle(Input::Timeout, Timestamp(0));
    assert_eq!(back, Err(Misuse::TimeWentBack));
    assert_eq!(desk.session.poll_effect(), None);
}

#[test]
fn a_server_whose_token_would_not_fit_into_a_resume_is_left() {
    let mut desk = Desk::new(|_| ());
    desk.give(Input::Connect);
    desk.give(Input::Connected);
    desk.ask(1, login("ann"));
    for (length, left) in [(MAX_TOKEN_BYTES + 1, true), (MAX_TOKEN_BYTES, false)] {
        let Reply::Session(mut session) = session_of(ANN, Vec::new()) else {
            panic!();
        };
        session.token = Secret::new("t".repeat(length));
        let (mut frame, id) = (Vec::new(), Some(RequestId(if left { 1 } else { 2 })));
        encode::reply(id, &Ok(Reply::Session(session)), &mut frame);
        let effects = desk.give(Input::Frame(frame));
        assert_eq!(effects.contains(&Effect::Disconnect), left, "{length}");
        if left {
            desk.reconnect();
            desk.ask(2, login("ann"));
        }
    }
    assert!(desk.session.is_online());
}
