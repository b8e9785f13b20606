//! Any bytes as a list of operations on the engine: its promises hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlor_core::sim::ops::run(data));
