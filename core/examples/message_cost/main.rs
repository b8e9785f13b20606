//! What a message costs without a network and a database.
//! `cargo run --release -p parlor-core --features sim --example message_cost -- direct 100000`
//!
//! `decode` reads a request, `encode` writes an event; `direct` decodes a message to a friend, has
//! the engine handle it and a store in memory keep it, and encodes the reply and the receiver's
//! event; `group` does the same with a group of 100 who are all online.
//!
//! Under `valgrind` two runs of different lengths give the instructions and the allocations for one
//! message: `.ci/costs` compares them with those in `core/costs.txt`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout
)] // It times itself and prints.

mod node;

use std::time::Instant;

use node::{AnyError, FRIEND, MEMBERS, Node, Sends};
use parlor_core::protocol::{decode, encode};

fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_else(|| "direct".to_owned());
    let count: u64 = arguments
        .next()
        .map_or(Ok(100_000), |number| number.parse())?;
    let start;
    match what.as_str() {
        "decode" => {
            let mut sends = Sends::to(FRIEND);
            start = Instant::now();
            for _ in 0..count {
                decode::request(sends.next()).map_err(|error| error.error)?;
            }
        }
        "encode" => {
            let mut node = Node::new(2)?;
            node.frame(1, Sends::to(FRIEND).next())?;
            let event = node.last.take().ok_or("nothing was pushed")?;
            start = Instant::now();
            for _ in 0..count {
                node.out.clear();
                encode::event(&event, &mut node.out);
            }
        }
        "direct" | "group" => {
            let direct = what == "direct";
            let mut node = Node::new(if direct { 2 } else { MEMBERS })?;
            let mut sends = Sends::to(&match direct {
                true => FRIEND.to_owned(),
                false => node.group(),
            });
            start = Instant::now();
            for _ in 0..count {
                node.out.clear();
                node.frame(1, sends.next())?;
            }
        }
        other => return Err(format!("{other} is none of decode, encode, direct, group").into()),
    }
    let each = start.elapsed().as_nanos() / u128::from(count.max(1));
    println!("{what}: {count} times, {each} ns each");
    Ok(())
}
