//! Any bytes as a stream of frames, in any pieces: the same frames.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlor_transport_tcp::sim::deframe(data));
