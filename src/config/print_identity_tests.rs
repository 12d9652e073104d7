//! Random ways to authenticate, printed and read back.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{Settings, print, read};
use crate::config::identity::{Auth, AuthKind, ForwardAuth, Identity, RESPONSE_BYTES_MAX};
use crate::config::tokens::{Token, Tokens};

const NAMES: [&str; 3] = ["staff", "api", "sso-2"];

fn tokens() -> impl Strategy<Value = AuthKind> {
    let name = select(vec!["", "the build", "a \"${b}\" \u{e4}"]);
    vec((any::<[u8; 32]>(), name), 1..4).prop_map(|all| {
        let all = all.into_iter().map(|(hash, name)| Token { hash, name: name.into() }).collect();
        AuthKind::Bearer { file: None, tokens: Arc::new(Tokens::new(all).unwrap()) }
    })
}

fn service() -> impl Strategy<Value = AuthKind> {
    let fields = || subsequence(vec!["Cookie", "X-User", "Authorization", "X-A_b"], 0..4);
    let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let path = select(vec!["/", "/verify?x=1&y=%20", "/${a}"]);
    (
        path,
        of(select(vec!["GET", "POST", "client2"])),
        fields(),
        (fields(), subsequence(vec!["Set-Cookie", "X-User"], 0..3)),
        of(select(vec!["/login", "https://login.example/?rd={url}&x=$", "/in?{url}{url}"])),
        1u64..60_000,
        0..=RESPONSE_BYTES_MAX,
    )
        .prop_map(move |(path, method, request, (response, client), sign_in, ms, response_bytes_max)| {
            AuthKind::Forward(Box::new(ForwardAuth {
                upstream: "default".to_owned(),
                path: path.to_owned(),
                method: method.map(str::to_owned),
                request_fields: names(request),
                response_fields: names(response),
                client_fields: names(client),
                sign_in: sign_in.map(str::to_owned),
                timeout: Duration::from_millis(ms),
                response_bytes_max,
            }))
        })
}

fn auth(name: &'static str) -> impl Strategy<Value = Auth> {
    let realm = select(vec!["a", "the \"staff\" \\ ${x}", ""]);
    (prop_oneof![tokens(), service()], realm, of(Just("X-User".to_owned())), any::<bool>()).prop_map(
        move |(kind, realm, user_header, pass_credentials)| {
            let is_service = matches!(kind, AuthKind::Forward(_));
            Auth {
                name: name.to_owned(),
                realm: if is_service { name.to_owned() } else { realm.to_owned() },
                user_header,
                pass_credentials: pass_credentials && !is_service,
                kind,
            }
        },
    )
}

fn identity() -> impl Strategy<Value = Identity> {
    let names = subsequence(NAMES.to_vec(), 0..=3);
    of(names.prop_map(|names| names.into_iter().map(str::to_owned).collect()))
        .prop_map(|auth| Identity { auth })
}

proptest! {
    #[test]
    fn ways_to_authenticate_read_back_as_what_they_were(
        auths in (auth(NAMES[0]), auth(NAMES[1]), auth(NAMES[2])),
        listener in identity(),
        route in identity(),
    ) {
        let mut settings = Settings::for_tests();
        settings.auths = vec![auths.0, auths.1, auths.2];
        settings.listeners[0].traffic.identity = listener;
        settings.routes[0].traffic.identity = route;
        let text = print(&settings);
        let read = read(&text);
        prop_assert_eq!(&read, &settings, "{}", text);
    }
}
