//! Runs every file of the fuzz corpus through the body of its target, so that what fuzzing once found
//! stays found, without a fuzzer.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use ringway::cache;
use ringway::cache::fuzz_range;
use ringway::config;
use ringway::content::coding;
use ringway::filter::auth::fuzz::authorization;
use ringway::filter::fuzz_access;
use ringway::filter::rules::{fuzz_rules, fuzz_texts};
use ringway::fuzz_preamble;
use ringway::h1::fuzz;
use ringway::http::fuzz_path;
use ringway::route::{self, fuzz_patterns};

type Body = fn(&[u8]);

const TARGETS: [(&str, Body); 22] = [
    ("authorization", authorization),
    ("chunked", fuzz::chunked),
    ("cors", fuzz_access::cors),
    ("accept_encoding", coding::fuzz::accept_encoding),
    ("coded", coding::fuzz::coded),
    ("coded_head", coding::fuzz::head),
    ("date", fuzz_range::date),
    ("decoding", fuzz_texts::decoding),
    ("directives", cache::fuzz::directives),
    ("file", config::fuzz::file),
    ("form", fuzz_texts::form),
    ("framing", fuzz::framing),
    ("long", fuzz_texts::long),
    ("networks", fuzz_access::networks),
    ("path", fuzz_path::path),
    ("patterns", fuzz_patterns::patterns),
    ("preamble", fuzz_preamble::preamble),
    ("range", fuzz_range::range),
    ("request_head", fuzz::request_head),
    ("response_head", fuzz::response_head),
    ("rules", fuzz_rules::rules),
    ("template", route::fuzz::template),
];

#[test]
fn every_file_of_the_corpus_passes() {
    let mut failed = Vec::new();
    for (target, body) in TARGETS {
        let files = files_of(&folder("corpus").join(target));
        assert!(!files.is_empty(), "{target} has no corpus");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            if catch_unwind(|| body(&bytes)).is_err() {
                failed.push(file);
            }
        }
    }
    assert!(failed.is_empty(), "these files fail: {failed:#?}");
}

#[test]
fn every_fuzz_target_is_run_here() {
    let here: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let targets: BTreeSet<_> = files_of(&folder("fuzz_targets")).into_iter().map(name).collect();
    assert_eq!(targets, here);
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name)
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
