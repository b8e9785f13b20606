//! Any bytes as a client's frame: answered, never a panic.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlor_core::sim::frames::decode_frame(data));
