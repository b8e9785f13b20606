//! Random operations on one node, and on a client session with a hostile server, keep every
//! promise; the committed regressions are played first.

use parlor_core::sim::{hostile, ops};
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2000), ..ProptestConfig::default() })]

    #[test]
    fn every_promise_holds(ops in bytes().prop_map(|bytes| ops::Op::read_all(&bytes))) {
        ops::play(&ops);
    }

    #[test]
    fn no_server_breaks_a_client(ops in bytes().prop_map(|bytes| hostile::Op::read_all(&bytes))) {
        hostile::play(&ops);
    }
}
