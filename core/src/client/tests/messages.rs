//! Messages: each log in order, without hole or repeat, and acknowledged.

use super::*;
use crate::client::Offline;
use crate::protocol::GroupState;

#[test]
fn messages_follow_the_position_and_repeats_are_dropped() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 5, 3)]);
    assert_eq!(desk.push(BOB, 3), []);
    assert_eq!(desk.push(BOB, 4), [handed(BOB, 4)]);
    assert_eq!(desk.push(BOB, 4), []);
    assert_eq!(desk.push(BOB, 5), [handed(BOB, 5)]);
}

#[test]
fn a_conversation_that_was_not_named_starts_with_its_first_message() {
    let mut desk = Desk::online(|_| (), Vec::new());
    assert_eq!(desk.push(CREW, 41), [handed(CREW, 41)]);
    assert_eq!(desk.push(CREW, 41), []);
    assert_eq!(desk.push(CREW, 42), [handed(CREW, 42)]);
}

#[test]
fn a_hole_is_read_before_what_lies_above_it() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 2, 2)]);
    assert_eq!(desk.push(BOB, 5), [sent(2, history_after(BOB, 2))]);
    assert_eq!(desk.push(BOB, 6), []);
    let read = history(vec![message(BOB, 3), message(BOB, 4)]);
    assert_eq!(
        desk.answer(2, read),
        [3, 4, 5, 6].map(|seq| handed(BOB, seq))
    );
}

#[test]
fn what_came_before_ones_own_joining_is_no_hole() {
    // Away, the reader left and became a member again; a burst follows, and the group ends.
    let mut desk = Desk::online(|config| config.held = 1, vec![item(CREW, 2, 2)]);
    let joined = Event::Message(Message {
        body: Body::Joined { user: ANN },
        ..message(CREW, 7)
    });
    let given = Input::Event(joined.clone());
    assert_eq!(desk.give(given.clone()), [Effect::Event(joined)]);
    assert_eq!(desk.give(given), [], "a repeat");
    for seq in 8..12 {
        assert_eq!(desk.push(CREW, seq), [handed(CREW, seq)]);
    }
    // Another's joining is an entry like others.
    let joined = Event::Message(Message {
        body: Body::Joined { user: UserId(9) },
        ..message(CREW, 14)
    });
    let given = Input::Event(joined);
    assert_eq!(desk.give(given), [sent(2, history_after(CREW, 11))]);
}

#[test]
fn a_long_hole_is_read_in_parts() {
    let mut desk = Desk::online(|config| config.held = 0, vec![item(BOB, 2, 2)]);
    desk.push(BOB, 5);
    assert_eq!(
        desk.answer(2, history(vec![message(BOB, 3)])),
        [handed(BOB, 3), sent(3, history_after(BOB, 3))]
    );
    assert_eq!(
        desk.answer(3, history(vec![message(BOB, 4), message(BOB, 5)])),
        [handed(BOB, 4), handed(BOB, 5)]
    );
    assert_eq!(desk.push(BOB, 6), [handed(BOB, 6)]);
}

#[test]
fn what_is_kept_above_a_hole_is_bounded() {
    let mut desk = Desk::online(|config| config.held = 1, vec![item(BOB, 2, 2)]);
    desk.push(BOB, 4);
    desk.push(BOB, 5);
    assert_eq!(
        desk.answer(2, history(vec![message(BOB, 3)])),
        [
            handed(BOB, 3),
            handed(BOB, 4),
            sent(3, history_after(BOB, 4))
        ]
    );
}

#[test]
fn a_history_that_does_not_fit_is_taken_as_far_as_it_does() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 2, 2)]);
    desk.push(BOB, 5);
    let wrong = [(CREW, 3), (BOB, 2), (BOB, 3), (BOB, 3), (BOB, 4), (BOB, 1)];
    let wrong = wrong.map(|(conversation, seq)| message(conversation, seq));
    assert_eq!(
        desk.answer(2, history(wrong.to_vec())),
        [3, 4, 5].map(|seq| handed(BOB, seq))
    );
}

#[test]
fn what_history_leaves_out_is_not_for_this_reader() {
    let mut desk = Desk::online(|_| (), vec![item(CREW, 2, 2)]);
    desk.push(CREW, 20);
    assert_eq!(
        desk.answer(2, history(vec![message(CREW, 20)])),
        [handed(CREW, 20)]
    );
    assert_eq!(desk.push(CREW, 21), [handed(CREW, 21)]);
}

#[test]
fn a_hole_that_cannot_be_read_holds_nothing_back() {
    for refusal in [None, Some(ErrorCode::NotMember)] {
        let mut desk = Desk::online(|_| (), vec![item(CREW, 2, 2)]);
        desk.push(CREW, 5);
        desk.push(CREW, 7);
        let effects = match refusal {
            Some(code) => desk.refuse(2, code),
            None => desk.answer(2, history(Vec::new())),
        };
        assert_eq!(effects, [handed(CREW, 5), handed(CREW, 7)]);
        assert_eq!(desk.push(CREW, 8), [handed(CREW, 8)]);
    }
}

#[test]
fn the_reading_of_a_hole_is_repeated_when_the_server_says() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 2, 2)]);
    desk.push(BOB, 4);
    let busy = RequestError::from(ErrorCode::Busy).retry_after(Duration::from_secs(5));
    assert_eq!(desk.refuse(2, busy), []);
    let from = desk.now;
    assert_eq!(desk.wait(), [sent(3, history_after(BOB, 2))]);
    assert_eq!(desk.now, from + Duration::from_secs(5));
}

#[test]
fn deliveries_are_acknowledged_together() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 0, 0), item(CREW, 0, 0)]);
    let from = desk.now;
    desk.push(BOB, 1);
    desk.now = from + Duration::from_millis(150);
    desk.push(BOB, 2);
    desk.push(CREW, 1);
    assert!(!desk.session.is_settled());
    assert_eq!(desk.wait(), [sent(2, ack(BOB, 2)), sent(3, ack(CREW, 1))]);
    assert_eq!(desk.now, from + Duration::from_millis(200));
    desk.answer(2, Reply::Done);
    desk.answer(3, Reply::Done);
    assert!(desk.session.is_settled());
}

#[test]
fn an_acknowledgement_is_repeated_for_later_deliveries_and_after_failures_that_pass() {
    let mut desk = Desk::online(|_| (), vec![item(BOB, 0, 0)]);
    desk.push(BOB, 1);
    assert_eq!(desk.wait(), [sent(2, ack(BOB, 1))]);
    desk.push(BOB, 2);
    desk.answer(2, Reply::Done);
    assert_eq!(desk.wait(), [sent(3, ack(BOB, 2))]);
    let from = desk.now;
    let wait = Duration::from_secs(4);
    desk.refuse(
        3,
        RequestError::from(ErrorCode::Unavailable).retry_after(wait),
    );
    assert_eq!(desk.wait(), [sent(4, ack(BOB, 2))]);
    assert_eq!(desk.now, from + wait);
    desk.refuse(4, ErrorCode::NotMember);
    assert!(desk.session.is_settled());
}

#[test]
fn a_session_without_replay_acknowledges_nothing_that_it_did_not_get() {
    let mut desk = Desk::new(|_| ());
    desk.give(Input::Connect);
    desk.give(Input::Connected);
    let mut request = login("ann");
    if let Request::Login { start, .. } = &mut request {
        start.replay = false;
    }
    desk.ask(1, request);
    desk.answer(1, session_of(ANN, vec![item(BOB, 9, 4)]));
    assert!(desk.session.is_settled());
    assert_eq!(desk.push(BOB, 9), []);
    assert_eq!(desk.push(BOB, 10), [handed(BOB, 10)]);
}

#[test]
fn what_waits_above_a_hole_comes_before_the_news_that_one_was_removed() {
    let mut desk = Desk::online(|_| (), vec![item(CREW, 2, 2)]);
    desk.push(CREW, 5);
    let removed = Event::Group {
        group: GroupId(7),
        name: Name::new("crew").unwrap(),
        state: GroupState::Removed,
    };
    assert_eq!(
        desk.give(Input::Event(removed.clone())),
        [handed(CREW, 5), Effect::Event(removed)]
    );
    assert_eq!(desk.push(CREW, 30), [handed(CREW, 30)]);
}

#[test]
fn a_server_with_too_many_conversations_is_left_for_good() {
    let mut desk = Desk::online(|config| config.conversations = 1, vec![item(BOB, 0, 0)]);
    assert_eq!(desk.push(CREW, 1), [Effect::Disconnect]);
    let offline = Status::Offline(Offline::TooManyConversations);
    assert_eq!(desk.give(Input::Disconnected), [Effect::Status(offline)]);
    assert_eq!(desk.session.poll_timeout(), None);
}

#[test]
fn no_event_counts_before_the_session() {
    let mut desk = Desk::new(|_| ());
    desk.give(Input::Connect);
    desk.give(Input::Connected);
    assert_eq!(desk.push(BOB, 1), []);
}
