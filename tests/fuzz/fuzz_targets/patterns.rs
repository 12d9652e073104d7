#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringway::route::fuzz_patterns::patterns(bytes));
