#![allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]

use std::cell::Cell;

use proptest::prelude::*;

use super::fuzz_rules::{assert_agrees, now, rules, with_fields};
use super::*;
use crate::config::matching::{Condition, PathPattern, Test};
use crate::config::rules::Search;

fn line() -> impl Strategy<Value = String> {
    let kind = "(p/(a|b|%2e|\\{x\\})(/c)?|x/(a|b)|r(a|b)+c?|h(a.example|\\*.example|b)|c10\\.(0\\.0\\.0/8|1\\.2\\.3/32|2\\.0\\.0/16)|\
                q(ab|%|)|k(v|)|u(x|Bot|[a-c]+)|P(ab|\\.\\./|a.*b)|Q(ab|select|[0-9]+)|C(v|k)|H(bot|\\$)|F(ab|x+)|T(a|b)|nPab|nq|nFab|nTa|\
                &(Pab&Ta|qab&k)|\\|(Pab\\|Qab|Tb\\|Fab))";
    (select_action(), kind).prop_map(|(action, kind)| format!("{action}{kind}"))
}

fn select_action() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["d", "a", "t", "u", "l", "l"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_index_finds_what_asking_each_rule_finds(
        lines in proptest::collection::vec(line(), 0..40),
        target in "((a|b|c|/|\\.\\.|%2e|%2f|%61|%252e|;|\\\\){0,6})(\\?((q=)?(ab|AB|%61b|%2561b|%u0061b|select|1'\\+or|&|1)){0,4})?",
        agent in "(bot|Bot|x|abc|\\$\\{jndi:|%24|/){0,3}",
        cookie in "((k|j)=(v|w|%76|ab);? ?){0,3}",
        form in "(ab|%61b|x|1'or){0,3}",
        field in "(ab|P|x|%61){0,3}",
    ) {
        let request = format!("{target}\n{agent}\n{cookie}\n{form}\n{field}");
        rules(format!("{}\n!\n\n{request}\n{request}", lines.join("\n")).as_bytes());
    }
}

fn asked<'a>(target: &'a str, fields: Fields<'a>, field_bytes: &'a [u8]) -> Asked<'a> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.as_bytes())),
        None => (target, None),
    };
    Asked {
        host: b"example.com",
        sent_path: path.as_bytes(),
        path: path.as_bytes(),
        query,
        method: b"GET",
        fields,
        field_bytes,
        listener: "web",
        client: None,
        size: Some(0),
    }
}

fn rule(when: When, action: RuleAction) -> Rule {
    Rule { id: String::new(), when: vec![when], action }
}

fn under(prefix: &str) -> When {
    When::Is(Condition::Path(vec![PathPattern::prefix(prefix).unwrap()]))
}

fn verdict(rules: &[Rule], target: &str) -> (Verdict, Vec<usize>) {
    let tags = ["t".to_owned()];
    let engine = Engine::new([(false, rules)], &tags);
    with_fields(&[("User-Agent", "x")], |fields, bytes| {
        let asked = asked(target, fields, bytes);
        let (mut marks, mut scratch, mut hits) = (Marks::default(), Scratch::default(), Vec::new());
        let pass = Pass::Head { content_follows: false };
        let verdict = engine.check(&asked, pass, &mut marks, &mut scratch, &mut |place| hits.push(place));
        assert_agrees(&engine, &asked, pass);
        (verdict, hits)
    })
}

#[test]
fn rules_are_asked_in_their_order_up_to_the_first_that_ends_it() {
    let rules = [
        rule(under("/a"), RuleAction::Tag("t".to_owned())),
        rule(When::Tagged(vec!["t".to_owned()]), RuleAction::Log),
        rule(under("/a/open"), RuleAction::Allow),
        rule(under("/a"), RuleAction::Deny(403)),
        rule(under("/"), RuleAction::Log),
    ];
    assert_eq!(verdict(&rules, "/a/b"), (Verdict::Turned(3), vec![0, 1, 3]));
    assert_eq!(verdict(&rules, "/a/open/x"), (Verdict::Allowed(2), vec![0, 1, 2]));
    assert_eq!(verdict(&rules, "/b"), (Verdict::Pass, vec![4]));
}

#[test]
fn an_odd_spelling_neither_comes_past_a_rule_nor_is_let_pass_by_one() {
    let deny = [rule(under("/secret"), RuleAction::Deny(403))];
    let allow = [rule(under("/open"), RuleAction::Allow), rule(under("/"), RuleAction::Deny(403))];
    let only = [rule(When::Not(Box::new(under("/open"))), RuleAction::Deny(403))];
    for path in ["/open/..%2Fsecret", "/open/..\\secret", "/open/..;/secret", "/open%2F..%2Fsecret"] {
        assert!(matches!(verdict(&deny, path).0, Verdict::Turned(_)), "{path}");
        assert_eq!(verdict(&allow, path).0, Verdict::Turned(1), "{path}");
        assert_eq!(verdict(&only, path).0, Verdict::Turned(0), "{path}");
    }
    assert_eq!(verdict(&allow, "/open/x").0, Verdict::Allowed(0));
    assert_eq!(verdict(&only, "/open/x").0, Verdict::Pass);
}

#[test]
fn a_set_that_only_detects_tells_all_and_does_nothing() {
    let rules = [
        rule(under("/"), RuleAction::Tag("t".to_owned())),
        rule(When::Tagged(vec!["t".to_owned()]), RuleAction::Deny(403)),
        rule(under("/a"), RuleAction::Allow),
        rule(under("/"), RuleAction::Close),
    ];
    let earnest =
        [rule(When::Tagged(vec!["t".to_owned()]), RuleAction::Deny(403)), rule(under("/"), RuleAction::Log)];
    let engine = Engine::new([(true, &rules[..]), (false, &earnest[..])], &["t".to_owned()]);
    with_fields(&[], |fields, bytes| {
        for (target, want) in [("/b", vec![0, 1, 3, 5]), ("/a", vec![0, 1, 2, 5])] {
            let (mut marks, mut scratch, mut hits) = (Marks::default(), Scratch::default(), Vec::new());
            let pass = Pass::Head { content_follows: false };
            let asked = asked(target, fields, bytes);
            let verdict = engine.check(&asked, pass, &mut marks, &mut scratch, &mut |place| hits.push(place));
            assert_eq!((verdict, hits, marks.tags), (Verdict::Pass, want, 0));
        }
    });
}

#[test]
fn content_is_looked_at_once_and_what_held_before_is_not_told_again() {
    let finds = |subject: &[Subject]| {
        When::Finds(Search {
            within: subject.to_vec(),
            contains: vec!["bad".to_owned()],
            ..Search::default()
        })
    };
    let rules = [
        rule(finds(&[Subject::Query, Subject::Form]), RuleAction::Tag("t".to_owned())),
        rule(When::Tagged(vec!["t".to_owned()]), RuleAction::Log),
        rule(When::Not(Box::new(finds(&[Subject::Form]))), RuleAction::Log),
        rule(under("/"), RuleAction::Log),
        rule(under("/a"), RuleAction::Allow),
        rule(finds(&[Subject::Form]), RuleAction::Deny(403)),
    ];
    let engine = Engine::new([(false, &rules[..])], &["t".to_owned()]);
    let passes = |target: &str, form: &'static str| {
        with_fields(&[], |fields, bytes| {
            let asked = asked(target, fields, bytes);
            let texts = vec![(Cow::Borrowed(form.as_bytes()), Manner::Form)];
            let texts = Texts { subject: Subject::Form, texts };
            let (mut marks, mut scratch, mut hits) = (Marks::default(), Scratch::default(), [vec![], vec![]]);
            let head = Pass::Head { content_follows: true };
            let first =
                engine.check(&asked, head, &mut marks, &mut scratch, &mut |place| hits[0].push(place));
            let until = if let Verdict::Allowed(place) = first { place } else { usize::MAX };
            let found = now(engine.study(&asked, &texts, async || {}));
            let told = hits[0].clone();
            let content = Pass::Content(&found, until, &told);
            let last =
                engine.check(&asked, content, &mut marks, &mut scratch, &mut |place| hits[1].push(place));
            (hits, last)
        })
    };
    assert_eq!(passes("/", "bad"), ([vec![3], vec![0, 1, 5]], Verdict::Turned(5)));
    assert_eq!(passes("/", "%62ad"), ([vec![3], vec![0, 1, 5]], Verdict::Turned(5)));
    assert_eq!(passes("/", "good"), ([vec![3], vec![2]], Verdict::Pass));
    assert_eq!(passes("/?a=bad", "bad"), ([vec![0, 1, 3], vec![5]], Verdict::Turned(5)));
    assert_eq!(passes("/a", "bad"), ([vec![3, 4], vec![0, 1]], Verdict::Pass));
}

#[test]
fn a_tag_that_came_later_does_not_hide_what_is_in_the_content() {
    let search =
        Search { within: vec![Subject::Form], contains: vec!["bad".to_owned()], ..Search::default() };
    let rules = [
        // The tag alone would not have held when the head was asked.
        rule(When::Any(vec![When::Tagged(vec!["t".to_owned()]), When::Finds(search)]), RuleAction::Deny(403)),
        rule(under("/a"), RuleAction::Tag("t".to_owned())),
    ];
    let engine = Engine::new([(false, &rules[..])], &["t".to_owned()]);
    with_fields(&[], |fields, bytes| {
        let asked = asked("/a", fields, bytes);
        let texts = vec![(Cow::Borrowed(&b"bad"[..]), Manner::Form)];
        let texts = Texts { subject: Subject::Form, texts };
        let (mut marks, mut scratch, mut told) = (Marks::default(), Scratch::default(), Vec::new());
        let head = Pass::Head { content_follows: true };
        let first = engine.check(&asked, head, &mut marks, &mut scratch, &mut |place| told.push(place));
        assert_eq!((first, &told[..]), (Verdict::Pass, &[1][..]));
        let found = now(engine.study(&asked, &texts, async || {}));
        let content = Pass::Content(&found, usize::MAX, &told);
        assert_eq!(engine.check(&asked, content, &mut marks, &mut scratch, &mut |_| {}), Verdict::Turned(0));
    });
}

#[test]
fn odd_values_without_end_count_as_an_injection() {
    let search = Search { within: vec![Subject::Query], sqli: true, ..Search::default() };
    let rules = [rule(When::Finds(search), RuleAction::Deny(403))];
    let many = |value: &str, count: usize| format!("/?{}", format!("a={value}&").repeat(count));
    assert_eq!(verdict(&rules, &many("it's", 5000)).0, Verdict::Pass);
    // Each might be one, as far as is known before it is looked at with care.
    assert_eq!(verdict(&rules, &many("x'+or+b+in", 2)).0, Verdict::Pass);
    assert_eq!(verdict(&rules, &many("x'+or+b+in", 100)).0, Verdict::Turned(0));
}

#[test]
fn what_cannot_be_an_injection_is_not_counted() {
    let rules = crate::config::probes::rules(&crate::config::rules::Probes::default());
    let engine = Engine::new([(false, &rules[..])], &[]);
    let passes = |content: &str| {
        let kind = form::Kind::Encoded;
        let texts = form::read(&kind, content.as_bytes()).unwrap();
        with_fields(&[], |fields, bytes| {
            let asked = asked("/", fields, bytes);
            let (mut marks, mut scratch) = (Marks::default(), Scratch::default());
            let pauses = Cell::new(0);
            let found = now(engine.study(&asked, &texts, async || pauses.set(pauses.get() + 1)));
            assert!(content.len() < 64 * 1024 || pauses.get() > 2, "others have their turn");
            engine.check(
                &asked,
                Pass::Content(&found, usize::MAX, &[]),
                &mut marks,
                &mut scratch,
                &mut |_| {},
            )
        })
    };
    let rows: Vec<String> = (0..form::FIELDS_MAX).map(|row| format!("row_{row}=John+Smith")).collect();
    assert_eq!(passes(&rows.join("&")), Verdict::Pass);
    let letter = "Dear+Mr.+O'Brien,%0D%0Ait's+a+long+letter,+isn't+it?%0D%0A".repeat(1100);
    assert_eq!(passes(&format!("subject=Hello&text={letter}")), Verdict::Pass);
}

#[test]
fn conditions_on_values_are_found_by_their_texts() {
    let test = |test: Test| [rule(When::UserAgent(test), RuleAction::Deny(403))];
    for (one, want) in [
        (Test::Is("x".to_owned()), true),
        (Test::Is("X".to_owned()), false),
        (Test::Present, true),
        (Test::Absent, false),
        (Test::Contains(String::new()), true),
        (Test::OneOf(vec![Test::Absent, Test::Is("y".to_owned())]), false),
    ] {
        assert_eq!(verdict(&test(one.clone()), "/").0 == Verdict::Turned(0), want, "{one:?}");
    }
}

#[test]
fn a_request_is_let_pass_by_all_of_several_values() {
    use crate::config::matching::Condition;
    let test = || Test::Is("good".to_owned());
    let conditions = [
        Condition::Header("X-Is".to_owned(), test()),
        Condition::Cookie("is".to_owned(), test()),
        Condition::Query("is".to_owned(), test()),
    ];
    for condition in conditions {
        let allow = |when| {
            let rules =
                [rule(when, RuleAction::Allow), rule(When::Is(condition_any()), RuleAction::Deny(403))];
            let engine = Engine::new([(false, &rules[..])], &[]);
            ["good", "bad"].map(|second| {
                let cookie = format!("is={second}");
                let fields = [("X-Is", "good"), ("X-Is", second), ("Cookie", "is=good"), ("Cookie", &cookie)];
                with_fields(&fields, |fields, bytes| {
                    let target = format!("/?is=good&is={second}");
                    let asked = asked(&target, fields, bytes);
                    let pass = Pass::Head { content_follows: false };
                    let (mut marks, mut scratch) = (Marks::default(), Scratch::default());
                    assert_agrees(&engine, &asked, pass);
                    engine.check(&asked, pass, &mut marks, &mut scratch, &mut |_| {})
                })
            })
        };
        assert_eq!(allow(When::Is(condition.clone())), [Verdict::Allowed(0), Verdict::Turned(1)]);
        let not = When::Not(Box::new(When::Not(Box::new(When::Is(condition)))));
        assert_eq!(allow(not), [Verdict::Allowed(0), Verdict::Turned(1)]);
    }
}

fn condition_any() -> crate::config::matching::Condition {
    crate::config::matching::Condition::Path(vec![PathPattern::prefix("/").unwrap()])
}

#[test]
fn many_cookie_lines_are_looked_at_once() {
    let search =
        Search { within: vec![Subject::Cookie], contains: vec!["bad".to_owned()], ..Search::default() };
    let rules = [rule(When::Finds(search), RuleAction::Deny(403))];
    let engine = Engine::new([(false, &rules[..])], &[]);
    let lines = vec![("Cookie", "a=%62"); 5_000];
    let began = std::time::Instant::now();
    with_fields(&lines, |fields, bytes| {
        let asked = asked("/", fields, bytes);
        let (mut marks, mut scratch) = (Marks::default(), Scratch::default());
        let pass = Pass::Head { content_follows: false };
        assert_eq!(engine.check(&asked, pass, &mut marks, &mut scratch, &mut |_| {}), Verdict::Pass);
    });
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "once for each would take minutes");
}

#[test]
fn memory_for_one_long_text_is_given_up() {
    let search =
        Search { within: vec![Subject::Query], contains: vec!["bad".to_owned()], ..Search::default() };
    let rules = [rule(When::Finds(search), RuleAction::Deny(403))];
    let engine = Engine::new([(false, &rules[..])], &[]);
    let target = format!("/?a={}", "%61".repeat(100_000));
    with_fields(&[], |fields, bytes| {
        let asked = asked(&target, fields, bytes);
        let (mut marks, mut scratch) = (Marks::default(), Scratch::default());
        let pass = Pass::Head { content_follows: false };
        engine.check(&asked, pass, &mut marks, &mut scratch, &mut |_| {});
        assert!(scratch.readings.bytes() < 64 * 1024);
    });
}
