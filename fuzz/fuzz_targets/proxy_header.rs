//! Any bytes at the beginning of a proxy's connection: one header or none, however they are cut.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlor_transport_tcp::sim::proxy_header(data));
