//! Lists that the reply which began the session had to cut.

use super::*;
use crate::client::{Counts, Listed};
use crate::log::{FriendState, Role};
use crate::protocol::reply::{FriendItem, GroupItem, Listing};

const HEAD: &str =
    r#""version":1,"user":1,"name":"Ann","session":5,"token":"token","idle_ms":90000"#;

/// A session's frame: friends 2 and 4, asked by 3, in groups 7 and 8.
fn cut_frame(id: u64, cut: &str) -> Vec<u8> {
    let lists = r#""friends":[{"user":2,"name":"b","online":true},{"user":4,"name":"d","online":false}],"requests":[{"user":3,"name":"c"}],"groups":[{"group":7,"name":"g","role":"member"},{"group":8,"name":"h","role":"member"}],"invites":[],"conversations":[{"in":{"user":2},"last":0,"delivered":0,"read":0,"peer_delivered":0,"peer_read":0}]"#;
    format!(r#"{{"id":{id},"ok":{{{HEAD},{lists},"more":[{cut}]}}}}"#).into_bytes()
}

/// A desk that has logged in, and what it does first.
fn logged_in(change: impl FnOnce(&mut Config), cut: &str) -> (Desk, Vec<Effect>) {
    let mut desk = Desk::new(change);
    desk.give(Input::Connect);
    desk.give(Input::Connected);
    desk.ask(900, login("ann"));
    let effects = desk.give(Input::Frame(cut_frame(1, cut)));
    (desk, without_the_login(effects))
}

fn without_the_login(effects: Vec<Effect>) -> Vec<Effect> {
    let told = |effect: &Effect| !matches!(effect, Effect::Outcome { .. } | Effect::Status(_));
    effects.into_iter().filter(told).collect()
}

fn friends(after: Option<u64>) -> Request {
    Request::Friends {
        after: after.map(UserId),
        limit: 200,
    }
}

fn groups(after: u64) -> Request {
    Request::Groups {
        after: Some(GroupId(after)),
        limit: 200,
    }
}

fn friend_items(users: &[u64]) -> Vec<FriendItem> {
    let item = |user: &u64| FriendItem {
        user: UserId(*user),
        name: Name::new("x").unwrap(),
        state: FriendState::Friends,
        online: Some(false),
    };
    users.iter().map(item).collect()
}

fn friend_page(users: &[u64], more: bool) -> Reply {
    let items = friend_items(users);
    Reply::Friends(Listing { items, more })
}

fn listed(users: &[u64]) -> Effect {
    Effect::Listed(Listed::Friends(friend_items(users)))
}

#[test]
fn whole_lists_are_not_asked_for() {
    let (desk, effects) = logged_in(|_| (), r#""invites","odd""#);
    assert_eq!(effects, []);
    assert!(!desk.session.is_listing());
    assert!(desk.session.is_settled());
}

#[test]
fn cut_lists_are_read_page_by_page_to_their_end() {
    let (mut desk, effects) = logged_in(|_| (), r#""friends","groups","conversations""#);
    assert_eq!(effects, [sent(2, friends(Some(4)))]);
    assert!(desk.session.is_listing());
    assert_eq!(
        desk.answer(2, friend_page(&[5, 9], true)),
        [listed(&[5, 9]), sent(3, friends(Some(9)))]
    );
    assert_eq!(
        desk.answer(3, friend_page(&[], false)),
        [listed(&[]), sent(4, groups(8))]
    );
    let items = vec![GroupItem {
        group: GroupId(9),
        name: Name::new("i").unwrap(),
        role: Role::Owner,
    }];
    let conversations = |after| Request::Conversations {
        after: Some(after),
        limit: 200,
    };
    let more = false;
    assert_eq!(
        desk.answer(
            4,
            Reply::Groups(Listing {
                items: items.clone(),
                more
            })
        ),
        [
            Effect::Listed(Listed::Groups(items)),
            sent(5, conversations(BOB))
        ]
    );
    let items = vec![item(CREW, 3, 3)];
    let page = |items, more| Reply::Conversations(Listing { items, more });
    assert_eq!(
        desk.answer(5, page(items.clone(), true)),
        [
            Effect::Listed(Listed::Conversations(items)),
            sent(6, conversations(CREW))
        ]
    );
    assert!(desk.session.is_listing());
    let none = Effect::Listed(Listed::Conversations(Vec::new()));
    assert_eq!(desk.answer(6, page(Vec::new(), false)), [none]);
    assert!(!desk.session.is_listing());
    assert!(desk.session.is_settled());
}

#[test]
fn people_are_asked_for_behind_the_shorter_list() {
    let (_, effects) = logged_in(|_| (), r#""friends","requests""#);
    assert_eq!(effects, [sent(2, friends(Some(3)))]);
    let (_, effects) = logged_in(|_| (), r#""requests""#);
    assert_eq!(effects, [sent(2, friends(Some(3)))]);
}

#[test]
fn a_server_that_never_ends_a_list_is_not_asked_for_ever() {
    // A list that does not rise.
    let (mut desk, _) = logged_in(|_| (), r#""friends""#);
    assert_eq!(desk.answer(2, friend_page(&[4], true)), [listed(&[4])]);
    assert!(!desk.session.is_listing());
    let (mut desk, _) = logged_in(|_| (), r#""friends""#);
    assert_eq!(desk.answer(2, friend_page(&[], true)), [listed(&[])]);
    assert!(!desk.session.is_listing());
    // One that is too long.
    let (mut desk, _) = logged_in(|config| config.listed = 3, r#""friends""#);
    assert_eq!(
        desk.answer(2, friend_page(&[5, 6], true)),
        [listed(&[5, 6]), sent(3, friends(Some(6)))]
    );
    assert_eq!(desk.answer(3, friend_page(&[7], true)), [listed(&[7])]);
    assert!(!desk.session.is_listing());
}

#[test]
fn other_replies_do_not_end_a_list() {
    let (mut desk, _) = logged_in(|_| (), r#""friends""#);
    desk.ask(1, Request::Ping);
    desk.give(Input::Frame(br#"{"id":3,"ok":{"at":1}}"#.to_vec()));
    assert!(desk.session.is_listing());
    assert_eq!(desk.answer(2, friend_page(&[5], false)), [listed(&[5])]);
}

#[test]
fn what_is_kept_is_counted() {
    let (mut desk, _) = logged_in(|_| (), r#""friends","groups","conversations""#);
    desk.push(BOB, 3);
    desk.push(CREW, 8);
    desk.push(CREW, 10);
    desk.push(CREW, 11);
    desk.ask(1, text(BOB, "a"));
    desk.ask(2, text(BOB, "b"));
    desk.ask(3, Request::Ping);
    let counts = Counts {
        // A page, two holes, a send, a ping.
        requests: 5,
        sends: 2,
        tickets: 3,
        conversations: 2,
        held: 3,
        pages: 3,
    };
    assert_eq!(desk.session.counts(), counts);
}

#[test]
fn a_session_that_is_left_at_once_has_no_lists() {
    let (desk, effects) = logged_in(|config| config.conversations = 0, r#""friends""#);
    assert_eq!(effects, [Effect::Disconnect]);
    assert!(!desk.session.is_listing());
}

#[test]
fn a_page_is_asked_for_again_where_its_refusal_passes() {
    let (mut desk, _) = logged_in(|_| (), r#""friends","groups""#);
    let error = RequestError {
        retry_ms: Some(5000),
        ..ErrorCode::RateLimited.into()
    };
    assert_eq!(desk.refuse(2, error), []);
    assert!(!desk.session.is_settled(), "a list is not complete");
    let from = desk.now;
    assert_eq!(desk.wait(), [sent(3, friends(Some(4)))]);
    assert_eq!(desk.now, from + Duration::from_secs(5));
    // A refusal for good ends that list alone.
    assert_eq!(desk.refuse(3, ErrorCode::BadRequest), [sent(4, groups(8))]);
}

#[test]
fn a_break_ends_the_lists_and_the_next_session_asks_anew() {
    let (mut desk, _) = logged_in(|_| (), r#""friends""#);
    desk.reconnect();
    assert!(!desk.session.is_listing());
    let effects = desk.give(Input::Frame(cut_frame(3, r#""groups""#)));
    let asked: Vec<_> = effects
        .into_iter()
        .filter(|effect| matches!(effect, Effect::Send { .. }))
        .collect();
    assert_eq!(asked, [sent(4, groups(8))]);
}

#[test]
fn a_page_of_a_session_that_ended_is_nothing() {
    let (mut desk, _) = logged_in(|_| (), r#""friends""#);
    desk.ask(1, Request::Logout);
    desk.answer(3, Reply::Done);
    assert!(!desk.session.is_listing());
    assert_eq!(desk.answer(2, friend_page(&[5], true)), []);
}

#[test]
fn a_reply_whose_cuts_cannot_be_read_is_malformed() {
    let (_, effects) = logged_in(|_| (), "7");
    assert_eq!(effects, [Effect::Disconnect]);
}
