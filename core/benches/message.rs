//! What the codec and the engine do with one message, without a network and a database.
//! `cargo bench -p parlor-core --features sim`
#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot run has no result"
)]

#[path = "../examples/message_cost/node.rs"]
mod node;

use divan::{Bencher, black_box};
use node::{FRIEND, MEMBERS, Node, Sends};
use parlor_core::id::{RequestId, Seq};
use parlor_core::protocol::{Reply, decode, encode};
use parlor_core::time::Timestamp;

fn main() {
    divan::main();
}

#[divan::bench]
fn decode_a_request(bencher: Bencher<'_, '_>) {
    let mut sends = Sends::to(FRIEND);
    let json = sends.next();
    bencher.bench(|| decode::request(black_box(json)).is_ok());
}

#[divan::bench]
fn encode_an_event(bencher: Bencher<'_, '_>) {
    let mut node = Node::new(2).expect("a node");
    let mut sends = Sends::to(FRIEND);
    node.frame(1, sends.next()).expect("a message");
    let event = node.last.take().expect("an event");
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        encode::event(black_box(&event), &mut out);
    });
}

#[divan::bench]
fn encode_a_reply(bencher: Bencher<'_, '_>) {
    let reply = Ok(Reply::Appended {
        seq: Seq(1),
        at: Timestamp(1_700_000_000_000),
    });
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        encode::reply(Some(RequestId(1)), black_box(&reply), &mut out);
    });
}

#[divan::bench(sample_size = 200)]
fn a_direct_message(bencher: Bencher<'_, '_>) {
    let node = Node::new(2).expect("a node");
    messages(bencher, node, FRIEND);
}

#[divan::bench(sample_size = 200)]
fn a_message_to_a_group_of_100(bencher: Bencher<'_, '_>) {
    let node = Node::new(MEMBERS).expect("a node");
    let group = node.group();
    messages(bencher, node, &group);
}

/// Sends one message after the other: decoded, handled, stored, answered and encoded.
fn messages(bencher: Bencher<'_, '_>, mut node: Node, to: &str) {
    let mut sends = Sends::to(to);
    bencher
        .with_inputs(|| sends.next().to_vec())
        .bench_local_refs(|json| {
            node.out.clear();
            node.frame(1, json).expect("a message");
        });
}
