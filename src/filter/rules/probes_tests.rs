use std::borrow::Cow;

use super::decode::Manner;
use super::fuzz_rules::{assert_agrees, assert_agrees_on, now, with_fields};
use super::*;
use crate::config::probes;
use crate::config::rules::Probes;

/// Runs an example through the real engine; returns the ids of all rules that hold.
fn stopped(engine: &Engine, example: &str) -> Vec<&'static str> {
    let (kind, text) = match example.split_once(' ') {
        _ if example == "agent" => ("agent", ""),
        Some((kind @ ("form" | "agent" | "method" | "question"), text)) => (kind, text),
        _ => ("target", example),
    };
    let of = |word: &str, otherwise: &'static str| {
        if kind == word { text.to_owned() } else { otherwise.to_owned() }
    };
    let (target, agent, form) = (of("target", "/"), of("agent", "Mozilla/5.0"), of("form", ""));
    let method = if kind == "question" { text.to_owned() } else { of("method", "GET") };
    let mut lines = vec![("Host", "example.com"), ("User-Agent", &agent), ("Accept", "*/*")];
    if kind == "question" {
        lines.extend([("Origin", "https://a.example"), ("Access-Control-Request-Method", "PUT")]);
    }
    let (sent, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.as_bytes())),
        None => (&*target, None),
    };
    let mut normal = Vec::new();
    if path::normalise(sent.as_bytes(), &mut normal).is_err() {
        // Such a request does not get as far as any rule.
        normal = sent.as_bytes().to_vec();
    }
    let mut found = Vec::new();
    with_fields(&lines, |fields, field_bytes| {
        let asked = Asked {
            host: b"example.com",
            sent_path: sent.as_bytes(),
            path: &normal,
            query,
            method: method.as_bytes(),
            fields,
            field_bytes,
            listener: "web",
            client: None,
            size: None,
        };
        let texts =
            crate::http::query::parameters(form.as_bytes()).flat_map(|field| [field.name, field.value]);
        let texts = texts.map(|text| (Cow::Borrowed(text), Manner::Form)).collect();
        let texts = Texts { subject: Subject::Form, texts };
        let mut scratch = Scratch::default();
        let studied = now(engine.study(&asked, &texts, async || {}));
        for pass in [Pass::Head { content_follows: true }, Pass::Content(&studied, usize::MAX, &[])] {
            let mut on = |place: usize| found.push(probes::ALL[place].id);
            engine.check(&asked, pass, &mut Marks::default(), &mut scratch, &mut on);
        }
        assert_agrees(engine, &asked, Pass::Head { content_follows: true });
        assert_agrees_on(engine, &asked, &texts);
    });
    found
}

#[test]
fn every_shipped_rule_stops_its_examples_and_lets_the_others_through() {
    // Each rule by itself, so that one does not hide another.
    let methods = ["GET", "HEAD", "POST"].map(str::to_owned).to_vec();
    let rules: Vec<Rule> = probes::rules(&Probes { methods, ..Probes::default() })
        .into_iter()
        .map(|rule| Rule { action: RuleAction::Log, ..rule })
        .collect();
    let engine = Engine::new([(false, &rules[..])], &[]);
    let mut wrong = Vec::new();
    let mut rule = "";
    let mut counts = std::collections::BTreeMap::new();
    for line in include_str!("probes.txt").lines() {
        if let Some(id) = line.strip_prefix("=== ") {
            rule = id;
            assert!(probes::ids().any(|known| known == rule), "there is no rule {rule}");
            continue;
        }
        if rule.is_empty() || line.is_empty() {
            continue;
        }
        let (sign, example) = line.split_at(1);
        let example = example.trim_start();
        let found = stopped(&engine, example);
        let count: &mut (u32, u32) = counts.entry(rule).or_default();
        match sign {
            "-" if found.contains(&rule) => count.0 += 1,
            "-" => wrong.push(format!("{rule} does not stop {example} (but {found:?})")),
            "+" if found.is_empty() => count.1 += 1,
            _ => wrong.push(format!("{example} of {rule} is stopped by {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    for id in probes::ids() {
        let (stops, passes) = counts.get(id).copied().unwrap_or_default();
        assert!(stops >= 3 && passes >= 3, "{id} has {stops} and {passes} examples");
    }
    for hard in ["sqli", "xss", "command-injection", "path-traversal", "file-traversal", "dot-file"] {
        let (stops, passes) = counts[hard];
        assert!(stops >= 10 && passes >= 10, "{hard} has {stops} and {passes} examples");
    }
}
