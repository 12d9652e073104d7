#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringway::h1::fuzz::chunked(bytes));
