#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cirrus_core::fuzzing::client_hello(bytes));
