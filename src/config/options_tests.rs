use super::*;
use crate::config::AdminSettings;
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn flags(args: &[&str]) -> Options {
    Cli::try_parse_from([&["ringway"], args].concat()).unwrap_or_else(|error| panic!("{error}")).options
}

fn file(text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!(
        "ringway-options-{}-{:x}.toml",
        std::process::id(),
        fastrand::u64(..)
    ));
    std::fs::write(&path, text).unwrap();
    path
}

fn with_file(args: &[&str], text: &str) -> Result<Settings, ConfigError> {
    let path = file(text);
    let settings = flags(args).into_settings(Some(path.clone()));
    std::fs::remove_file(path).unwrap();
    settings
}

#[test]
fn an_origin_is_all_that_must_be_given() {
    let settings = flags(&["--origin", "http://127.0.0.1:9001"]).into_settings(None).unwrap();
    assert_eq!(settings.listeners[0].addresses, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!((settings.drain, settings.cores), (Duration::from_secs(30), None));
    assert_eq!(settings.listeners[0].limits, ListenerLimits::default());
    assert_eq!(settings.upstreams[0].limits, UpstreamLimits::default());
    let error = flags(&[]).into_settings(None).unwrap_err();
    assert!(matches!(error, ConfigError::Usage(message) if message.contains("no origin")));
}

#[test]
fn the_file_says_the_same_in_the_same_words() {
    let args = [
        "--origin",
        "http://a:1,http://b:2",
        "--port",
        "0",
        "--cores",
        "2",
        "--max-head",
        "16KiB",
        "--head-timeout",
        "5s",
        "--trusted-proxy",
        "10.0.0.0/8",
        "--upstream-host",
        "--access-log",
        "json",
        "--driver",
        "epoll",
        "--balance",
        "consistent-hash",
        "--retry-on",
        "connect,503",
        "--retry-on",
        "502-504",
        "--upstream-idle",
        "0",
        "--resolver",
        "127.0.0.1,[::1]:54",
        "--tcp-keepalive",
        "off",
        "--tcp-user-timeout",
        "5s",
        "--cache-size",
        "2MiB",
        "--cache-ttl",
        "10m",
        "--cache-grace",
        "1h",
        "--cache-max-response",
        "1MiB",
        "--cache-wait",
        "1s",
        "--admin",
        "0.0.0.0:1",
        "--admin-token",
        "0123456789abcdef",
        "--admin-anywhere",
    ];
    let text = "origin = ['http://a:1', 'http://b:2']\nport = 0\ncores = 2\nmax-head = '16KiB'\nhead-timeout = '5s'\n\
                trusted-proxy = ['10.0.0.0/8']\nupstream-host = true\naccess-log = 'json'\ndriver = 'epoll'\n\
                balance = 'consistent-hash'\nretry-on = ['connect', 503, '502-504']\nupstream-idle = 0\n\
                resolver = ['127.0.0.1:53', '[::1]:54']\ntcp-keepalive = 'off'\ntcp-user-timeout = '5s'\n\
                cache-size = '2MiB'\ncache-ttl = '10m'\ncache-grace = '1h'\ncache-max-response = '1MiB'\ncache-wait = '1s'\n\
                admin = '0.0.0.0:1'\nadmin-token = '0123456789abcdef'\nadmin-anywhere = true\n";
    assert_eq!(with_file(&[], text).unwrap(), flags(&args).into_settings(None).unwrap());
}

#[test]
fn a_flag_beats_the_file() {
    let settings = with_file(&["--port", "1"], "origin = ['http://a']\nport = 2\nvia = 'edge'").unwrap();
    assert_eq!(settings.listeners[0].addresses, ["127.0.0.1:1".parse().unwrap()]);
    assert_eq!(settings.via, "edge");
}

#[test]
fn the_file_is_blamed_with_line_and_column() {
    for (text, want) in [
        ("origin = ['http://a']\nprot = 2", ":2:1: error: unknown key `prot`"),
        ("origin = ['http://a']\nport = 99999", ":2:8: error: must be a number from 0 to 65535"),
        ("origin = ['nowhere']", "has no scheme"),
        ("origin = ['http://a']\nhead-timeout = 'soon'", "durations are written like"),
        ("origin = ['http://a']\nmax-head = '1GiB'", ":2:12: error: must be from 1024 to 65535 bytes"),
        ("origin = ['http://a']\ncache-size = '1KiB'", ":2:14: error: must be at least 1MiB"),
        ("origin = ['http://a']\nadmin = 'on'", "is no admin address"),
        ("port = ", ":1:8: error:"),
    ] {
        let error = with_file(&[], text).unwrap_err();
        assert!(matches!(error, ConfigError::File(_)), "{error}");
        assert!(error.to_string().contains(want), "{error}");
    }
    let missing = flags(&[]).into_settings(Some(PathBuf::from("/nonexistent/ringway.toml"))).unwrap_err();
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
}

#[test]
fn values_out_of_bounds_are_refused() {
    for args in [
        ["--max-head", "64KiB"],
        ["--max-head", "1"],
        ["--max-fields", "0"],
        ["--max-fields", "257"],
        ["--max-target", "32KiB"],
        ["--cores", "0"],
        ["--via", "a b"],
        ["--cache-size", "1000KiB"],
        ["--cache-max-response", "129MiB"],
        ["--cache-ttl", "1ms"],
        ["--admin", "127.0.0.1:1"],
        ["--admin-token", "short"],
    ] {
        let mut options = flags(&args);
        options.origin = Some(vec!["http://a".parse().unwrap()]);
        assert!(matches!(options.into_settings(None), Err(ConfigError::Usage(_))), "{args:?}");
    }
    for args in [
        ["--head-timeout", "0s"],
        ["--port", "65536"],
        ["--origin", "x"],
        ["--trusted-proxy", "10.0.0.0/99"],
        ["--balance", "rr"],
        ["--retry-on", "connect,200"],
        ["--retry-on", ""],
        ["--resolver", "localhost"],
        ["--upstream-idle", "-1"],
        ["--tcp-keepalive", "0s"],
        ["--tcp-keepalive", "10h"],
        ["--tcp-user-timeout", "on"],
    ] {
        assert!(Cli::try_parse_from([&["ringway"][..], &args].concat()).is_err(), "{args:?}");
    }
}

#[test]
fn the_cache_may_be_turned_off() {
    let text = "origin = ['http://a']\nno-cache = true";
    assert_eq!(with_file(&[], text).unwrap().cache, None);
    assert!(with_file(&["--no-cache", "false"], text).unwrap().cache.is_some());
    assert_eq!(with_file(&["--no-cache"], "origin = ['http://a']").unwrap().cache, None);
}

#[test]
fn the_file_may_leave_the_token_to_the_environment() {
    let text = "origin = ['http://a']\nadmin = '127.0.0.1:0'\ncache-max-response = '200MiB'\n";
    assert!(matches!(with_file(&[], text), Err(ConfigError::File(_))));
    let settings = with_file(&["--admin-token", "0123456789abcdef", "--cache-size", "1GiB"], text).unwrap();
    assert!(matches!(settings.admin, AdminSettings::Tcp { .. }));
}
