//! Random operations on one node keep every promise; the committed regressions are played first.

use parlor_core::sim::ops::{self, Op};
use proptest::prelude::*;

fn operations() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(any::<u8>(), 0..600).prop_map(|bytes| Op::read_all(&bytes))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2000), ..ProptestConfig::default() })]

    #[test]
    fn every_promise_holds(ops in operations()) {
        ops::play(&ops);
    }
}
