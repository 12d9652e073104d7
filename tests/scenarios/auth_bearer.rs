//! Tokens: who has one is let in, and the upstream does not see it.

use sha2::{Digest, Sha256};

use crate::support::cache::fresh_with;
use crate::support::live::{Folder, Live, upstream};
use crate::support::{Driver, Origin, Proxy, Setup, get, get_with, on_each_driver};

/// A token as the configuration has it.
fn hash(token: &str) -> String {
    let digits: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn wanting(origin: &Origin, auth: &str) -> String {
    format!("{}[auth.api]\n{auth}\n[[route]]\nupstream = 'app'\nauth = 'api'\n", upstream("app", origin))
}

fn start(driver: Driver, text: &str) -> Proxy {
    Setup::new(driver).file(text).args(&["--access-log", "json"]).start()
}

#[test]
fn who_has_a_token_is_let_in_and_nobody_else() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let list = format!("bearer = ['{}', '{} the \"build\"']", hash("mF_9.B5f-4.1JqM"), hash("second"));
        let proxy = start(driver, &wanting(&origin, &list));
        for token in ["mF_9.B5f-4.1JqM", "second"] {
            assert_eq!(proxy.ask(get_with("/", &bearer(token))).status(), 200);
            assert_eq!(origin.requests().pop().unwrap().field("Authorization"), None);
        }
        proxy.logged(&["\"user\":\"the \\\"build\\\"\""]);
        proxy.logged(&["\"user\":null"]);
        assert_eq!(proxy.get("/").field("WWW-Authenticate"), Some("Bearer realm=\"api\""));
        let invalid = "Bearer realm=\"api\", error=\"invalid_token\"";
        for token in ["secon", "seconds", "SECOND", "x", &"y".repeat(4096), &hash("second")] {
            let response = proxy.ask(get_with("/", &bearer(token)));
            assert_eq!(response.status(), 401, "{token}");
            // What cannot be a token is none.
            let want = if token.contains(':') { "Bearer realm=\"api\"" } else { invalid };
            assert_eq!(response.field("WWW-Authenticate"), Some(want), "{token}");
        }
        for fields in [
            "Authorization: Bearer\r\n",
            "Authorization: Bearer \r\n",
            "Authorization: Bearer second second\r\n",
            "Authorization: Bearer \"second\"\r\n",
            "Authorization: Bearer second,second\r\n",
            "Authorization: Basic second\r\n",
            "Authorization: second\r\n",
            "X-Authorization: Bearer second\r\n",
        ] {
            assert_eq!(proxy.ask(get_with("/", fields)).status(), 401, "{fields}");
        }
        assert_eq!(proxy.get("/?access_token=second").status(), 401);
        let twice = bearer("second") + &bearer("second");
        assert_eq!(proxy.ask(get_with("/", &twice)).status(), 400);
        assert_eq!(origin.requests().len(), 2);
        assert!(!proxy.stdout().contains("mF_9"));
    });
}

#[test]
fn lists_in_files_change_while_the_proxy_runs() {
    on_each_driver(|driver| {
        let (origin, folder) = (Origin::echo(), Folder::new());
        folder.write("tokens", format!("# the first\n{} one\n", hash("one")));
        let text = wanting(&origin, &format!("bearer = 'file:{}'", folder.path("tokens")));
        let proxy = Live::start(driver, 2, &text);
        let ask = |token| proxy.ask(get_with("/", &bearer(token))).status();
        assert_eq!((ask("one"), ask("two")), (200, 401));
        folder.write("tokens", hash("two"));
        proxy.apply(&text);
        assert_eq!((ask("one"), ask("two")), (401, 200));
        // Nobody is let in by an empty list.
        folder.write("tokens", "");
        proxy.apply(&text);
        assert_eq!((ask("one"), ask("two"), ask("")), (401, 401, 401));
    });
}

#[test]
fn names_of_tokens_tell_stored_responses_apart() {
    on_each_driver(|driver| {
        let origin =
            Origin::replying(|request| fresh_with("", request.field("X-Client").unwrap_or("nobody")));
        let list = format!(
            "bearer = ['{} ann', '{} bob', '{}']\nuser-header = 'X-Client'",
            hash("a"),
            hash("b"),
            hash("c")
        );
        let proxy = start(driver, &wanting(&origin, &list));
        for (x_cache, _) in [("MISS", 0), ("HIT", 1)] {
            for (token, want) in [("a", "ann"), ("b", "bob"), ("c", "nobody")] {
                let fields = bearer(token) + "X-Client: ann\r\nx_client: bob\r\n";
                proxy.ask(get_with("/", &fields)).expect(200, want, x_cache);
            }
        }
        assert_eq!(proxy.ask(get("/")).status(), 401);
    });
}
