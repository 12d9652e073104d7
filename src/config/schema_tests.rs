use super::*;
use crate::config::EXAMPLE;

fn validator() -> jsonschema::Validator {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema), "{schema:#}");
    jsonschema::draft202012::new(&schema).unwrap()
}

/// A file as the schema sees it.
fn file(text: &str) -> Value {
    let table: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    serde_json::to_value(table).unwrap()
}

fn complaints(validator: &jsonschema::Validator, text: &str) -> Vec<String> {
    let file = file(text);
    validator.iter_errors(&file).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn accepts_the_example() {
    assert_eq!(complaints(&validator(), EXAMPLE), Vec::<String>::new());
}

#[test]
fn accepts_what_is_printed() {
    let settings = crate::config::Settings::for_tests();
    assert_eq!(complaints(&validator(), &crate::config::print(&settings)), Vec::<String>::new());
}

#[test]
fn accepts_the_files_in_the_readme() {
    let readme = include_str!("../../README.md");
    let snippets: Vec<&str> =
        readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(!snippets.is_empty(), "the README has files");
    for snippet in snippets {
        assert_eq!(complaints(&validator(), snippet), Vec::<String>::new(), "{snippet}");
    }
}

#[test]
fn accepts_every_way_to_write_a_value() {
    let validator = validator();
    for text in [
        "",
        "port = 0",
        "port = '${PORT:-80}'",
        "trace = '${TRACE}'",
        "driver = '${DRIVER:-auto}'",
        "head-timeout = '${TIME}'",
        "head-timeout = '1h 30m'",
        "head-timeout = '1.5s'",
        "max-body = 4096",
        "max-body = '4096'",
        "max-body = '4097B'",
        "max-body = '1.5 GiB'",
        "max-body = '${SIZE}'",
        "origin = 'http://a'",
        "origin = ['http://a', 'http://b']",
        "include = 'a.toml'",
        "[upstream.a]\nendpoints = ['a:1', { address = 'b:1', weight = 2 }]",
        "upstream-idle = 0\nresolver = '::1'\nretry-on = [503, '502-504', 'connect']\ntcp-keepalive = 'off'",
        "[listener.a]\naddress = 'a:1'\nproxy-protocol = ['10.0.0.0/8', 'unix']",
        "[upstream.a]\nendpoints = [{ address = 'srv:a', backup = true, max-connections = 1, max-requests = 1 }]",
        "[upstream.a]\nprobe = 'tcp'\neject = false\nbreaker = true\nsticky = true\nretry-timeout = 'off'",
        "[upstream.a]\nprobe = { path = '/', status = [200, '204-206'], header = { A = '' }, jitter = '0%' }",
        "[upstream.a]\nprobe = { tcp = true, port = 1 }\neject = { status = 500 }\nbreaker = { rate = '1%' }",
        "[upstream.a]\nbalance = '${B}'\nhash-by = 'cookie:a'\nmax-load = 'off'\nwhen-down = 'fail'",
        "[upstream.a]\nsticky = { secret = '${S}' }\nmax-replay = 0\nproxy-protocol = 'v1'",
        "[error-page]\n502 = 'pages/502.html'\n503 = { body = '', content-type = 'text/plain' }",
        "[[route]]\nheader = { A = true, B = 'text', C = ['a', { prefix = 'b' }], D = { regex = 'c' } }",
        "[[route]]\nany = [{ not = { all = [{ path = '/' }] } }, { cookie = { a = false } }]",
        "[[route]]\nupstream = { a = 1, b = 0 }\nmirror = { upstream = 'c', share = '0.5%' }",
        "[[route]]\nredirect = { to = '/', status = 308 }",
        "[[route]]\nrespond = { status = 204 }",
        "[[route]]\ndeny = 451",
        "[[route]]\ncache = { query = { except = ['utm_*'] }, tag = ['a'] }",
        "[[route]]\nrequest-header = { add = { A = ['1', '2'] }, set = { B = '' }, remove = ['C*'] }",
    ] {
        assert_eq!(complaints(&validator, text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn refuses_what_is_wrong_at_its_place() {
    let validator = validator();
    for (text, place) in [
        ("prot = 1", ""),
        ("port = 65536", "/port"),
        ("port = -1", "/port"),
        ("port = '80'", "/port"),
        ("port = 1.5", "/port"),
        ("trace = 'yes'", "/trace"),
        ("trace = 1", "/trace"),
        ("driver = 'kqueue'", "/driver"),
        ("access-log = 'loud'", "/access-log"),
        ("head-timeout = 10", "/head-timeout"),
        ("head-timeout = 'soon'", "/head-timeout"),
        ("head-timeout = '10'", "/head-timeout"),
        ("head-timeout = '10 parsecs'", "/head-timeout"),
        ("max-body = '10 parsecs'", "/max-body"),
        ("max-body = -1", "/max-body"),
        ("max-body = true", "/max-body"),
        ("origin = 1", "/origin"),
        ("origin = ['http://a', 1]", "/origin"),
        ("via = ['a']", "/via"),
        ("listener = 'web'", "/listener"),
        ("[listener.web]\nadress = 'a:1'", "/listener/web"),
        ("[upstream.a]\nendpoints = { adress = 'a:1' }", "/upstream/a/endpoints"),
        ("[upstream.a]\nendpoints = [{ address = 'a:1', weight = 0 }]", "/upstream/a/endpoints"),
        ("[upstream.a]\nretries = 'two'", "/upstream/a/retries"),
        ("[upstream.a]\nbalance = 'rr'", "/upstream/a/balance"),
        ("[upstream.a]\nwhen-down = 'wait'", "/upstream/a/when-down"),
        ("[upstream.a]\nproxy-protocol = 'v3'", "/upstream/a/proxy-protocol"),
        ("[upstream.a]\nprobe = true", "/upstream/a/probe"),
        ("[upstream.a]\nprobe = { fall = 0 }", "/upstream/a/probe"),
        ("[upstream.a]\nprobe = { status = 199 }", "/upstream/a/probe"),
        ("[upstream.a]\neject = { max-share = 50 }", "/upstream/a/eject"),
        ("[upstream.a]\nbreaker = 1", "/upstream/a/breaker"),
        ("[upstream.a]\nsticky = 'yes'", "/upstream/a/sticky"),
        ("[upstream.a]\nmax-requests = 0", "/upstream/a/max-requests"),
        ("upstream-idle = 'many'", "/upstream-idle"),
        ("retry-on = [200]", "/retry-on"),
        ("[error-page]\n502 = { bdy = '' }", "/error-page/502"),
        ("[route]\nupstream = 'a'", "/route"),
        ("[[route]]\nhots = 'a'", "/route/0"),
        ("[[route]]\nupstream = 'a'\n[[route]]\nhost = 1", "/route/1/host"),
        ("[[route]]\nany = { host = 'a' }", "/route/0/any"),
        ("[[route]]\nany = [{ hots = 'a' }]", "/route/0/any/0"),
        ("[[route]]\nnot = { not = { hots = 'a' } }", "/route/0/not/not"),
        ("[[route]]\nheader = { A = 1 }", "/route/0/header/A"),
        ("[[route]]\nheader = { A = { starts = 'a' } }", "/route/0/header/A"),
        ("[[route]]\nupstream = { a = 1001 }", "/route/0/upstream"),
        ("[[route]]\nredirect = { to = '/', status = 200 }", "/route/0/redirect"),
        ("[[route]]\nrespond = { status = 99 }", "/route/0/respond"),
        ("[[route]]\ndeny = 200", "/route/0/deny"),
        ("[[route]]\nforward-path = 'raw'", "/route/0/forward-path"),
        ("[[route]]\ncache = { ttl = 'long' }", "/route/0/cache"),
        ("[[route]]\ncache = { query = 1 }", "/route/0/cache"),
        ("[[route]]\nrequest-header = { sets = {} }", "/route/0/request-header"),
    ] {
        let found = complaints(&validator, text);
        assert!(!found.is_empty(), "accepted: {text}");
        assert!(found.iter().all(|one| one.starts_with(&format!("{place}: "))), "{text}: {found:?}");
    }
}

#[test]
fn every_key_has_a_description_and_every_reference_is_defined() {
    fn references<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => {
                into.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, into));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, into)),
            _ => {}
        }
    }
    let schema = schema();
    let mut named = Vec::new();
    references(&schema, &mut named);
    for name in named {
        assert!(schema.pointer(name.trim_start_matches('#')).is_some(), "{name}");
    }
    let mut keys = 0;
    for (name, table) in schema["$defs"].as_object().unwrap() {
        let Some(properties) = table["properties"].as_object() else { continue };
        for (key, value) in properties {
            let description = value["description"].as_str().unwrap_or_default();
            assert!(description.len() > 5 && description.ends_with('.'), "{name}.{key}: {description:?}");
            keys += 1;
        }
    }
    assert!(keys > 100, "the keys were not found: {keys}");
}
