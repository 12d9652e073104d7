use super::*;
use crate::config::matching::{Condition, PathPattern};
use crate::config::rules::{Rule, Search, When};
use crate::filter::rules::fuzz_rules::with_fields;

const FORM: Subjects = Subjects { form: true, json: false };

fn finds(within: &[Subject]) -> When {
    When::Finds(Search { within: within.to_vec(), contains: vec!["bad".to_owned()], ..Search::default() })
}

fn under(path: &str) -> When {
    When::Is(Condition::Path(vec![PathPattern::prefix(path).unwrap()]))
}

fn not(when: When) -> When {
    When::Not(Box::new(when))
}

fn tagged() -> When {
    When::Tagged(vec!["t".to_owned()])
}

fn rule(when: Vec<When>, action: RuleAction) -> Rule {
    Rule { id: String::new(), when, action }
}

/// What is awaited of that content, which rules are told of, and how it ends, for a request for `/a/b?q=bad`.
fn settle(
    sets: &[(bool, &[Rule])],
    content: Subjects,
    until: usize,
) -> (Awaited, Vec<usize>, Verdict, Marks) {
    let engine = Engine::new(sets.iter().copied(), &["t".to_owned()]);
    with_fields(&[], |fields, field_bytes| {
        let asked = Asked {
            host: b"a.example",
            sent_path: b"/a/b",
            path: b"/a/b",
            query: Some(b"q=bad"),
            method: b"POST",
            fields,
            field_bytes,
            listener: "web",
            client: None,
            size: None,
        };
        let (mut marks, mut scratch, mut hits) = (Marks::default(), Scratch::default(), Vec::new());
        let (awaited, verdict) =
            engine.settle(&asked, content, until, &mut marks, &mut scratch, &mut |place| hits.push(place));
        (awaited, hits, verdict, marks)
    })
}

fn care(sets: &[(bool, &[Rule])]) -> Care {
    settle(sets, FORM, usize::MAX).0.form
}

#[test]
fn content_matters_to_rules_that_the_head_does_not_rule_out() {
    let form = || finds(&[Subject::Form]);
    let deny = || RuleAction::Deny(403);
    for (when, want) in [
        (vec![form()], Care::Acted),
        (vec![under("/a"), form()], Care::Acted),
        (vec![under("/c"), form()], Care::Nobody),
        (vec![not(under("/a")), form()], Care::Nobody),
        (vec![not(form())], Care::Acted),
        (vec![under("/c"), not(form())], Care::Nobody),
        (vec![When::Any(vec![under("/c"), form()])], Care::Acted),
        (vec![When::All(vec![under("/c"), form()])], Care::Nobody),
        (vec![finds(&[Subject::Json])], Care::Nobody),
        (vec![finds(&[Subject::Json, Subject::Form])], Care::Acted),
        (vec![finds(&[Subject::Path]), form()], Care::Nobody),
        (vec![finds(&[Subject::Query]), form()], Care::Acted),
        (vec![tagged(), form()], Care::Nobody),
        (vec![not(tagged()), form()], Care::Acted),
    ] {
        assert_eq!(care(&[(false, &[rule(when.clone(), deny())])]), want, "{when:?}");
    }
}

#[test]
fn rules_that_do_nothing_to_a_request_need_no_content() {
    let of = |action| [rule(vec![finds(&[Subject::Form])], action)];
    let tag = || RuleAction::Tag("t".to_owned());
    for (action, want) in [
        (RuleAction::Log, Care::Noted),
        (RuleAction::Allow, Care::Noted),
        (tag(), Care::Acted),
        (RuleAction::Close, Care::Acted),
    ] {
        assert_eq!(care(&[(false, &of(action.clone()))]), want, "{action:?}");
        assert_eq!(care(&[(true, &of(action))]), Care::Noted);
    }
    // The most of several; and nothing of those behind one that ends it.
    let (log, close) = (of(RuleAction::Log), of(RuleAction::Close));
    assert_eq!(care(&[(false, &log), (true, &close), (false, &close)]), Care::Acted);
    assert_eq!(settle(&[(false, &log), (false, &close)], FORM, 1).0.form, Care::Noted);
    assert_eq!(settle(&[(false, &close)], FORM, 0).0.form, Care::Nobody);
    // Of rules that ask for a tag, only those that see it.
    let late = [rule(vec![finds(&[Subject::Form])], tag()), rule(vec![tagged()], RuleAction::Close)];
    assert_eq!(care(&[(true, &late[..1]), (false, &late[1..])]), Care::Noted);
}

#[test]
fn what_was_put_off_for_nothing_is_asked_all_the_same() {
    let form = || finds(&[Subject::Form]);
    let other = || When::All(vec![under("/c"), form()]);
    // It holds, whatever the content is.
    let sure = [rule(vec![not(other())], RuleAction::Deny(403))];
    let (awaited, hits, verdict, _) = settle(&[(false, &sure)], FORM, usize::MAX);
    assert_eq!((awaited.form, hits, verdict), (Care::Nobody, vec![0], Verdict::Turned(0)));
    let (awaited, hits, verdict, _) = settle(&[(true, &sure)], FORM, usize::MAX);
    assert_eq!((awaited.form, hits, verdict), (Care::Nobody, vec![0], Verdict::Pass));
    // It does not, as long as nobody knows the content.
    let open = [rule(vec![not(form())], RuleAction::Deny(403))];
    assert_eq!(settle(&[(true, &open)], FORM, usize::MAX).1, [0; 0]);
    // Content that is no form has nothing that is looked for in forms.
    let (awaited, hits, ..) = settle(&[(false, &open)], Subjects::default(), usize::MAX);
    assert_eq!((awaited.form, hits), (Care::Nobody, vec![0]));
    // A tag that only content could have given is not given.
    let tags = [
        rule(vec![under("/c"), form()], RuleAction::Tag("t".to_owned())),
        rule(vec![not(tagged())], RuleAction::Deny(403)),
    ];
    assert_eq!(settle(&[(false, &tags)], FORM, usize::MAX).2, Verdict::Turned(1));
    // One that a set which only detects might give is not seen by others.
    let given = [rule(vec![form()], RuleAction::Tag("t".to_owned()))];
    let (awaited, _, verdict, _) = settle(&[(true, &given), (false, &tags[1..])], FORM, usize::MAX);
    assert_eq!((awaited.form, verdict), (Care::Noted, Verdict::Turned(1)));
    // Those behind one that lets pass are not asked.
    let allowed = [rule(vec![not(other())], RuleAction::Allow), rule(vec![form()], RuleAction::Close)];
    let (awaited, _, verdict, _) = settle(&[(false, &allowed)], FORM, usize::MAX);
    assert_eq!((awaited.form, verdict), (Care::Nobody, Verdict::Allowed(0)));
    // Marks are left for those behind it.
    let marks = [
        rule(vec![not(other())], RuleAction::Tag("t".to_owned())),
        rule(vec![tagged(), form()], RuleAction::Close),
    ];
    let (awaited, _, _, marks) = settle(&[(false, &marks)], FORM, usize::MAX);
    assert_eq!((awaited.form, marks.tags), (Care::Acted, 1));
}
