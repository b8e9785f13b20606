//! Any bytes as a server's frame: read or refused, never a panic.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlor_core::sim::frames::decode_server_frame(data));
