use super::*;
use crate::config::matching::{HostPattern, Test};
use crate::config::route::{Action, ForwardPath, Split, SplitBy};
use crate::route::fuzz::Sample;
use proptest::prelude::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn keyed(rule: &KeyQuery, query: &str) -> String {
    let mut out = Vec::new();
    write_query(rule, Some(query.as_bytes()), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_query_counts_as_far_as_the_rule_says() {
    let only = KeyQuery::Only(names(&["a", "p_*"]));
    let except = KeyQuery::Except(names(&["utm_*", "z"]));
    for (rule, query, want) in [
        (&KeyQuery::All, "b=2&a=1&&", "?b=2&a=1&&"),
        (&KeyQuery::All, "", "?"),
        (&KeyQuery::None, "a=1", ""),
        (&only, "", ""),
        (&only, "b=1", ""),
        (&only, "p_y=1&b=2&a=3&p_x", "?a=3&p_x&p_y=1"),
        // The order among those of one name is theirs to mean something by.
        (&only, "a=2&b&a=1&%61=3", "?a=2&a=1&%61=3"),
        (&only, "A=1&ab=2", ""),
        (&except, "utm_a=1&%75tm_b=2&z", ""),
        (&except, "c=1&utm_a=1&b=2&&zz", "?b=2&c=1&zz"),
    ] {
        assert_eq!(keyed(rule, query), want, "{query}");
    }
    let mut out = Vec::new();
    write_query(&KeyQuery::All, None, &mut out);
    assert!(out.is_empty());
}

proptest! {
    #[test]
    fn parameters_of_different_names_count_in_any_order(
        parameters in proptest::collection::vec(("[abc]|%61", "[0-9]"), 0..40),
        seed in any::<u64>(),
    ) {
        let query = |pairs: &[(String, String)]| {
            let texts: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            texts.join("&")
        };
        let rule = KeyQuery::Except(names(&["c"]));
        let one = keyed(&rule, &query(&parameters));
        // Whole groups change places; what is in a group keeps its order.
        let group = |name: &str| if name == "%61" { "a".to_owned() } else { name.to_owned() };
        let mut groups = ["a", "b", "c"];
        fastrand::Rng::with_seed(seed).shuffle(&mut groups);
        let moved: Vec<_> =
            groups.iter().flat_map(|name| parameters.iter().filter(move |(n, _)| group(n) == *name)).cloned().collect();
        prop_assert_eq!(&one, &keyed(&rule, &query(&moved)));
        let mut sorted: Vec<_> = parameters.into_iter().filter(|(name, _)| name != "c").collect();
        sorted.sort_by_key(|(name, _)| group(name));
        let want = if sorted.is_empty() { String::new() } else { format!("?{}", query(&sorted)) };
        prop_assert_eq!(one, want);
    }
}

fn selecting(rule: &CacheRule, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    Sample::new(fields).with(|values| write_selecting(rule, values.fields, &mut out));
    out
}

#[test]
fn fields_and_cookies_that_the_rule_names_select() {
    let rule = CacheRule { headers: names(&["X-A", "X-B"]), cookies: names(&["c"]), ..CacheRule::default() };
    let of = |fields: &[(&str, &str)]| selecting(&rule, fields);
    assert_eq!(of(&[]), b"000");
    assert_eq!(of(&[("x-a", "1"), ("Cookie", "b=2; c=3"), ("X-C", "4")]), b"11\n0013\n0");
    assert_eq!(of(&[("X-C", "4"), ("Cookie", "d=3")]), of(&[]));
    // Not there, empty, and one that looks like another's.
    let different = [
        of(&[]),
        of(&[("X-A", "")]),
        of(&[("X-B", "")]),
        of(&[("X-A", ""), ("X-A", "")]),
        of(&[("X-A", "0")]),
        of(&[("X-A", "01")]),
        of(&[("X-A", "1"), ("X-B", "1")]),
        of(&[("X-A", "1"), ("X-A", "1")]),
        of(&[("X-A", "1, 1")]),
        of(&[("Cookie", "c=")]),
        of(&[("Cookie", "c=1")]),
        of(&[("Cookie", "c=1; c=1")]),
        of(&[("Cookie", "C=1"), ("X-A", "1")]),
    ];
    let distinct: std::collections::BTreeSet<_> = different.iter().collect();
    assert_eq!(distinct.len(), different.len());
    assert!(selecting(&CacheRule::default(), &[("X-A", "1")]).is_empty());
}

proptest! {
    #[test]
    fn a_value_never_imitates_that_of_another_name(
        one in proptest::collection::vec((0_usize..3, "[01,a]{0,3}"), 0..4),
        other in proptest::collection::vec((0_usize..3, "[01,a]{0,3}"), 0..4),
    ) {
        let rule = CacheRule { headers: names(&["A", "B"]), cookies: names(&["c"]), ..CacheRule::default() };
        let of = |lines: &[(usize, String)]| {
            let lines: Vec<_> = lines
                .iter()
                .map(|(which, value)| match which {
                    2 => ("Cookie", format!("c={value}")),
                    which => (["A", "B"][*which], value.clone()),
                })
                .collect();
            let mut out = Vec::new();
            Sample::new(&lines).with(|values| write_selecting(&rule, values.fields, &mut out));
            out
        };
        let grouped = |lines: &[(usize, String)]| -> Vec<Vec<String>> {
            let of = |which| lines.iter().filter(|(w, _)| *w == which).map(|(_, value)| value.clone()).collect();
            (0..3).map(of).collect()
        };
        prop_assert_eq!(of(&one) == of(&other), grouped(&one) == grouped(&other));
    }
}

fn route() -> RouteSettings {
    RouteSettings {
        name: "a".to_owned(),
        hosts: Vec::new(),
        paths: Vec::new(),
        conditions: Vec::new(),
        action: Action::Forward(Split { shares: vec![("app".to_owned(), 1)], by: SplitBy::Chance }),
        rewrite: Default::default(),
        request_fields: FieldEdits::default(),
        response_fields: FieldEdits::default(),
        cache: CacheRule::default(),
        mirror: None,
        limits: Default::default(),
        traffic: crate::config::Traffic::default(),
        error_pages: Default::default(),
    }
}

fn line(name: &str, template: &str) -> (String, Template) {
    (name.to_owned(), template.parse().unwrap())
}

#[test]
fn templates_bring_values_that_the_key_does_not_have() {
    let mut route = route();
    assert_eq!(brought(&route), []);
    route.rewrite.path = Some("/{host}{path}/{query.a}".parse().unwrap());
    assert_eq!(brought(&route), []);
    route.cache.query = KeyQuery::None;
    assert_eq!(brought(&route), [Variable::Parameter("a".to_owned())]);
    route.rewrite.query.set = vec![line("ip", "{client_ip}{header.X}{id}")];
    route.request_fields.add = vec![line("X", "{header.X}{client_ip}{request_id}{cookie.c}")];
    route.response_fields.add = vec![line("X", "{header.Never}")];
    let want = [
        Variable::Parameter("a".to_owned()),
        Variable::ClientIp,
        Variable::Header("X".to_owned()),
        Variable::Capture("id".to_owned()),
        Variable::Cookie("c".to_owned()),
    ];
    assert_eq!(brought(&route), want);
}

#[test]
fn what_is_told_every_upstream_anyway_is_not_brought() {
    let mut route = route();
    route.request_fields.set = vec![line("X-Real-IP", "{client_ip}"), line("X-Id", "{request_id}")];
    assert_eq!(brought(&route), []);
}

#[test]
fn values_that_are_brought_cannot_be_mistaken() {
    let brought = [Variable::Header("A".to_owned()), Variable::Header("B".to_owned())];
    let of = |a: &str, b: &str| {
        let mut out = Vec::new();
        Sample::new(&[("A", a), ("B", b)]).with(|values| write_brought(&brought, values, &mut out));
        String::from_utf8(out).unwrap()
    };
    assert_eq!(of("ab", "c"), "2:ab1:c");
    assert_ne!(of("ab", "c"), of("a", "bc"));
    assert_ne!(of("", "0:"), of("0:", ""));
}

#[test]
fn two_routes_to_the_same_place_share_what_is_stored() {
    let one = identity(&route(), "app");
    let mut other = route();
    other.name = "b".to_owned();
    other.hosts = vec![HostPattern::Exact("example.com".to_owned())];
    other.conditions = vec![
        Condition::Method(names(&["GET"])),
        Condition::Not(Box::new(Condition::Any(vec![Condition::Listener(names(&["web"]))]))),
    ];
    other.cache.ttl = Some(std::time::Duration::from_secs(1));
    other.cache.tags = names(&["t"]);
    other.response_fields.remove = names(&["X"]);
    assert_eq!(identity(&other, "app"), one);
    assert_ne!(one, 0);
}

#[test]
fn whatever_makes_another_response_makes_another_identity() {
    let changes: [fn(&mut RouteSettings); 11] = [
        |_| {},
        |route| route.rewrite.strip_prefix = Some("/a".to_owned()),
        |route| route.rewrite.add_prefix = Some("/a".to_owned()),
        |route| route.rewrite.forward = ForwardPath::Original,
        |route| route.rewrite.query.remove = names(&["a"]),
        |route| route.request_fields.remove = names(&["a"]),
        |route| route.request_fields.set = vec![line("X", "{client_ip}")],
        |route| route.conditions = vec![Condition::Header("X".to_owned(), Test::Present)],
        |route| {
            let inner = Condition::Not(Box::new(Condition::Header("X".to_owned(), Test::Present)));
            route.conditions = vec![Condition::Any(vec![Condition::Method(names(&["GET"])), inner])];
        },
        |route| route.cache.query = KeyQuery::Only(names(&["a"])),
        |route| route.cache.headers = names(&["a"]),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for change in changes {
        for upstream in ["app", "canary"] {
            let mut route = route();
            change(&mut route);
            assert_eq!(identity(&route, upstream), identity(&route.clone(), upstream));
            assert!(seen.insert(identity(&route, upstream)));
        }
    }
}

#[test]
fn what_has_a_url_may_be_stored_without_parts_of_its_query() {
    let queries = [KeyQuery::None, KeyQuery::Only(names(&["a"])), KeyQuery::Except(names(&["b"]))];
    let others = |key: &str| -> Vec<String> {
        let found = others(key.as_bytes(), &queries);
        found.map(|key| String::from_utf8(key).unwrap()).collect()
    };
    assert_eq!(others("h/x?b=1&a=2"), ["h/x", "h/x?a=2", "h/x?a=2"]);
    assert_eq!(others("h/x?c"), ["h/x", "h/x"]);
    assert_eq!(others("h/x"), Vec::<String>::new());
}
