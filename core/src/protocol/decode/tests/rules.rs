//! Frames that are no requests.

use super::{ANN, broken, check, fails, key, refuses};
use crate::id::ConversationRef;
use crate::protocol::decode::request;
use crate::protocol::{ErrorCode, MAX_META_BYTES, MAX_TEXT_BYTES, Request};

#[test]
fn frames_that_are_no_json_object() {
    for frame in [
        "", " ", "x", "1", "null", "[]", "\"{}\"", "{", "{]", "{\"id\"", "\0", "{'id':1}",
    ] {
        broken(frame, None);
    }
    broken("\u{feff}{\"id\":1,\"op\":\"ping\"}", None);
    broken(b"\xff\xfe", None);
    broken("[".repeat(20_000), None);
    broken("{\"a\":".repeat(20_000), None);
    broken([0xd8, 0x00], None);
}

#[test]
fn an_id_before_the_break_is_answered() {
    broken(r#"{"id":1,"op":"ping"} x"#, Some(1));
    broken(r#"{"id":1,"op":"ping"}{"id":2,"op":"ping"}"#, Some(1));
    broken(r#"{"id":1,"op":"ping",}"#, Some(1));
    broken(r#"{"op":"ping","id":1"#, Some(1));
    broken(format!(r#"{{"id":1,"x":{}"#, "[".repeat(20_000)), Some(1));
    broken(b"{\"id\":1,\"op\":\"ping\",\"x\":\"\xff\"}", Some(1));
    broken(b"{\"id\":1,\"op\":\"ping\"}\xff", Some(1));
    broken(b"{\"x\":\"\xff\",\"id\":1}", None);
    broken("{\"id\":1,\"text\":\"a\nb\"}", Some(1));
    broken("{\"id\":1,\"text\":\"a\0b\"}", Some(1));
    broken(r#"{"id":01}"#, None);
}

#[test]
fn depth_is_bounded() {
    let nested = format!(
        r#"{{"op":"ping","x":{}{},"id":1}}"#,
        "[".repeat(9999),
        "]".repeat(9999)
    );
    let message = "the frame nests too deep";
    fails(nested, Some(1), ErrorCode::BadFrame, message);
    let meta = format!(
        "{}{}",
        "{\"a\":".repeat(70),
        "1".to_owned() + &"}".repeat(70)
    );
    fails(
        format!(r#"{{"op":"send","to":{{"user":2}},"key":"k","text":"t","meta":{meta},"id":1}}"#),
        Some(1),
        ErrorCode::BadFrame,
        "`meta` has what JSON readers refuse: broken Unicode, huge numbers or deep nesting",
    );
}

#[test]
fn strings_are_unicode() {
    for (field, text) in [
        ("text", r"\ud800"),
        ("text", r"\udc00\ud800"),
        ("key", r"a\ud83dz"),
    ] {
        let other = if field == "key" { "text" } else { "key" };
        fails(
            format!(r#"{{"id":5,"op":"send","to":{{"user":2}},"{other}":"x","{field}":"{text}"}}"#),
            Some(5),
            ErrorCode::BadFrame,
            &format!(
                "`{field}` has what JSON readers refuse: broken Unicode, huge numbers or deep nesting"
            ),
        );
    }
    broken(r#"{"id":5,"\ud800":1}"#, Some(5));
    fails(
        r#"{"id":5,"op":"\ud800"}"#,
        Some(5),
        ErrorCode::BadFrame,
        "`op` has what JSON readers refuse: broken Unicode, huge numbers or deep nesting",
    );
}

#[test]
fn ids() {
    let missing = "`id` is missing";
    fails(r#"{"op":"ping"}"#, None, ErrorCode::BadRequest, missing);
    fails(
        r#"{"op":"ping","id":null}"#,
        None,
        ErrorCode::BadRequest,
        missing,
    );
    fails("{}", None, ErrorCode::BadRequest, missing);
    let wrong = "`id` must be an integer from 0 to 2^53 - 1";
    for id in [
        "1.0",
        "1e3",
        "-1",
        "-0",
        "\"1\"",
        "[1]",
        "true",
        "9007199254740992",
        "1e400",
    ] {
        let frame = format!(r#"{{"op":"ping","id":{id}}}"#);
        fails(frame, None, ErrorCode::BadRequest, wrong);
    }
    let huge = format!(r#"{{"op":"ping","id":{}}}"#, "9".repeat(60_000));
    fails(huge, None, ErrorCode::BadRequest, wrong);
}

#[test]
fn ops() {
    refuses(r#""user":2"#, "`op` is missing");
    refuses(r#""op":7"#, "`op` must be a string");
    for op in ["", "PING", "ping ", "message", "x"] {
        fails(
            format!(r#"{{"id":5,"op":"{op}"}}"#),
            Some(5),
            ErrorCode::UnknownOp,
            "there is no such op",
        );
    }
}

#[test]
fn fields_that_are_there_twice() {
    refuses(r#""op":"ping","op":"ping""#, "`op` is there twice");
    refuses(
        r#""op":"ping","limit":1,"limit":null"#,
        "`limit` is there twice",
    );
    refuses(r#""op":"ping","x":1,"\u0078":1"#, "a field is there twice");
    fails(
        r#"{"id":1,"op":"ping","id":1}"#,
        None,
        ErrorCode::BadRequest,
        "`id` is there twice",
    );
    refuses(
        r#""op":"typing","to":{"user":2,"user":2}"#,
        "`to` has a field twice",
    );
}

#[test]
fn rules_of_accounts() {
    let register = |name: &str, password: &str| {
        format!(r#""op":"register","name":"{name}","password":"{password}""#)
    };
    refuses(&register("", "12345678"), "`name` must not be empty");
    refuses(
        &register(&"n".repeat(33), "12345678"),
        "`name` must have at most 32 characters",
    );
    refuses(
        &register(r"a\u0000", "12345678"),
        "`name` must not have control characters",
    );
    refuses(
        &register(" a", "12345678"),
        "`name` must not begin or end with white space",
    );
    for wrong in ["1234567", &"p".repeat(257)] {
        refuses(
            &register("ann", wrong),
            "`password` must have 8 to 256 bytes",
        );
        refuses(
            &format!(r#""op":"password","old":"x","new":"{wrong}""#),
            "`new` must have 8 to 256 bytes",
        );
    }
    let long = "p".repeat(257);
    refuses(
        &format!(r#""op":"login","user":2,"password":"{long}""#),
        "`password` must have 0 to 256 bytes",
    );
    refuses(
        &format!(r#""op":"password","old":"{long}","new":"12345678""#),
        "`old` must have 0 to 256 bytes",
    );
    refuses(
        &format!(r#""op":"delete_account","password":"{long}""#),
        "`password` must have 0 to 256 bytes",
    );
    refuses(r#""op":"register","name":"ann""#, "`password` is missing");
    refuses(
        r#""op":"login","password":"x""#,
        "`user` is missing, and so is `name`",
    );
    for op in ["login", "user", "friend_request"] {
        refuses(
            &format!(r#""op":"{op}","user":2,"name":"ann","password":"x""#),
            "`user` and `name` exclude each other",
        );
    }
    let token = format!(r#""op":"resume","token":"{}""#, "t".repeat(1025));
    refuses(&token, "`token` must have 0 to 1024 bytes");
    let jwt = format!(r#""op":"login","jwt":"{}""#, "t".repeat(8193));
    refuses(&jwt, "`jwt` must have 1 to 8192 bytes");
    for (field, name) in [
        (r#""name":"ann""#, "name"),
        (r#""user":1"#, "user"),
        (r#""password":"12345678""#, "password"),
    ] {
        let both = format!(r#""op":"login","jwt":"a.b.c",{field}"#);
        refuses(&both, &format!("`{name}` and `jwt` exclude each other"));
    }
    refuses(
        &format!(
            r#""op":"register","name":"a","password":"12345678","invite":"{}""#,
            "t".repeat(1025)
        ),
        "`invite` must have 0 to 1024 bytes",
    );
}

#[test]
fn rules_of_sessions() {
    let login = |field: &str| format!(r#""op":"login","user":2,"password":"x",{field}"#);
    for device in ["", &"d".repeat(65)] {
        refuses(
            &login(&format!(r#""device":"{device}""#)),
            "`device` must have 1 to 64 bytes",
        );
    }
    refuses(
        &login(r#""device":"a\n""#),
        "`device` must not have control characters",
    );
    refuses(&login(r#""replay":1"#), "`replay` must be true or false");
    refuses(&login(r#""have":{}"#), "`have` must be a list");
    refuses(&login(r#""have":[1]"#), "`have` must be an object");
    refuses(
        &login(r#""have":[{"seq":1}]"#),
        "`have` has an item whose `in` is missing",
    );
    refuses(
        &login(r#""have":[{"in":{"user":2},"seq":-1}]"#),
        "`have` has an item whose `seq` must be an integer from 0 to 2^53 - 1",
    );
    let item = r#"{"in":{"user":2},"seq":1}"#;
    let have = |count: usize| login(&format!(r#""have":[{}]"#, vec![item; count].join(",")));
    refuses(&have(2049), "`have` must have at most 2048 items");
    let most = format!(r#"{{"id":5,{}}}"#, have(2048));
    assert!(most.len() < crate::protocol::MAX_CLIENT_FRAME && request(most.as_bytes()).is_ok());
}

#[test]
fn rules_of_groups_and_lists() {
    refuses(r#""op":"group""#, "`group` is missing");
    refuses(
        r#""op":"block","user":"ann""#,
        "`user` must be an integer from 0 to 2^53 - 1",
    );
    let long = "d".repeat(1025);
    refuses(
        &format!(r#""op":"group_create","name":"c","description":"{long}""#),
        "`description` must have at most 1024 bytes",
    );
    let longest = &long[1..];
    check(
        &format!(r#""op":"group_update","group":7,"description":"{longest}""#),
        Request::GroupUpdate {
            group: crate::id::GroupId(7),
            change: crate::log::GroupChange {
                description: Some(longest.into()),
                ..crate::log::GroupChange::default()
            },
        },
    );
    refuses(
        r#""op":"group_update","group":7,"join":"all""#,
        "`join` must be open, approval or invite",
    );
    refuses(
        r#""op":"group_role","group":7,"user":2,"role":"king""#,
        "`role` must be owner, admin, member or muted",
    );
    for limit in ["0", "201", "1.0", "-1", "4294967297", "\"5\""] {
        refuses(
            &format!(r#""op":"friends","limit":{limit}"#),
            "`limit` must be from 1 to 200",
        );
    }
    refuses(
        r#""op":"conversations","after":2"#,
        "`after` must be an object",
    );
    refuses(
        r#""op":"friends","after":{"user":2}"#,
        "`after` must be an integer from 0 to 2^53 - 1",
    );
}

#[test]
fn rules_of_chat() {
    let send = |field: &str| format!(r#""op":"send","to":{{"user":2}},"key":"k",{field}"#);
    refuses(&send(r#""x":1"#), "`text` is missing");
    refuses(&send(r#""text":"""#), "`text` must not be empty");
    let text = |length: usize| send(&format!(r#""text":"{}""#, "t".repeat(length)));
    check(
        &text(MAX_TEXT_BYTES),
        Request::Send {
            to: ConversationRef::User(ANN),
            key: key("k").unwrap(),
            text: "t".repeat(MAX_TEXT_BYTES).into(),
            reply_to: None,
            meta: None,
        },
    );
    fails(
        format!(r#"{{"id":5,{}}}"#, text(MAX_TEXT_BYTES + 1)),
        Some(5),
        ErrorCode::TooLarge,
        "`text` must have at most 16384 bytes",
    );
    let meta = "m".repeat(MAX_META_BYTES);
    fails(
        format!(
            r#"{{"id":5,{}}}"#,
            send(&format!(r#""text":"t","meta":{{"m":"{meta}"}}"#))
        ),
        Some(5),
        ErrorCode::TooLarge,
        "`meta` must have at most 4096 bytes",
    );
    refuses(&send(r#""text":"t","meta":[]"#), "`meta` must be an object");
    for key in ["", &"k".repeat(65)] {
        let fields = format!(r#""op":"send","to":{{"user":2}},"key":"{key}","text":"t""#);
        refuses(&fields, "`key` must have 1 to 64 bytes");
    }
    for to in ["{}", r#"{"user":2,"group":7}"#] {
        refuses(
            &format!(r#""op":"typing","to":{to}"#),
            "`to` must have either `user` or `group`",
        );
    }
    for op in ["edit", "recall"] {
        refuses(
            &format!(r#""op":"{op}","in":{{"user":2}},"seq":0,"text":"t""#),
            "`seq` must be at least 1",
        );
    }
    refuses(
        r#""op":"ack","in":{"user":2}"#,
        "`delivered` is missing, and so is `read`",
    );
    refuses(
        r#""op":"history","in":{"user":2},"after":1,"before":2"#,
        "`after` and `before` exclude each other",
    );
}

#[test]
fn answers_stay_small_whatever_is_asked() {
    let long = format!(r#"{{"id":5,"op":"{}"}}"#, "x".repeat(60_000));
    assert!(request(long.as_bytes()).unwrap_err().error.message.len() < 200);
    let twice = format!(r#"{{"id":5,"{0}":1,"{0}":1}}"#, "x".repeat(30_000));
    assert!(request(twice.as_bytes()).unwrap_err().error.message.len() < 200);
}
