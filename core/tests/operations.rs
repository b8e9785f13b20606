//! Random operations on one node keep every promise; the committed regressions are played first.

use parlor_core::sim::ops;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_promise_holds(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        ops::run(&bytes);
    }
}
