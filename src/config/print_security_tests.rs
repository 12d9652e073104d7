//! Access lists, bounds on requests and what browsers are told, made up.

use super::*;
use crate::config::browsers::{Browsers, CorsSettings, Hsts, Origins, Own, SAFETY_FIELDS, SecurityHeaders};
use crate::config::security::{Access, Clients, NetworkFile, RequestLimits, Security};

fn clients() -> impl Strategy<Value = Clients> {
    let networks = subsequence(vec!["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "0.0.0.0/0"], 0..=4);
    (networks, any::<bool>(), any::<bool>()).prop_map(|(networks, all, unix)| Clients {
        networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        all,
        unix,
        files: Vec::new(),
    })
}

fn names(all: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(all, 0..=all.len()).prop_map(|names| names.iter().map(|&name| name.to_owned()).collect())
}

fn any_security() -> impl Strategy<Value = Security> {
    let access = (clients(), clients())
        .prop_filter("somebody", |(allow, deny)| !allow.is_empty() || !deny.is_empty())
        .prop_map(|(allow, deny)| Access { allow, deny });
    let bound = || of(0usize..100_000);
    let methods = names(&["GET", "POST", "purge"]);
    let types = names(&["application/json", "text/*", "a/b+c"]);
    let limits = (methods, bound(), bound(), bound(), bound(), bound(), types).prop_map(
        |(methods, target, query, parameters, field, fields, content_types)| RequestLimits {
            methods,
            target_bytes_max: target,
            query_bytes_max: query,
            parameters_max: parameters,
            field_bytes_max: field,
            fields_max: fields,
            content_types,
        },
    );
    (of(access), of(limits)).prop_map(|(access, limits)| Security { access, limits })
}

fn own<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Own<T>> {
    let value = of(value);
    (value, any::<bool>()).prop_map(|(value, off)| match (value, off) {
        (Some(value), _) => Own::On(value),
        (None, true) => Own::Off,
        (None, false) => Own::Unsaid,
    })
}

fn headers() -> impl Strategy<Value = SecurityHeaders> {
    let hsts = (0u64..600_000_000, any::<bool>()).prop_map(|(seconds, include_subdomains)| Hsts {
        max_age: Duration::from_secs(seconds),
        include_subdomains,
        preload: include_subdomains && seconds >= 365 * 24 * 3600,
    });
    let values = [
        "nosniff",
        "SAMEORIGIN",
        "same-origin",
        "default-src 'self' \"${A}\"",
        "script-src 'none'",
        "camera=()",
        "unsafe-none",
        "credentialless",
        "cross-origin",
        "master-only",
    ];
    let places = subsequence((0..SAFETY_FIELDS.len()).collect::<Vec<_>>(), 0..=SAFETY_FIELDS.len());
    (of(hsts), places).prop_map(move |(hsts, places)| SecurityHeaders {
        hsts,
        fields: places.into_iter().map(|place| (place, values[place].to_owned())).collect(),
    })
}

fn cors() -> impl Strategy<Value = CorsSettings> {
    let all = vec![
        Origins::Null,
        Origins::One("https://a.example:8443".to_owned()),
        Origins::Below("http://".to_owned(), ".b.example".to_owned()),
    ];
    let origins = (subsequence(all, 1..=3), any::<bool>());
    let methods = names(&["GET", "PUT", "*"]).prop_filter("some", |names| !names.is_empty());
    let (headers, exposed) = (names(&["X-A", "*"]), names(&["X-B", "X-C"]));
    let rest = (any::<bool>(), of(1u64..86_400), any::<bool>());
    (origins, methods, headers, exposed, rest).prop_map(
        |((mut origins, any), methods, headers, exposed, rest)| {
            let (credentials, max_age, private_network) = rest;
            if any && !credentials {
                origins.push(Origins::Any);
            }
            let max_age = max_age.map(Duration::from_secs);
            CorsSettings { origins, methods, headers, exposed, credentials, max_age, private_network }
        },
    )
}

fn any_browsers() -> impl Strategy<Value = Browsers> {
    let hidden =
        names(&["Server", "X-Powered-By", "X-Debug-*"]).prop_filter("some", |names| !names.is_empty());
    (own(headers()), own(hidden), own(cors())).prop_map(|(security_headers, hidden, cors)| Browsers {
        security_headers,
        hidden,
        cors,
    })
}

proptest! {
    #[test]
    fn what_is_printed_of_security_is_read_as_the_same(security in any_security(), browsers in any_browsers()) {
        let mut section = value::Section::default();
        security::print(&mut section, &security);
        browsers::print(&mut section, &browsers);
        let text = format!("origin = 'http://a'\n[[route]]\ndeny = true\n{}", section.into_table());
        let traffic = &read(&text).routes[0].traffic;
        prop_assert_eq!((&traffic.security, &traffic.browsers), (&security, &browsers), "{}", text);
    }
}

#[test]
fn a_list_in_a_file_is_printed_as_its_path() {
    let file = File::new("10.0.0.0/8\n");
    let networks = NetworkFile { path: file.0.clone(), networks: Arc::from(["10.0.0.0/8".parse().unwrap()]) };
    let mut section = value::Section::default();
    let access =
        Access { allow: Clients::default(), deny: Clients { files: vec![networks], ..Clients::default() } };
    security::print(&mut section, &Security { access: Some(access.clone()), limits: None });
    let text = format!("origin = 'http://a'\n[[route]]\ndeny = true\n{}", section.into_table());
    assert!(text.contains(&format!("access = {{ deny = [\"file:{}\"] }}", file.0.display())), "{text}");
    assert_eq!(read(&text).routes[0].traffic.security.access, Some(access));
}
