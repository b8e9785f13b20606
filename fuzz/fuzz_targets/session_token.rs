//! Any bytes as a session's token: refused, unless this cluster signed it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlor_core::sim::tokens::verify_token(data));
