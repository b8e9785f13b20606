//! Reads the server's lines with as little work as will do.
//!
//! The frames that come by the hundred thousand, replies to `send` and texts, are compact and have
//! their fields in the order of `core/PROTOCOL.md`: they are read from left to right without being
//! parsed. Any other line goes through `parlor-core`'s decoder.

use std::borrow::Cow;

use parlor_core::log::Body;
use parlor_core::protocol::client::{RawReply, ReplyKind, ServerFrame, decode};
use parlor_core::protocol::{Event, Reply, RequestError};

use super::message::read_digits;

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// The reply to a `send`.
    Sent { id: u64, seq: u64 },
    /// Another reply without an error.
    Done { id: u64, reply: RawReply },
    /// A reply with an error.
    Refused {
        id: Option<u64>,
        error: RequestError,
    },
    /// A message of the log.
    Text {
        seq: u64,
        from: u64,
        text: Cow<'a, [u8]>,
    },
    /// Another entry of the log.
    Entry { seq: u64 },
    /// The server's word before it closes the connection.
    Notice { code: &'static str },
    /// An event that tells nothing of interest here.
    Other,
    /// No frame of the protocol.
    Malformed,
}

/// Reads a line.
pub(super) fn scan(line: &[u8]) -> Line<'_> {
    sent(line)
        .or_else(|| text(line))
        .unwrap_or_else(|| parse(line))
}

/// Reads `{"id":ID,"ok":{"seq":SEQ,"at":..}}`.
fn sent(line: &[u8]) -> Option<Line<'_>> {
    let rest = line.strip_prefix(b"{\"id\":")?;
    let (id, rest) = number(rest)?;
    let rest = rest.strip_prefix(b",\"ok\":{\"seq\":")?;
    let (seq, rest) = number(rest)?;
    rest.strip_prefix(b",\"at\":")?.strip_suffix(b"}}")?;
    Some(Line::Sent { id, seq })
}

/// Reads `{"event":"message","in":{..},"seq":SEQ,"from":FROM,"at":..,"kind":"text","key":"..","text":"TEXT"}`.
fn text(line: &[u8]) -> Option<Line<'_>> {
    let rest = line.strip_prefix(b"{\"event\":\"message\",\"in\":{\"")?;
    let rest = rest
        .strip_prefix(b"user\":")
        .or_else(|| rest.strip_prefix(b"group\":"))?;
    let (_, rest) = number(rest)?;
    let (seq, rest) = number(rest.strip_prefix(b"},\"seq\":")?)?;
    let (from, rest) = number(rest.strip_prefix(b",\"from\":")?)?;
    let (_, rest) = number(rest.strip_prefix(b",\"at\":")?)?;
    let rest = rest.strip_prefix(b",\"kind\":\"text\",\"key\":\"")?;
    let (key, rest) = rest.split_at_checked(memchr::memchr(b'"', rest)?)?;
    let text = rest.strip_prefix(b"\",\"text\":\"")?.strip_suffix(b"\"}")?;
    // What has escapes or further fields is read with care.
    if memchr::memchr2(b'"', b'\\', text).is_some() || memchr::memchr(b'\\', key).is_some() {
        return None;
    }
    Some(Line::Text {
        seq,
        from,
        text: Cow::Borrowed(text),
    })
}

/// Splits off the digits at the beginning.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = bytes.split_at_checked(end)?;
    Some((read_digits(digits)?, rest))
}

fn parse(line: &[u8]) -> Line<'_> {
    match decode(line) {
        Ok(ServerFrame::Reply { id, result }) => match (id, result) {
            (id, Err(error)) => Line::Refused {
                id: id.map(|id| id.0),
                error,
            },
            (Some(id), Ok(reply)) => match reply.parse(ReplyKind::Appended) {
                Ok(Reply::Appended { seq, .. }) => Line::Sent {
                    id: id.0,
                    seq: seq.0,
                },
                _ => Line::Done { id: id.0, reply },
            },
            (None, Ok(_)) => Line::Malformed,
        },
        Ok(ServerFrame::Event(Event::Message(message))) => match message.body {
            Body::Text(text) => Line::Text {
                seq: message.seq.0,
                from: message.from.0,
                text: Cow::Owned(text.text.as_bytes().to_vec()),
            },
            _ => Line::Entry { seq: message.seq.0 },
        },
        Ok(ServerFrame::Event(Event::Notice { code, .. })) => Line::Notice {
            code: code.as_str(),
        },
        Ok(ServerFrame::Event(_) | ServerFrame::Unknown) => Line::Other,
        Err(_) => Line::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use parlor_core::protocol::ErrorCode;

    use super::{Line, parse, scan, sent, text};

    const TEXT: &[u8] = br#"{"event":"message","in":{"user":2},"seq":7,"from":1,"at":1700000000000,"kind":"text","key":"a-1","text":"Tea?"}"#;

    fn told(seq: u64, from: u64, text: &[u8]) -> Line<'_> {
        let text = Cow::Borrowed(text);
        Line::Text { seq, from, text }
    }

    #[test]
    fn what_comes_often_is_read_without_the_decoder() {
        assert_eq!(text(TEXT), Some(told(7, 1, b"Tea?")));
        let group = br#"{"event":"message","in":{"group":12},"seq":345,"from":6,"at":1,"kind":"text","key":"k","text":""}"#;
        assert_eq!(text(group), Some(told(345, 6, b"")));
        let reply = br#"{"id":12,"ok":{"seq":34,"at":1700000000000}}"#;
        assert_eq!(sent(reply), Some(Line::Sent { id: 12, seq: 34 }));
    }

    #[test]
    fn both_ways_read_the_same() {
        assert_eq!(parse(TEXT), told(7, 1, b"Tea?"));
    }

    #[test]
    fn what_is_not_as_usual_goes_through_the_decoder() {
        let escaped = br#"{"event":"message","in":{"user":2},"seq":7,"from":1,"at":1,"kind":"text","key":"a\"1","text":"a\"b"}"#;
        assert_eq!(text(escaped), None);
        assert_eq!(scan(escaped), told(7, 1, b"a\"b"));
        let quoted = br#"{"event":"message","in":{"user":2},"seq":7,"from":1,"at":1,"kind":"text","key":"a","text":"a\"b"}"#;
        assert_eq!(text(quoted), None);
        assert_eq!(scan(quoted), told(7, 1, b"a\"b"));
        let more = br#"{"event":"message","in":{"user":2},"seq":7,"from":1,"at":1,"kind":"text","key":"a","text":"b","edited":true}"#;
        assert_eq!(text(more), None);
        assert_eq!(scan(more), told(7, 1, b"b"));
        let spaced = br#"{"event":"message","seq":7,"in":{"user":2},"from":1,"at":1,"kind":"text","key":"a","text":"b"}"#;
        assert_eq!(scan(spaced), told(7, 1, b"b"));
        let reply = br#"{"id":3,"ok":{"at":1,"seq":5,"colour":"blue"}}"#;
        assert_eq!(sent(reply), None);
        assert_eq!(scan(reply), Line::Sent { id: 3, seq: 5 });
        let joined = br#"{"event":"message","in":{"group":1},"seq":3,"from":2,"at":1,"kind":"joined","user":2}"#;
        assert_eq!(scan(joined), Line::Entry { seq: 3 });
    }

    #[test]
    fn the_rest_is_told_apart() {
        let refused =
            br#"{"id":4,"error":{"code":"rate_limited","message":"slow down","retry_ms":20}}"#;
        let Line::Refused { id, error } = scan(refused) else {
            panic!("{:?}", scan(refused));
        };
        assert_eq!(
            (id, error.code, error.retry_ms),
            (Some(4), ErrorCode::RateLimited, Some(20))
        );
        assert!(matches!(
            scan(br#"{"id":4,"ok":{"user":1}}"#),
            Line::Done { id: 4, .. }
        ));
        let notice = br#"{"event":"notice","code":"idle","message":"too quiet"}"#;
        assert_eq!(scan(notice), Line::Notice { code: "idle" });
        let presence = br#"{"event":"presence","user":1,"online":true}"#;
        assert_eq!(scan(presence), Line::Other);
        assert_eq!(
            scan(b"{\"event\":\"message\",\"in\":{\"user\":"),
            Line::Malformed
        );
        assert_eq!(scan(b""), Line::Malformed);
    }
}
