#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringway::filter::rules::fuzz_texts::long(bytes));
