#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringway::fuzz_preamble::preamble(bytes));
