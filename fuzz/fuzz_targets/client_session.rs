//! Any bytes as what befalls a client session, a hostile server among it: its promises hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlor_core::sim::hostile::run(data));
