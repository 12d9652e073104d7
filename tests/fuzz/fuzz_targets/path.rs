#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringway::http::fuzz_path::path(bytes));
