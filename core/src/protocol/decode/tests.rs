mod rules;

use super::{DecodeError, request};
use crate::id::{ConversationRef, GroupId, RequestId, Seq, UserId};
use crate::log::{GroupChange, JoinPolicy, Role};
use crate::name::{Key, Name};
use crate::protocol::request::{
    Anchor, FriendAction, GroupOtherAction, GroupSelfAction, Start, UserRef,
};
use crate::protocol::{ErrorCode, Frame, Request};
use crate::secret::Secret;

const ANN: UserId = UserId(2);
const CLUB: GroupId = GroupId(7);

/// Checks that a frame with these fields, beside `id`, is this request.
fn check(fields: &str, expected: Request) {
    let frame = format!(r#"{{{fields},"id":5}}"#);
    assert_eq!(
        request(frame.as_bytes()),
        Ok(Frame {
            id: RequestId(5),
            request: expected
        }),
        "{frame}"
    );
}

/// Checks a frame that is no request: whose reply, the code, and the whole message.
fn fails(frame: impl AsRef<[u8]>, id: Option<u64>, code: ErrorCode, message: &str) {
    let DecodeError { id: found, error } = request(frame.as_ref()).unwrap_err();
    let shown = String::from_utf8_lossy(frame.as_ref()).into_owned();
    let shown = &shown[..shown.floor_char_boundary(200)];
    assert_eq!(found, id.map(RequestId), "{shown}");
    assert_eq!(
        (error.code, error.message.as_ref()),
        (code, message),
        "{shown}"
    );
    assert_eq!(error.retry_ms, None);
}

/// Checks that a frame with these fields, beside `id`, breaks a rule.
fn refuses(fields: &str, message: &str) {
    fails(
        format!(r#"{{"id":5,{fields}}}"#),
        Some(5),
        ErrorCode::BadRequest,
        message,
    );
}

/// Checks that a frame is none.
fn broken(frame: impl AsRef<[u8]>, id: Option<u64>) {
    let message = ErrorCode::BadFrame.sentence();
    fails(frame, id, ErrorCode::BadFrame, message);
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn key(text: &str) -> Option<Key> {
    Key::new(text)
}

#[test]
fn login_by_what_another_service_says() {
    check(
        r#""op":"login","jwt":"a.b.c","device":"phone""#,
        Request::LoginJwt {
            jwt: Secret::new("a.b.c"),
            device: Some("phone".into()),
            start: Start::default(),
        },
    );
}

#[test]
fn accounts() {
    check(
        r#""op":"register","name":"ann","password":"12345678""#,
        Request::Register {
            name: name("ann"),
            password: Secret::new("12345678"),
            invite: None,
        },
    );
    check(
        r#""op":"register","name":"Ann É","password":"12345678","invite":"come""#,
        Request::Register {
            name: name("Ann É"),
            password: Secret::new("12345678"),
            invite: Some(Secret::new("come")),
        },
    );
    check(
        r#""op":"login","name":"ann","password":"x""#,
        Request::Login {
            who: UserRef::Name(name("ann")),
            password: Secret::new("x"),
            device: None,
            start: Start::default(),
        },
    );
    check(
        r#""op":"login","user":2,"password":"","device":"phone","replay":false,
           "have":[{"in":{"user":2},"seq":0},{"seq":9,"x":[1],"in":{"group":7}}]"#,
        Request::Login {
            who: UserRef::Id(ANN),
            password: Secret::new(""),
            device: Some("phone".into()),
            start: Start {
                replay: false,
                have: vec![
                    (ConversationRef::User(ANN), Seq(0)),
                    (ConversationRef::Group(CLUB), Seq(9)),
                ],
            },
        },
    );
    check(
        r#""op":"resume","token":"t","replay":true,"have":[]"#,
        Request::Resume {
            token: Secret::new("t"),
            start: Start::default(),
        },
    );
    check(r#""op":"logout""#, Request::Logout);
    check(
        r#""op":"password","old":"1","new":"12345678""#,
        Request::Password {
            old: Secret::new("1"),
            new: Secret::new("12345678"),
        },
    );
    check(
        r#""op":"delete_account","password":"1""#,
        Request::DeleteAccount {
            password: Secret::new("1"),
        },
    );
    check(r#""op":"ping""#, Request::Ping);
}

#[test]
fn users_and_friends() {
    let ann = UserRef::Id(ANN);
    check(
        r#""op":"user","user":2"#,
        Request::User { who: ann.clone() },
    );
    check(
        r#""op":"user","user":null,"name":"ann""#,
        Request::User {
            who: UserRef::Name(name("ann")),
        },
    );
    check(
        r#""op":"friend_request","user":2"#,
        Request::FriendRequest { who: ann },
    );
    for (op, action) in [
        ("friend_accept", FriendAction::Accept),
        ("friend_reject", FriendAction::Reject),
        ("friend_remove", FriendAction::Remove),
        ("block", FriendAction::Block),
        ("unblock", FriendAction::Unblock),
    ] {
        check(
            &format!(r#""op":"{op}","user":2"#),
            Request::Friend { action, user: ANN },
        );
    }
    check(
        r#""op":"friends""#,
        Request::Friends {
            after: None,
            limit: 50,
        },
    );
    check(
        r#""op":"friends","after":2,"limit":200"#,
        Request::Friends {
            after: Some(ANN),
            limit: 200,
        },
    );
}

#[test]
fn groups() {
    check(
        r#""op":"group_create","name":"club""#,
        Request::GroupCreate {
            name: name("club"),
            description: "".into(),
            join: JoinPolicy::Open,
            key: None,
        },
    );
    check(
        r#""op":"group_create","name":"club","description":"d","join":"approval","key":"k""#,
        Request::GroupCreate {
            name: name("club"),
            description: "d".into(),
            join: JoinPolicy::Approval,
            key: key("k"),
        },
    );
    for (op, action) in [
        ("group_join", GroupSelfAction::Join),
        ("group_leave", GroupSelfAction::Leave),
        ("group_disband", GroupSelfAction::Disband),
    ] {
        check(
            &format!(r#""op":"{op}","group":7"#),
            Request::GroupSelf {
                action,
                group: CLUB,
            },
        );
    }
    for (op, action) in [
        ("group_invite", GroupOtherAction::Invite),
        ("group_approve", GroupOtherAction::Approve),
        ("group_reject", GroupOtherAction::Reject),
        ("group_remove", GroupOtherAction::Remove),
    ] {
        check(
            &format!(r#""op":"{op}","group":7,"user":2"#),
            Request::GroupOther {
                action,
                group: CLUB,
                user: ANN,
            },
        );
    }
}

#[test]
fn what_groups_say_of_themselves_and_members() {
    for &role in Role::ALL {
        check(
            &format!(
                r#""op":"group_role","group":7,"user":2,"role":"{}""#,
                role.as_str()
            ),
            Request::GroupRole {
                group: CLUB,
                user: ANN,
                role,
            },
        );
    }
    check(
        r#""op":"group_update","group":7"#,
        Request::GroupUpdate {
            group: CLUB,
            change: GroupChange::default(),
        },
    );
    check(
        r#""op":"group_update","group":7,"name":"n","description":"","join":"invite""#,
        Request::GroupUpdate {
            group: CLUB,
            change: GroupChange {
                name: Some(name("n")),
                description: Some("".into()),
                join: Some(JoinPolicy::Invite),
            },
        },
    );
    check(r#""op":"group","group":7"#, Request::Group { group: CLUB });
}

#[test]
fn lists() {
    check(
        r#""op":"group_members","group":7,"after":2,"limit":1"#,
        Request::GroupMembers {
            group: CLUB,
            after: Some(ANN),
            limit: 1,
        },
    );
    check(
        r#""op":"group_requests","group":7"#,
        Request::GroupRequests {
            group: CLUB,
            after: None,
            limit: 50,
        },
    );
    check(
        r#""op":"groups","after":7"#,
        Request::Groups {
            after: Some(CLUB),
            limit: 50,
        },
    );
    check(
        r#""op":"conversations","after":{"user":2}"#,
        Request::Conversations {
            after: Some(ConversationRef::User(ANN)),
            limit: 50,
        },
    );
}

#[test]
fn chat() {
    let ann = ConversationRef::User(ANN);
    let club = ConversationRef::Group(CLUB);
    check(
        r#""op":"send","to":{"user":2},"key":"k","text":"hi""#,
        Request::Send {
            to: ann,
            key: key("k").unwrap(),
            text: "hi".into(),
            reply_to: None,
            meta: None,
        },
    );
    check(
        r#""text":"\u0000\ud83d\ude00\"","meta": { "a" : " " } ,"key":"k","reply_to":3,"to":{"group":7},"op":"s\u0065nd""#,
        Request::Send {
            to: club,
            key: key("k").unwrap(),
            text: "\0😀\"".into(),
            reply_to: Some(Seq(3)),
            meta: Some(r#"{"a":" "}"#.into()),
        },
    );
    check(
        r#""op":"edit","in":{"user":2},"seq":1,"text":"ho""#,
        Request::Edit {
            conversation: ann,
            seq: Seq(1),
            text: "ho".into(),
        },
    );
    check(
        r#""op":"recall","in":{"group":7},"seq":9007199254740991"#,
        Request::Recall {
            conversation: club,
            seq: Seq(9_007_199_254_740_991),
        },
    );
    check(
        r#""op":"ack","in":{"user":2},"read":4"#,
        Request::Ack {
            conversation: ann,
            delivered: None,
            read: Some(Seq(4)),
        },
    );
    check(
        r#""op":"typing","to":{"user":2}"#,
        Request::Typing { to: ann },
    );
    for (fields, anchor) in [
        ("", Anchor::Newest),
        (r#","after":0"#, Anchor::After(Seq(0))),
        (r#","before":9,"after":null"#, Anchor::Before(Seq(9))),
    ] {
        check(
            &format!(r#""op":"history","in":{{"user":2}}{fields}"#),
            Request::History {
                conversation: ann,
                anchor,
                limit: 50,
            },
        );
    }
}

#[test]
fn what_an_op_does_not_use_is_ignored() {
    check(
        r#""op":"ping","user":"x","limit":-1,"to":1e400,"?":{"a":[]}"#,
        Request::Ping,
    );
    check("\"op\" :\t\"ping\" , \r\"x\":\"\\ud800\"", Request::Ping);
}
