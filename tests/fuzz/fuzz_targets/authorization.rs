#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringway::filter::auth::fuzz::authorization(bytes));
