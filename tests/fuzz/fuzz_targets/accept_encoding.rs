#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringway::content::coding::fuzz::accept_encoding(bytes));
