//! Any bytes as a payload of the relay: none that a node did not write is taken, and no message changes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlor_relay_redis::payload::check(data));
