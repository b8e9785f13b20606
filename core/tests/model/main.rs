//! The server against a model of it in the plainest code: every reply and every event agrees.
//!
//! **One at a time.** Most operations come to rest before the next. Then the reply, and all that
//! each connection was sent, is what the model says: messages, receipts, typing, friends, groups,
//! presence, notices. Events about one conversation, or one user, are compared in their order; how
//! those about different things mix is nobody's promise.
//!
//! **Many at once.** A burst is several requests on several connections, some of them behind each
//! other on one connection, and a store that takes its time: a list of choices says which request
//! is carried out next, and which answer is handed to the engine next, late or out of order. The
//! order in which the store carries requests out is the order in which they take effect, and the
//! test sees it: at that very moment the model carries the same request out. So there is no search
//! for an order that explains the replies: each reply must be the one that the model gave then
//! (but for who is online, which a node says by the friendships that it has read).
//! Of the events, each log must have come entry by entry; of friendships and memberships, which the
//! engine reads from the store as they are, the last word must be how things stand. A rule that
//! looked at what a node knows instead of what the store has would answer differently here.
//!
//! **Why proptest alone.** `proptest-state-machine` draws each transition from the model's state,
//! so that it is valid there. Here every operation is valid in every state, since refusals are
//! half of what is compared, and names of sessions and groups are reduced to those that there are.
//! So a plain list of operations serves, shrinks by leaving any of them out, and is one dependency
//! less.
//!
//! A failure prints the seed, which goes into `regressions.txt` beside this file and is played first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod compare;
mod operation;
mod rules;
mod sessions;
mod state;
mod world;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::world::World;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(500),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/model/regressions.txt"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_server_does_what_the_model_does(
        ops in proptest::collection::vec(operation::operation(), 1..120),
    ) {
        let mut world = World::new();
        for op in &ops {
            world.step(op);
        }
    }
}
