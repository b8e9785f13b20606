use super::{ReplyKind, ServerFrame, SessionList, decode, encode_request};
use crate::id::{ConversationRef, GroupId, RequestId, Seq, UserId};
use crate::log::{GroupChange, JoinPolicy, Role};
use crate::name::{Key, Name};
use crate::protocol::event::{Event, NoticeCode};
use crate::protocol::reply::{Keep, Reply};
use crate::protocol::request::{
    Anchor, FriendAction, GroupOtherAction, GroupSelfAction, Request, Start, UserRef,
};
use crate::protocol::{ErrorCode, RequestError};
use crate::secret::Secret;

const ANN: UserId = UserId(2);
const CLUB: GroupId = GroupId(7);

/// Checks the whole frame of request 5.
#[track_caller]
fn check(request: &Request, expected: &str) {
    let mut out = Vec::new();
    encode_request(RequestId(5), request, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(r#"{{"id":5,"op":{expected}}}"#)
    );
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

#[test]
fn requests_of_accounts() {
    check(
        &Request::Register {
            name: name("ann"),
            password: secret("12345678"),
            invite: Some(secret("come")),
        },
        r#""register","name":"ann","password":"12345678","invite":"come""#,
    );
    check(
        &Request::Login {
            who: UserRef::Name(name("ann")),
            password: secret("p"),
            device: None,
            start: Start::default(),
        },
        r#""login","name":"ann","password":"p""#,
    );
    let start = Start {
        replay: false,
        have: vec![
            (ConversationRef::User(ANN), Seq(3)),
            (ConversationRef::Group(CLUB), Seq(0)),
        ],
    };
    check(
        &Request::Login {
            who: UserRef::Id(ANN),
            password: secret("p"),
            device: Some("phone".into()),
            start: start.clone(),
        },
        r#""login","user":2,"password":"p","device":"phone","replay":false,"have":[{"in":{"user":2},"seq":3},{"in":{"group":7},"seq":0}]"#,
    );
    check(
        &Request::LoginJwt {
            jwt: secret("a.b.c"),
            device: Some("phone".into()),
            start: start.clone(),
        },
        r#""login","jwt":"a.b.c","device":"phone","replay":false,"have":[{"in":{"user":2},"seq":3},{"in":{"group":7},"seq":0}]"#,
    );
    check(
        &Request::Resume {
            token: secret("t"),
            start,
        },
        r#""resume","token":"t","replay":false,"have":[{"in":{"user":2},"seq":3},{"in":{"group":7},"seq":0}]"#,
    );
    check(&Request::Logout, r#""logout""#);
    check(
        &Request::Password {
            old: secret("o"),
            new: secret("n"),
        },
        r#""password","old":"o","new":"n""#,
    );
}

#[test]
fn requests_of_users() {
    let password = secret("p");
    check(
        &Request::DeleteAccount { password },
        r#""delete_account","password":"p""#,
    );
    check(&Request::Ping, r#""ping""#);
    let who = UserRef::Id(ANN);
    check(&Request::User { who: who.clone() }, r#""user","user":2"#);
    check(
        &Request::FriendRequest { who },
        r#""friend_request","user":2"#,
    );
    check(
        &Request::Friend {
            action: FriendAction::Unblock,
            user: ANN,
        },
        r#""unblock","user":2"#,
    );
    check(
        &Request::Friends {
            after: Some(ANN),
            limit: 50,
        },
        r#""friends","after":2"#,
    );
}

#[test]
fn requests_of_groups() {
    let group = CLUB;
    check(
        &Request::GroupCreate {
            name: name("club"),
            description: "d".into(),
            join: JoinPolicy::Invite,
            key: Key::new("k"),
        },
        r#""group_create","name":"club","description":"d","join":"invite","key":"k""#,
    );
    check(
        &Request::GroupSelf {
            action: GroupSelfAction::Leave,
            group,
        },
        r#""group_leave","group":7"#,
    );
    check(
        &Request::GroupOther {
            action: GroupOtherAction::Approve,
            group,
            user: ANN,
        },
        r#""group_approve","group":7,"user":2"#,
    );
    check(
        &Request::GroupRole {
            group,
            user: ANN,
            role: Role::Muted,
        },
        r#""group_role","group":7,"user":2,"role":"muted""#,
    );
    check(
        &Request::GroupUpdate {
            group,
            change: GroupChange {
                name: None,
                description: Some("".into()),
                join: Some(JoinPolicy::Open),
            },
        },
        r#""group_update","group":7,"description":"","join":"open""#,
    );
    check(&Request::Group { group }, r#""group","group":7"#);
}

#[test]
fn requests_of_lists() {
    let group = CLUB;
    check(
        &Request::GroupMembers {
            group,
            after: Some(ANN),
            limit: 9,
        },
        r#""group_members","group":7,"after":2,"limit":9"#,
    );
    check(
        &Request::GroupRequests {
            group,
            after: None,
            limit: 50,
        },
        r#""group_requests","group":7"#,
    );
    check(
        &Request::Groups {
            after: None,
            limit: 200,
        },
        r#""groups","limit":200"#,
    );
    check(
        &Request::Conversations {
            after: Some(ConversationRef::Group(CLUB)),
            limit: 50,
        },
        r#""conversations","after":{"group":7}"#,
    );
}

#[test]
fn requests_of_chat() {
    let conversation = ConversationRef::User(ANN);
    check(
        &Request::Send {
            to: conversation,
            key: Key::new("k").unwrap(),
            text: "a\nb".into(),
            reply_to: Some(Seq(1)),
            meta: Some(r#"{"a":1}"#.into()),
        },
        r#""send","to":{"user":2},"key":"k","text":"a\nb","reply_to":1,"meta":{"a":1}"#,
    );
    let seq = Seq(4);
    check(
        &Request::Edit {
            conversation,
            seq,
            text: "x".into(),
        },
        r#""edit","in":{"user":2},"seq":4,"text":"x""#,
    );
    check(
        &Request::Recall { conversation, seq },
        r#""recall","in":{"user":2},"seq":4"#,
    );
    check(
        &Request::Ack {
            conversation,
            delivered: Some(seq),
            read: None,
        },
        r#""ack","in":{"user":2},"delivered":4"#,
    );
    check(
        &Request::Typing { to: conversation },
        r#""typing","to":{"user":2}"#,
    );
    for (anchor, shown) in [
        (Anchor::Newest, ""),
        (Anchor::After(seq), r#","after":4"#),
        (Anchor::Before(seq), r#","before":4"#),
    ] {
        check(
            &Request::History {
                conversation,
                anchor,
                limit: 7,
            },
            &format!(r#""history","in":{{"user":2}}{shown},"limit":7"#),
        );
    }
}

fn error(frame: &str) -> RequestError {
    match decode(frame.as_bytes()).unwrap() {
        ServerFrame::Reply {
            result: Err(error), ..
        } => error,
        other => panic!("{other:?}"),
    }
}

fn parse(ok: &str, kind: ReplyKind) -> Option<Reply> {
    let frame = format!(r#"{{"id":1,"ok":{ok}}}"#);
    match decode(frame.as_bytes()).unwrap() {
        ServerFrame::Reply {
            id: Some(RequestId(1)),
            result: Ok(raw),
        } => raw.parse(kind).ok(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_error_codes_are_told_apart_by_whether_repeating_helps() {
    assert_eq!(
        error(r#"{"id":1,"error":{"code":"odd","message":"m"}}"#),
        RequestError::new(ErrorCode::BadRequest, "m")
    );
    let mut busy = RequestError::new(ErrorCode::Busy, "m");
    busy.retry_ms = Some(5);
    assert_eq!(
        error(r#"{"id":1,"error":{"code":"odd","message":"m","retry_ms":5}}"#),
        busy
    );
    for &code in ErrorCode::ALL {
        let frame = format!(r#"{{"id":null,"error":{{"code":"{code}"}},"x":1}}"#);
        assert_eq!(error(&frame), code.into());
    }
}

#[test]
fn what_a_later_version_says_is_unknown() {
    for frame in [
        "{}",
        r#"{"id":1}"#,
        r#"{"event":"odd","in":3}"#,
        r#"{"event":"friend","user":2,"name":"ann","state":"odd"}"#,
        r#"{"event":"group","group":7,"name":"club","state":"odd"}"#,
        r#"{"event":"notice","code":"odd","message":"m"}"#,
        r#"{"event":"message","in":{"user":2},"seq":1,"from":2,"at":9,"kind":"odd"}"#,
    ] {
        assert_eq!(
            decode(frame.as_bytes()),
            Ok(ServerFrame::Unknown),
            "{frame}"
        );
    }
    assert_eq!(
        decode(br#"{"event":"notice","code":"odd","message":"m","retry_ms":7,"x":[]}"#),
        Ok(ServerFrame::Event(Event::Notice {
            code: NoticeCode::Draining,
            message: "m".into(),
            retry_ms: Some(7),
        }))
    );
}

#[test]
fn a_history_skips_unknown_kinds() {
    let item = |seq: u64, kind: &str| {
        format!(
            r#"{{"event":"message","in":{{"user":2}},"seq":{seq},"from":2,"at":9,"kind":"{kind}"}}"#
        )
    };
    let ok = format!(
        r#"{{"messages":[{},{}]}}"#,
        item(1, "odd"),
        item(2, "disbanded")
    );
    let Some(Reply::History { messages, more, .. }) = parse(&ok, ReplyKind::History(Keep::First))
    else {
        panic!("no history");
    };
    assert!(!more);
    assert_eq!(
        messages
            .iter()
            .map(|message| message.seq)
            .collect::<Vec<_>>(),
        [Seq(2)]
    );
}

#[test]
fn malformed_frames_are_errors() {
    let deep = format!(
        r#"{{"id":1,"ok":{}{}}}"#,
        "[".repeat(9999),
        "]".repeat(9999)
    );
    let open = "[".repeat(20_000);
    for frame in [
        "",
        "[]",
        "x",
        &open,
        &deep,
        r#"{"id":1,"ok":{}} x"#,
        r#"{"id":1.0,"ok":{}}"#,
        r#"{"id":1e400,"ok":{}}"#,
        r#"{"id":1,"id":1,"ok":{}}"#,
        r#"{"id":1,"error":7}"#,
        r#"{"id":1,"error":{}}"#,
        r#"{"event":7}"#,
        r#"{"event":"presence","user":2}"#,
        r#"{"event":"friend","user":2,"name":"\u0000","state":"none"}"#,
        r#"{"event":"typing","in":{"user":2,"group":7},"user":2}"#,
        r#"{"event":"notice","code":"idle","message":"\ud800"}"#,
    ] {
        assert!(decode(frame.as_bytes()).is_err(), "{frame}");
    }
    assert!(decode(b"\xff").is_err());
    assert_eq!(
        decode(br#"{"event":"presence","user":2}"#)
            .unwrap_err()
            .to_string(),
        "the server's frame is malformed: `online` is missing"
    );
}

#[test]
fn replies_of_the_wrong_kind_are_errors() {
    assert_eq!(parse("{}", ReplyKind::Done), Some(Reply::Done));
    assert_eq!(parse("{}", ReplyKind::Pong), None);
    assert_eq!(parse("[]", ReplyKind::Done), None);
    assert_eq!(parse("7", ReplyKind::Done), None);
    assert_eq!(
        parse(r#"{"friends":[7],"more":false}"#, ReplyKind::Friends),
        None
    );
    assert_eq!(
        parse(r#"{"friends":{},"more":false}"#, ReplyKind::Friends),
        None
    );
    assert_eq!(parse(r#"{"state":"odd"}"#, ReplyKind::FriendState), None);
}

#[test]
fn cut_lists_are_named() {
    let cut = |ok: &str| {
        let frame = format!(r#"{{"id":1,"ok":{ok}}}"#);
        match decode(frame.as_bytes()) {
            Ok(ServerFrame::Reply {
                result: Ok(raw), ..
            }) => raw.cut_lists().unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        cut(r#"{"more":["friends","odd","conversations"]}"#),
        [SessionList::Friends, SessionList::Conversations]
    );
    for none in ["{}", r#"{"more":[]}"#, r#"{"more":true}"#] {
        assert_eq!(cut(none), []);
    }
}

#[test]
fn debug_shows_no_token() {
    let frame = decode(br#"{"id":1,"ok":{"token":"hidden"}}"#).unwrap();
    let shown = format!("{frame:?}");
    assert!(!shown.contains("hidden"), "{shown}");
    assert!(shown.contains("RawReply(18 bytes)"), "{shown}");
}
