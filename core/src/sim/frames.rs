//! What must hold of every frame, whoever wrote it: the body of the fuzz targets.
#![expect(clippy::panic, reason = "a broken promise is reported by a panic")]

use crate::protocol::client::{self, ReplyKind, ServerFrame, encode_request};
use crate::protocol::reply::Keep;
use crate::protocol::{decode, encode};

/// Checks what a server does with a client's frame.
///
/// # Panics
/// When a frame that is a request, encoded again, is another request or none, or when an answer
/// holds a newline: a bug of the codec.
pub fn decode_frame(bytes: &[u8]) {
    let mut out = Vec::new();
    match decode::request(bytes) {
        Ok(frame) => {
            encode_request(frame.id, &frame.request, &mut out);
            assert_eq!(decode::request(&out), Ok(frame), "the request changed");
        }
        Err(error) => {
            encode::reply(error.id, &Err(error.error.clone()), &mut out);
            let answer = client::decode(&out);
            let (id, result) = (error.id, Err(error.error));
            assert_eq!(
                answer,
                Ok(ServerFrame::Reply { id, result }),
                "the error changed"
            );
        }
    }
    assert!(!out.contains(&b'\n'), "a newline within a frame");
}

/// Checks what a client does with a server's frame.
///
/// # Panics
/// When an event or a reply, encoded again, is another one or none: a bug of the codec.
pub fn decode_server_frame(bytes: &[u8]) {
    match client::decode(bytes) {
        Ok(ServerFrame::Event(event)) => {
            let mut out = Vec::new();
            encode::event(&event, &mut out);
            assert_eq!(
                client::decode(&out),
                Ok(ServerFrame::Event(event)),
                "the event changed"
            );
        }
        Ok(ServerFrame::Reply {
            id,
            result: Ok(raw),
        }) => {
            let _ = raw.cut_lists();
            for kind in REPLY_KINDS {
                let Ok(reply) = raw.parse(kind) else {
                    continue;
                };
                let mut out = Vec::new();
                encode::reply(id, &Ok(reply.clone()), &mut out);
                let Ok(ServerFrame::Reply {
                    result: Ok(again), ..
                }) = client::decode(&out)
                else {
                    panic!("the reply became malformed");
                };
                assert_eq!(again.parse(kind), Ok(reply), "the reply changed");
            }
        }
        Ok(ServerFrame::Reply { result: Err(_), .. } | ServerFrame::Unknown) | Err(_) => {}
    }
}

const REPLY_KINDS: [ReplyKind; 19] = [
    ReplyKind::Done,
    ReplyKind::Registered,
    ReplyKind::Session,
    ReplyKind::Token,
    ReplyKind::Pong,
    ReplyKind::User,
    ReplyKind::FriendRequested,
    ReplyKind::FriendState,
    ReplyKind::Friends,
    ReplyKind::GroupCreated,
    ReplyKind::GroupJoined,
    ReplyKind::Group,
    ReplyKind::Members,
    ReplyKind::Requests,
    ReplyKind::Groups,
    ReplyKind::Conversations,
    ReplyKind::Appended,
    ReplyKind::History(Keep::First),
    ReplyKind::History(Keep::Last),
];
