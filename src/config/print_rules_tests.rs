use super::*;
use crate::config::probes;
use crate::config::rules::{Probes, Rule, RuleAction, RuleSet, Search, Subject, When};

const TAGS: [&str; 2] = ["odd", "b-2"];

fn search() -> impl Strategy<Value = When> {
    let within = subsequence(
        vec!["path", "query", "header", "header:x-a", "user-agent", "cookie", "form", "json"],
        1..4,
    );
    let text = || any_text().prop_filter("something", |text| !text.is_empty());
    let regex = subsequence(vec!["a+b", "\\$\\{", "(x|y)z"], 1..3);
    (within, vec(text(), 1..3), regex, any::<bool>(), any::<bool>()).prop_map(
        |(within, contains, regex, sqli, xss)| {
            When::Finds(Search {
                within: within.into_iter().map(|word| word.parse::<Subject>().unwrap()).collect(),
                contains,
                regex: regex.into_iter().map(|text| text.parse().unwrap()).collect(),
                sqli,
                xss,
                standard: false,
            })
        },
    )
}

fn size() -> impl Strategy<Value = When> {
    (of(0u64..1000), 1000u64..1 << 40).prop_map(|(min, max)| When::Size { min, max: Some(max) })
}

fn tagged() -> impl Strategy<Value = When> {
    subsequence(TAGS.to_vec(), 1..3)
        .prop_map(|tags| When::Tagged(tags.into_iter().map(str::to_owned).collect()))
}

fn nested() -> impl Strategy<Value = When> {
    let plain = prop_oneof![
        plain_condition().prop_map(When::Is),
        size(),
        tests().prop_map(When::UserAgent),
        tagged(),
        search(),
    ];
    plain.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(When::All),
            vec(inner.clone(), 1..4).prop_map(When::Any),
            inner.prop_map(|part| When::Not(Box::new(part))),
        ]
    })
}

/// Those that one table says, in the order of its keys.
fn when() -> impl Strategy<Value = Vec<When>> {
    (
        of(hosts().prop_map(Condition::Host)),
        of(names(&["GET", "HEAD"]).prop_map(Condition::Method)),
        size(),
        of(tests()),
        of(tagged()),
        vec(search(), 0..3),
        of(vec(nested(), 1..3)),
        of(vec(nested(), 1..3)),
        of(nested()),
    )
        .prop_map(|(host, method, size, agent, tagged, searches, all, any, not)| {
            let plain = host.into_iter().chain(method).map(When::Is);
            let own = [size].into_iter().chain(agent.map(When::UserAgent)).chain(tagged).chain(searches);
            let nested = all.map(When::All).into_iter().chain(any.map(When::Any));
            plain.chain(own).chain(nested).chain(not.map(|part| When::Not(Box::new(part)))).collect()
        })
}

fn action() -> impl Strategy<Value = RuleAction> {
    prop_oneof![
        (400u16..=599).prop_map(RuleAction::Deny),
        Just(RuleAction::Close),
        (1u64..=600, of(400u16..=599))
            .prop_map(|(tenths, status)| { RuleAction::Tarpit(Duration::from_millis(tenths * 100), status) }),
        select(vec![301, 308])
            .prop_map(|status| RuleAction::Redirect { to: "/a{path}".parse().unwrap(), status }),
        select(TAGS.to_vec()).prop_map(|tag| RuleAction::Tag(tag.to_owned())),
        Just(RuleAction::Log),
        Just(RuleAction::Allow),
    ]
}

fn rule_set() -> impl Strategy<Value = RuleSet> {
    let ids: Vec<String> = probes::ids().map(str::to_owned).collect();
    let included = (subsequence(ids, 0..3), of(names(&["GET", "HEAD"])))
        .prop_map(|(except, methods)| Probes { except, methods: methods.unwrap_or_default() });
    (any::<bool>(), of(included), vec((when(), action()), 1..5)).prop_map(|(detect_only, probes, rules)| {
        let rules = rules.into_iter().enumerate();
        let rules = rules.map(|(at, (when, action))| Rule { id: format!("r{at}"), when, action });
        // What asks for tags has somebody who gives them.
        let given = TAGS.iter().map(|&tag| Rule {
            id: format!("gives-{tag}"),
            when: vec![When::Is(Condition::Method(vec!["GET".to_owned()]))],
            action: RuleAction::Tag(tag.to_owned()),
        });
        RuleSet { name: "own".to_owned(), detect_only, probes, rules: given.chain(rules).collect() }
    })
}

proptest! {
    #[test]
    fn rules_that_are_printed_read_back_as_what_they_were(
        set in rule_set(),
        sets in subsequence(vec!["probes", "own"], 0..=2),
        form in of(1usize..=128 << 10),
    ) {
        let mut settings = read("[listener.web]\naddress = '127.0.0.1:1'\n[listener.9]\naddress = '127.0.0.1:2'\n[[route]]\ndeny = true\n");
        settings.rule_sets = vec![set];
        let sets: Vec<String> = sets.into_iter().map(str::to_owned).collect();
        settings.routes[0].traffic.rules.form_bytes_max = form;
        settings.routes[0].traffic.rules.sets.clone_from(&sets);
        settings.listeners[1].traffic.rules.sets = sets;
        let text = print(&settings);
        let read = read(&text);
        prop_assert_eq!(&read, &settings, "{}", text);
    }
}
