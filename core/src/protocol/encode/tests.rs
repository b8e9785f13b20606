use std::time::Duration;

use serde_json::Value;

use super::{event, reply};
use crate::id::{ConversationRef, GroupId, RequestId, Seq, SessionId, UserId};
use crate::log::{Body, FriendState, GroupChange, JoinPolicy, Role, Text};
use crate::name::{Key, Name};
use crate::protocol::event::{Event, GroupState, Message, NoticeCode};
use crate::protocol::reply::{
    ConversationItem, FriendItem, GroupItem, GroupReply, InviteItem, JoinState, Keep, Listing,
    MemberItem, OnlineFriend, Reply, SessionReply, UserItem,
};
use crate::protocol::{ErrorCode, MAX_SERVER_FRAME, MAX_TEXT_BYTES, RequestError};
use crate::secret::Secret;
use crate::time::Timestamp;

const ANN: UserId = UserId(2);
const CLUB: GroupId = GroupId(7);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Checks the whole frame of a reply to request 5.
#[track_caller]
fn check(result: impl Into<Result<Reply, RequestError>>, expected: &str) {
    // What stands in the buffer already is another frame's.
    let mut out = b"before\n".to_vec();
    reply(Some(RequestId(5)), &result.into(), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!("before\n{{\"id\":5,{expected}}}")
    );
}

#[track_caller]
fn check_ok(reply: Reply, expected: &str) {
    check(Ok(reply), &format!("\"ok\":{expected}"));
}

#[track_caller]
fn check_event(given: &Event, expected: &str) {
    let mut out = Vec::new();
    event(given, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[track_caller]
fn check_body(body: Body, expected: &str) {
    check_event(
        &Event::Message(message(1, body)),
        &format!(r#"{{"event":"message","in":{{"group":7}},"seq":1,"from":2,"at":99,{expected}}}"#),
    );
}

fn message(seq: u64, body: Body) -> Message {
    Message {
        conversation: ConversationRef::Group(CLUB),
        seq: Seq(seq),
        from: ANN,
        at: Timestamp(99),
        body,
    }
}

fn text(text: &str) -> Text {
    Text {
        key: Key::new("k").unwrap(),
        text: text.into(),
        reply_to: None,
        meta: None,
        edited: false,
        recalled: false,
    }
}

/// Encodes a reply, checks that it keeps the frame's limit, and reads its `ok`.
fn cut(given: Reply) -> (usize, Value) {
    let mut out = b"before\n".to_vec();
    reply(
        Some(RequestId(crate::id::MAX_INTEGER)),
        &Ok(given),
        &mut out,
    );
    let frame = out.strip_prefix(b"before\n").unwrap();
    assert!(frame.len() <= MAX_SERVER_FRAME, "{} bytes", frame.len());
    assert!(!frame.contains(&b'\n'));
    let value: Value = serde_json::from_slice(frame).unwrap();
    (frame.len(), value["ok"].clone())
}

#[test]
fn short_replies() {
    check_ok(Reply::Done, "{}");
    check_ok(Reply::Registered { user: ANN }, r#"{"user":2}"#);
    let token = Secret::new("t\"");
    check_ok(Reply::Token { token }, r#"{"token":"t\""}"#);
    check_ok(Reply::Pong { at: Timestamp(99) }, r#"{"at":99}"#);
    for (online, shown) in [
        (None, ""),
        (Some(true), r#","online":true"#),
        (Some(false), r#","online":false"#),
    ] {
        check_ok(
            Reply::User {
                user: ANN,
                name: name("ann"),
                state: FriendState::RequestedBy,
                online,
            },
            &format!(r#"{{"user":2,"name":"ann","state":"requested_by"{shown}}}"#),
        );
    }
    check_ok(
        Reply::FriendRequested {
            user: ANN,
            state: FriendState::Requested,
        },
        r#"{"user":2,"state":"requested"}"#,
    );
    let state = FriendState::None;
    check_ok(Reply::FriendState { state }, r#"{"state":"none"}"#);
    check_ok(Reply::GroupCreated { group: CLUB }, r#"{"group":7}"#);
    let state = JoinState::Requested;
    check_ok(Reply::GroupJoined { state }, r#"{"state":"requested"}"#);
    check_ok(
        Reply::Appended {
            seq: Seq(3),
            at: Timestamp(99),
        },
        r#"{"seq":3,"at":99}"#,
    );
}

#[test]
fn groups() {
    let mut group = GroupReply {
        group: CLUB,
        name: name("club"),
        description: "d".into(),
        join: JoinPolicy::Approval,
        role: Some(Role::Admin),
        members: 3,
        last: Some(Seq(9)),
    };
    check_ok(
        Reply::Group(Box::new(group.clone())),
        r#"{"group":7,"name":"club","description":"d","join":"approval","role":"admin","members":3,"last":9}"#,
    );
    group.role = None;
    group.last = None;
    check_ok(
        Reply::Group(Box::new(group)),
        r#"{"group":7,"name":"club","description":"d","join":"approval","members":3}"#,
    );
}

#[test]
fn lists() {
    fn page<T>(items: Vec<T>, more: bool) -> Listing<T> {
        Listing { items, more }
    }
    let friend = |online| FriendItem {
        user: ANN,
        name: name("ann"),
        state: FriendState::Friends,
        online,
    };
    check_ok(
        Reply::Friends(page(vec![friend(Some(true)), friend(None)], true)),
        r#"{"friends":[{"user":2,"name":"ann","state":"friends","online":true},{"user":2,"name":"ann","state":"friends"}],"more":true}"#,
    );
    check_ok(
        Reply::Friends(page(vec![], false)),
        r#"{"friends":[],"more":false}"#,
    );
    let member = MemberItem {
        user: ANN,
        name: name("ann"),
        role: Role::Owner,
        online: Some(false),
    };
    check_ok(
        Reply::Members(page(vec![member], false)),
        r#"{"members":[{"user":2,"name":"ann","role":"owner","online":false}],"more":false}"#,
    );
    let user = UserItem {
        user: ANN,
        name: name("ann"),
    };
    check_ok(
        Reply::Requests(page(vec![user], false)),
        r#"{"requests":[{"user":2,"name":"ann"}],"more":false}"#,
    );
    let group = GroupItem {
        group: CLUB,
        name: name("club"),
        role: Role::Muted,
    };
    check_ok(
        Reply::Groups(page(vec![group], false)),
        r#"{"groups":[{"group":7,"name":"club","role":"muted"}],"more":false}"#,
    );
    check_ok(
        Reply::Conversations(page(conversations(), false)),
        r#"{"conversations":[{"in":{"user":2},"last":5,"delivered":4,"read":3,"peer_delivered":2,"peer_read":1},{"in":{"group":7},"last":5,"delivered":4,"read":3}],"more":false}"#,
    );
    check_ok(
        Reply::History {
            messages: vec![
                message(1, Body::Joined { user: ANN }),
                message(2, Body::Disbanded),
            ],
            more: false,
            keep: Keep::First,
        },
        r#"{"messages":[{"event":"message","in":{"group":7},"seq":1,"from":2,"at":99,"kind":"joined","user":2},{"event":"message","in":{"group":7},"seq":2,"from":2,"at":99,"kind":"disbanded"}],"more":false}"#,
    );
}

fn conversations() -> Vec<ConversationItem> {
    let item = |conversation, peer| ConversationItem {
        conversation,
        last: Seq(5),
        delivered: Seq(4),
        read: Seq(3),
        peer,
    };
    vec![
        item(ConversationRef::User(ANN), Some((Seq(2), Seq(1)))),
        item(ConversationRef::Group(CLUB), None),
    ]
}

fn session() -> SessionReply {
    SessionReply {
        user: UserId(1),
        name: name("bob"),
        session: SessionId(8),
        token: Secret::new("t"),
        idle_ms: 90_000,
        friends: vec![OnlineFriend {
            user: ANN,
            name: name("ann"),
            online: false,
        }],
        requests: vec![UserItem {
            user: UserId(3),
            name: name("cy"),
        }],
        groups: vec![GroupItem {
            group: CLUB,
            name: name("club"),
            role: Role::Member,
        }],
        invites: vec![InviteItem {
            group: GroupId(9),
            name: name("duo"),
            by: ANN,
        }],
        conversations: conversations(),
    }
}

#[test]
fn sessions() {
    check_ok(
        Reply::Session(Box::new(session())),
        concat!(
            r#"{"version":1,"user":1,"name":"bob","session":8,"token":"t","idle_ms":90000,"#,
            r#""friends":[{"user":2,"name":"ann","online":false}],"requests":[{"user":3,"name":"cy"}],"#,
            r#""groups":[{"group":7,"name":"club","role":"member"}],"invites":[{"group":9,"name":"duo","by":2}],"#,
            r#""conversations":[{"in":{"user":2},"last":5,"delivered":4,"read":3,"peer_delivered":2,"peer_read":1},"#,
            r#"{"in":{"group":7},"last":5,"delivered":4,"read":3}],"more":[]}"#,
        ),
    );
}

#[test]
fn errors() {
    check(
        Err(ErrorCode::NotFriends.into()),
        r#""error":{"code":"not_friends","message":"you are not friends"}"#,
    );
    check(
        Err(RequestError::new(ErrorCode::Busy, "a\nb").retry_after(Duration::from_secs(1))),
        r#""error":{"code":"busy","message":"a\nb","retry_ms":1000}"#,
    );
    let mut out = Vec::new();
    reply(None, &Err(ErrorCode::UnknownOp.into()), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"id":null,"error":{"code":"unknown_op","message":"there is no such op"}}"#
    );
}

#[test]
fn entries() {
    check_body(
        Body::Text(text("a\nb")),
        r#""kind":"text","key":"k","text":"a\nb""#,
    );
    check_body(
        Body::Text(Text {
            reply_to: Some(Seq(1)),
            meta: Some(r#"{"a":[1]}"#.into()),
            edited: true,
            ..text("x")
        }),
        r#""kind":"text","key":"k","text":"x","reply_to":1,"meta":{"a":[1]},"edited":true"#,
    );
    check_body(
        Body::Text(Text {
            recalled: true,
            ..text("")
        }),
        r#""kind":"text","key":"k","text":"","recalled":true"#,
    );
    let target = Seq(4);
    check_body(
        Body::Edit {
            target,
            text: Some("x".into()),
        },
        r#""kind":"edit","target":4,"text":"x""#,
    );
    check_body(
        Body::Edit { target, text: None },
        r#""kind":"edit","target":4"#,
    );
    check_body(Body::Recall { target }, r#""kind":"recall","target":4"#);
    check_body(Body::Joined { user: ANN }, r#""kind":"joined","user":2"#);
    check_body(Body::Left { user: ANN }, r#""kind":"left","user":2"#);
    check_body(Body::Removed { user: ANN }, r#""kind":"removed","user":2"#);
    check_body(
        Body::Role {
            user: ANN,
            role: Role::Muted,
        },
        r#""kind":"role","user":2,"role":"muted""#,
    );
    check_body(
        Body::Updated(GroupChange {
            name: Some(name("n")),
            description: Some("".into()),
            join: Some(JoinPolicy::Open),
        }),
        r#""kind":"updated","name":"n","description":"","join":"open""#,
    );
    check_body(
        Body::Updated(GroupChange {
            join: Some(JoinPolicy::Invite),
            ..GroupChange::default()
        }),
        r#""kind":"updated","join":"invite""#,
    );
    check_body(Body::Disbanded, r#""kind":"disbanded""#);
}

#[test]
fn events() {
    let conversation = ConversationRef::User(ANN);
    check_event(
        &Event::Receipt {
            conversation,
            user: ANN,
            delivered: Seq(4),
            read: Seq(3),
        },
        r#"{"event":"receipt","in":{"user":2},"user":2,"delivered":4,"read":3}"#,
    );
    check_event(
        &Event::Typing {
            conversation,
            user: ANN,
        },
        r#"{"event":"typing","in":{"user":2},"user":2}"#,
    );
    check_event(
        &Event::Presence {
            user: ANN,
            online: false,
        },
        r#"{"event":"presence","user":2,"online":false}"#,
    );
    check_event(
        &Event::Friend {
            user: ANN,
            name: name("ann"),
            state: FriendState::Blocked,
        },
        r#"{"event":"friend","user":2,"name":"ann","state":"blocked"}"#,
    );
    for (state, shown) in [
        (GroupState::Invited, r#""invited""#),
        (GroupState::Member, r#""member""#),
        (GroupState::Removed, r#""removed""#),
        (GroupState::Disbanded, r#""disbanded""#),
        (GroupState::None, r#""none""#),
        (
            GroupState::Requested { user: ANN },
            r#""requested","user":2"#,
        ),
    ] {
        check_event(
            &Event::Group {
                group: CLUB,
                name: name("club"),
                state,
            },
            &format!(r#"{{"event":"group","group":7,"name":"club","state":{shown}}}"#),
        );
    }
    check_event(
        &Event::Notice {
            code: NoticeCode::Draining,
            message: "bye".into(),
            retry_ms: Some(5),
        },
        r#"{"event":"notice","code":"draining","message":"bye","retry_ms":5}"#,
    );
    check_event(
        &Event::Notice {
            code: NoticeCode::Ended,
            message: "bye".into(),
            retry_ms: None,
        },
        r#"{"event":"notice","code":"ended","message":"bye"}"#,
    );
}

/// The longest messages there can be: every byte of the text is escaped to six.
fn worst_messages() -> Vec<Message> {
    let worst = Text {
        key: Key::new(&"\u{1}".repeat(64)).unwrap(),
        meta: Some(format!(r#"{{"m":"{}"}}"#, "m".repeat(4088)).into()),
        ..text(&"\u{1}".repeat(MAX_TEXT_BYTES))
    };
    (1..=200)
        .map(|seq| message(seq, Body::Text(worst.clone())))
        .collect()
}

fn seqs(ok: &Value) -> Vec<u64> {
    let messages = ok["messages"].as_array().unwrap().iter();
    messages
        .map(|message| message["seq"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_history_is_cut_at_the_far_end() {
    for (keep, expected) in [(Keep::First, [1, 2]), (Keep::Last, [199, 200])] {
        let (_, ok) = cut(Reply::History {
            messages: worst_messages(),
            more: false,
            keep,
        });
        assert_eq!(seqs(&ok), expected);
        assert_eq!(ok["more"], true);
    }
}

/// A history of messages from a number up to 16, of which the last has a text of `length` bytes.
fn history(first: u64, length: usize, keep: Keep) -> Reply {
    let filler = |seq| message(seq, Body::Text(text(&"x".repeat(MAX_TEXT_BYTES))));
    let mut messages: Vec<_> = (first..=15).map(filler).collect();
    let last = message(16, Body::Text(text(&"x".repeat(length))));
    messages.push(last);
    Reply::History {
        messages,
        more: false,
        keep,
    }
}

#[test]
fn a_history_that_fits_to_the_byte_is_whole() {
    let history = |length, keep| history(1, length, keep);
    for keep in [Keep::First, Keep::Last] {
        let (length, _) = cut(history(1, keep));
        // `"more":false` is what room is kept for.
        let full = MAX_SERVER_FRAME - length + 1;
        let (length, ok) = cut(history(full, keep));
        assert_eq!(
            (length, ok["more"].clone()),
            (MAX_SERVER_FRAME, false.into())
        );
        let (_, ok) = cut(history(full + 1, keep));
        assert_eq!(ok["more"], true);
        assert_eq!(seqs(&ok).len(), 15);
    }
}

#[test]
fn the_end_of_a_history_fills_the_frame_to_the_byte() {
    let (length, _) = cut(history(1, 1, Keep::Last));
    let full = MAX_SERVER_FRAME - length + 1;
    for (text, first) in [(full, 1), (full + 1, 2)] {
        let (_, ok) = cut(history(0, text, Keep::Last));
        assert_eq!(seqs(&ok), (first..=16).collect::<Vec<u64>>());
        assert_eq!(ok["more"], true);
    }
}

#[test]
fn more_of_the_store_is_kept() {
    let (_, ok) = cut(Reply::History {
        messages: vec![message(1, Body::Disbanded)],
        more: true,
        keep: Keep::Last,
    });
    assert_eq!((seqs(&ok), ok["more"].clone()), (vec![1], true.into()));
}

#[test]
fn a_page_is_cut_at_its_end() {
    let items = (0..20_000)
        .map(|user| UserItem {
            user: UserId(user),
            name: name("ann"),
        })
        .collect();
    let (length, ok) = cut(Reply::Requests(Listing { items, more: false }));
    let requests = ok["requests"].as_array().unwrap();
    assert!(length > MAX_SERVER_FRAME - 100);
    assert_eq!(requests.last().unwrap()["user"], requests.len() - 1);
    assert_eq!(ok["more"], true);
}

#[test]
fn a_session_cuts_its_long_lists_alone() {
    let long = session();
    let friends = vec![long.friends[0].clone(); 20_000];
    let conversations = vec![long.conversations[0].clone(); 20_000];
    let (length, ok) = cut(Reply::Session(Box::new(SessionReply {
        friends,
        conversations,
        groups: vec![long.groups[0].clone(); 500],
        ..long
    })));
    assert!(length > MAX_SERVER_FRAME - 300, "{length}");
    assert_eq!(ok["more"], serde_json::json!(["friends", "conversations"]));
    assert_eq!(ok["groups"].as_array().unwrap().len(), 500);
    assert_eq!(ok["invites"].as_array().unwrap().len(), 1);
    assert!(ok["friends"].as_array().unwrap().len() > 2000);
    assert!(ok["conversations"].as_array().unwrap().len() > 1000);
}

#[test]
fn a_session_cuts_every_list_if_it_must() {
    let long = session();
    let worst = name(&"\u{10ffff}".repeat(32));
    let (length, ok) = cut(Reply::Session(Box::new(SessionReply {
        name: worst,
        friends: vec![long.friends[0].clone(); 9000],
        requests: vec![long.requests[0].clone(); 9000],
        groups: vec![long.groups[0].clone(); 9000],
        invites: vec![long.invites[0].clone(); 9000],
        conversations: vec![long.conversations[0].clone(); 9000],
        ..long
    })));
    assert!(length > MAX_SERVER_FRAME - 600, "{length}");
    let all = ["friends", "requests", "groups", "invites", "conversations"];
    assert_eq!(ok["more"], serde_json::json!(all));
    for list in all {
        assert!(ok[list].as_array().unwrap().len() > 400, "{list}");
    }
}
