//! Which routes can never be taken.

use proptest::prelude::*;

use super::*;
use crate::config::matching::Test;
use crate::route::sample::{plain, route, some_request, some_routes};

fn found(routes: &[RouteSettings]) -> Vec<(usize, usize)> {
    shadowed(routes).into_iter().map(|one| (one.route, one.by)).collect()
}

fn method(names: &[&str]) -> Condition {
    Condition::Method(names.iter().map(|&name| name.to_owned()).collect())
}

fn header(name: &str) -> Condition {
    Condition::Header(name.to_owned(), Test::Present)
}

#[test]
fn a_route_is_shadowed_by_an_earlier_one_for_the_same() {
    for (hosts, paths) in [
        (&[][..], &[][..]),
        (&["a"], &[]),
        (&["a", "*.a"], &["/x"]),
        (&[], &["/x/*", "/y"]),
        (&["*.a"], &["^/x"]),
    ] {
        let one = || route("one", hosts, paths, vec![]);
        assert_eq!(found(&[one(), one(), one()]), [(1, 0), (2, 0)], "{hosts:?} {paths:?}");
    }
    // The names of captures make no difference, and neither does what is the same in normal form.
    let routes = [
        route("one", &["A.b."], &["/x/{one}/", "/p//q*"], vec![]),
        route("two", &["a.B"], &["/p/q/*"], vec![]),
        route("three", &["a.b"], &["/x/{two}/"], vec![]),
    ];
    assert_eq!(found(&routes), [(1, 0), (2, 0)]);
}

#[test]
fn several_may_shadow_one_together() {
    let mut routes = vec![
        route("x", &["a"], &["/x"], vec![]),
        route("y", &["a"], &["/y", "/z"], vec![]),
        route("both", &["a"], &["/y", "/x"], vec![header("X")]),
    ];
    assert_eq!(found(&routes), [(2, 1)]);
    routes[2].hosts.push("b".parse().unwrap());
    assert_eq!(found(&routes), []);
}

#[test]
fn an_earlier_route_with_less_conditions_shadows_one_with_more() {
    let all = |conditions| Condition::All(conditions);
    for (earlier, later, shadows) in [
        (vec![], vec![header("X")], true),
        (vec![header("X")], vec![header("X")], true),
        (vec![header("X")], vec![header("Y"), header("X")], true),
        (vec![header("X")], vec![all(vec![header("Y"), all(vec![header("X")])])], true),
        (vec![all(vec![header("X"), header("Y")])], vec![header("Y"), header("X")], true),
        (vec![method(&["GET", "HEAD"])], vec![method(&["HEAD"])], true),
        (vec![method(&["GET"])], vec![method(&["HEAD"])], true),
        (vec![header("X")], vec![], false),
        (vec![header("X")], vec![header("Y")], false),
        (vec![header("X")], vec![Condition::Any(vec![header("X"), header("Y")])], false),
        (vec![header("X")], vec![Condition::Not(Box::new(header("X")))], false),
        (vec![method(&["HEAD"])], vec![method(&["GET", "HEAD"])], false),
    ] {
        let routes = [route("a", &[], &["/x"], earlier), route("b", &[], &["/x"], later)];
        assert_eq!(
            !found(&routes).is_empty(),
            shadows,
            "{:?}",
            (&routes[0].conditions, &routes[1].conditions)
        );
    }
}

#[test]
fn what_differs_in_host_or_path_shadows_nothing() {
    let routes = [
        route("a", &["*.a"], &["/x"], vec![]),
        route("b", &["x.a"], &["/x"], vec![]),
        route("c", &["*.a"], &["/x/"], vec![]),
        route("d", &["*.a"], &["/x*"], vec![]),
        route("e", &["*.a"], &["/{x}"], vec![]),
        route("f", &["*.a"], &["^/x$"], vec![]),
        route("g", &["*.a"], &[], vec![]),
        route("h", &[], &["/x"], vec![]),
    ];
    assert_eq!(found(&routes), []);
    // One route that says the same twice does not shadow itself.
    assert_eq!(found(&[route("a", &["a", "a"], &["/x", "/x"], vec![])]), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_shadowed_route_never_wins(
        routes in some_routes(),
        copies in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..4),
        requests in prop::collection::vec(some_request(), 1..10),
    ) {
        // Copies, some with a condition more, so that there is something to find.
        let mut routes = routes;
        for (index, more) in copies {
            let Some(copied) = routes.get(index.index(routes.len().max(1))).cloned() else { continue };
            let more = more.then(|| method(&["GET"]));
            let conditions = copied.conditions.iter().cloned().chain(more).collect();
            routes.push(RouteSettings { conditions, ..copied });
        }
        let never: Vec<_> = shadowed(&routes).into_iter().map(|one| one.route).collect();
        for request in requests {
            let taken = plain(&routes, &request).map(|(at, _)| at);
            prop_assert!(taken.is_none_or(|at| !never.contains(&at)), "{:?} takes {:?}", taken, request);
        }
    }
}

#[test]
fn an_expression_that_takes_every_path_leaves_nothing_to_prefixes() {
    let all = || route("all", &["a"], &["^/"], vec![]);
    for path in ["/api/*", "/{x}", "^/late"] {
        assert_eq!(found(&[all(), route("x", &["a"], &[path], vec![])]), [(1, 0)], "{path}");
    }
    // Captures and prefixes come behind expressions wherever they stand in the file.
    assert_eq!(found(&[route("x", &["a"], &["/api/*"], vec![]), all()]), [(0, 1)]);
    assert_eq!(found(&[route("x", &["a"], &["^/early"], vec![]), all()]), []);
    for other in [
        route("exact", &["a"], &["/x"], vec![]),
        route("other host", &["b"], &["/x/*"], vec![]),
        route("any host", &[], &["/x/*"], vec![]),
    ] {
        assert_eq!(found(&[all(), other]), []);
    }
    let some = route("some", &["a"], &["^/"], vec![header("x")]);
    assert_eq!(found(&[some, route("x", &["a"], &["/x/*"], vec![])]), []);
}
