//! The codec: what goes in comes out, whatever it is, and no bytes do harm.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod arbitrary;

use std::collections::BTreeMap;

use parlor_core::protocol::client::{self, ServerFrame, encode_request};
use parlor_core::protocol::{Frame, decode, encode};
use parlor_core::sim::frames;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any};
use proptest::sample::Index;
use proptest::{prop_assert, prop_assert_eq, prop_assume, proptest};
use serde::de::IgnoredAny;
use serde_json::Value;

/// Changes a few bytes of a frame: replaced, removed, or said again.
fn damaged(frame: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<Index>(), any::<u8>(), 0..4), 1..4);
    (frame, changes).prop_map(|(mut frame, changes)| {
        for (index, byte, change) in changes {
            if frame.is_empty() {
                break;
            }
            let at = index.index(frame.len());
            match change {
                0 => frame[at] = byte,
                1 => frame[at] = b"{}[]\",:\\0-.eu"[usize::from(byte) % 13],
                2 => {
                    frame.remove(at);
                }
                _ => {
                    let again = frame[at..].to_vec();
                    frame.extend(again);
                }
            }
        }
        frame
    })
}

fn request_frame() -> impl Strategy<Value = Vec<u8>> {
    (arbitrary::request_id(), arbitrary::request()).prop_map(|(id, request)| {
        let mut out = Vec::new();
        encode_request(id, &request, &mut out);
        out
    })
}

fn server_frame() -> impl Strategy<Value = Vec<u8>> {
    let reply = (arbitrary::request_id(), arbitrary::reply()).prop_map(|(id, (_, reply))| {
        let mut out = Vec::new();
        encode::reply(Some(id), &Ok(reply), &mut out);
        out
    });
    let event = arbitrary::event().prop_map(|event| {
        let mut out = Vec::new();
        encode::event(&event, &mut out);
        out
    });
    proptest::prop_oneof![reply, event]
}

/// Writes an object with its fields the other way round and white space between.
fn reversed(frame: &[u8]) -> String {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(frame).unwrap();
    let fields: Vec<String> = object
        .iter()
        .rev()
        .map(|(name, value)| format!("\t{} :\r\n {value} ", Value::from(name.as_str())))
        .collect();
    format!(" {{{}}} ", fields.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn requests_come_out_as_they_went_in(
        id in arbitrary::request_id(),
        request in arbitrary::request(),
    ) {
        let mut out = Vec::new();
        encode_request(id, &request, &mut out);
        prop_assert!(!out.contains(&b'\n'));
        let frame = Frame { id, request };
        prop_assert_eq!(decode::request(&out), Ok(frame));
    }

    #[test]
    fn the_order_of_fields_does_not_matter(
        id in arbitrary::request_id(),
        request in arbitrary::request(),
    ) {
        let mut out = Vec::new();
        encode_request(id, &request, &mut out);
        // A tree rounds some numbers of `meta`, which is not what this is about.
        prop_assume!(!out.windows(6).any(|part| part == b"\"meta\""));
        let frame = Frame { id, request };
        prop_assert_eq!(decode::request(reversed(&out).as_bytes()), Ok(frame));
    }

    #[test]
    fn replies_come_out_as_they_went_in(
        id in arbitrary::request_id(),
        (kind, reply) in arbitrary::reply(),
    ) {
        let mut out = Vec::new();
        encode::reply(Some(id), &Ok(reply.clone()), &mut out);
        prop_assert!(!out.contains(&b'\n'));
        let Ok(ServerFrame::Reply { id: Some(found), result: Ok(raw) }) = client::decode(&out)
        else {
            panic!("no reply: {}", String::from_utf8_lossy(&out));
        };
        prop_assert_eq!(found, id);
        prop_assert_eq!(raw.parse(kind), Ok(reply));
        prop_assert_eq!(raw.cut_lists(), Ok(vec![]));
    }

    #[test]
    fn errors_come_out_as_they_went_in(
        id in proptest::option::of(arbitrary::request_id()),
        error in arbitrary::error(),
    ) {
        let mut out = Vec::new();
        encode::reply(id, &Err(error.clone()), &mut out);
        prop_assert!(!out.contains(&b'\n'));
        let frame = ServerFrame::Reply { id, result: Err(error) };
        prop_assert_eq!(client::decode(&out), Ok(frame));
    }

    #[test]
    fn events_come_out_as_they_went_in(event in arbitrary::event()) {
        let mut out = Vec::new();
        encode::event(&event, &mut out);
        prop_assert!(!out.contains(&b'\n'));
        prop_assert_eq!(client::decode(&out), Ok(ServerFrame::Event(event)));
    }

    #[test]
    fn damaged_requests_do_no_harm(frame in damaged(request_frame())) {
        frames::decode_frame(&frame);
    }

    #[test]
    fn damaged_answers_do_no_harm(frame in damaged(server_frame())) {
        frames::decode_server_frame(&frame);
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..300)) {
        frames::decode_frame(&bytes);
        frames::decode_server_frame(&bytes);
    }

    #[test]
    fn what_is_no_json_is_no_request(frame in damaged(request_frame())) {
        // The reference is a reader that knows nothing of the protocol, nor of how large numbers are.
        prop_assume!(serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(&frame).is_err());
        prop_assert!(decode::request(&frame).is_err(), "{}", String::from_utf8_lossy(&frame));
    }
}
