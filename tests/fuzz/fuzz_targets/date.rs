#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringway::cache::fuzz_range::date(bytes));
