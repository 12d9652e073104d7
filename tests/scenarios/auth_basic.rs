//! Names and passwords: who is let in, who is not, and what becomes of what was sent for that.

use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::cache::{fresh_with, status};
use crate::support::live::{Folder, Live, upstream};
use crate::support::{
    Driver, End, Origin, Proxy, Setup, chunk, eventually, get, get_with, ok, on_each_driver,
};

/// The hash of a password, as cheap as it can be.
pub(crate) fn hash(password: &str) -> String {
    let parts = bcrypt::hash_with_salt(password, 4, [9; 16]).unwrap();
    parts.format_for_version(bcrypt::Version::TwoY)
}

/// A field that says who asks.
pub(crate) fn basic(name: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{password}")))
}

/// A folder with the users ann ("sesame") and bob ("tiger").
fn users() -> Folder {
    let folder = Folder::new();
    folder.write("users", format!("# staff\nann:{}\nbob:{}\n", hash("sesame"), hash("tiger")));
    folder
}

/// A way to authenticate by that file, and a route that wants it.
fn wanting(origin: &Origin, users: &Folder, auth: &str, route: &str) -> String {
    format!(
        "{}[auth.staff]\nbasic = 'file:{}'\nrealm = 'the \"staff\"'\n{auth}\n[[route]]\nupstream = 'app'\nauth = 'staff'\n{route}\n",
        upstream("app", origin),
        users.path("users"),
    )
}

fn start(driver: Driver, text: &str) -> Proxy {
    Setup::new(driver).file(text).args(&["--access-log", "combined"]).admin().start()
}

#[test]
fn who_has_the_password_is_let_in_and_nobody_else() {
    on_each_driver(|driver| {
        let (origin, users) = (Origin::echo(), users());
        let proxy = start(driver, &wanting(&origin, &users, "", ""));
        for fields in
            ["", &basic("ann", "sesamE"), &basic("ann", ""), &basic("eve", "sesame"), &basic("ann", "tiger")]
        {
            let response = proxy.ask(get_with("/x", fields));
            assert_eq!(response.status(), 401, "{fields}");
            let challenge = "Basic realm=\"the \\\"staff\\\"\", charset=\"UTF-8\"";
            assert_eq!(response.field("WWW-Authenticate"), Some(challenge), "{fields}");
        }
        assert!(origin.requests().is_empty());
        for fields in [basic("ann", "sesame"), basic("bob", "tiger"), basic("ann", "sesame")] {
            assert_eq!(proxy.ask(get_with("/x", &fields)).status(), 200, "{fields}");
            assert_eq!(origin.requests().pop().unwrap().field("Authorization"), None);
        }
        // The name stands in the log, and no password does, nor what was sent by those who are not known.
        proxy.logged(&["127.0.0.1 - ann [", " 200 "]);
        proxy.logged(&["127.0.0.1 - - [", " 401 ", "unauthenticated"]);
        for secret in ["sesame", "tiger", "eve", &STANDARD.encode("ann:sesame")] {
            assert!(!proxy.stdout().contains(secret), "{secret}");
        }
    });
}

#[test]
fn credentials_that_could_be_read_in_two_ways_are_refused() {
    on_each_driver(|driver| {
        let (origin, users) = (Origin::echo(), users());
        let proxy = start(driver, &wanting(&origin, &users, "", ""));
        let good = STANDARD.encode("ann:sesame");
        assert_eq!(proxy.ask(get_with("/", &format!("Authorization: bAsIc   {good}\r\n"))).status(), 200);
        for (value, want) in [
            (format!("Authorization: Basic {good}\r\nAuthorization: Basic {good}\r\n"), 400),
            (format!("Authorization: Basic {good}\r\nauthorization: Bearer x\r\n"), 400),
            (format!("Authorization: Basic {good}, Basic {good}\r\n"), 401),
            (format!("Authorization: Basic {}\r\n", good.trim_end_matches('=')), 401),
            (format!("Authorization: Basic\t{good}\r\n"), 401),
            (format!("Authorization: Basic {}\r\n", STANDARD.encode("ann:sesame\n")), 401),
            (format!("Authorization: Basic {}\r\n", STANDARD.encode("ann:sesame\0")), 401),
            (format!("Authorization: Basic {}\r\n", STANDARD.encode(b"ann:sesame\xff")), 401),
            (format!("Authorization: Basic {}\r\n", STANDARD.encode("annsesame")), 401),
            (format!("Authorization: Basic {}\r\n", "A".repeat(8000)), 401),
            (format!("Proxy-Authorization: Basic {good}\r\n"), 401),
            (format!("Authorization_: Basic {good}\r\n"), 401),
            // Whoever has the field dropped has not sent it.
            (format!("Authorization: Basic {good}\r\nConnection: Authorization\r\n"), 401),
        ] {
            assert_eq!(proxy.ask(get_with("/", &value)).status(), want, "{value}");
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn connections_go_on_after_a_401_and_content_is_not_taken_for_a_request() {
    on_each_driver(|driver| {
        let (origin, users) = (Origin::echo(), users());
        let proxy = start(driver, &wanting(&origin, &users, "", ""));
        let good = basic("ann", "sesame");
        let mut client = proxy.client();
        // One after the other, and all at once.
        assert_eq!(client.ask(get("/")).status(), 401);
        assert_eq!(client.ask(get_with("/", &good)).status(), 200);
        client.send([get("/1"), get_with("/2", &good), get("/3"), get_with("/4", &good)].concat());
        for want in [401, 200, 401, 200] {
            assert_eq!(client.response().status(), want);
        }
        // Content that has come as a whole is skipped.
        let smuggled = get_with("/smuggled", &good);
        let length = format!("Content-Length: {}\r\n", smuggled.len());
        let with_content = format!("POST / HTTP/1.1\r\nHost: a\r\n{length}\r\n{smuggled}");
        client.send(with_content + &get_with("/5", &good));
        assert_eq!(client.response().status(), 401);
        let response = client.response();
        assert_eq!((response.status(), response.text().contains("/5")), (200, true), "{}", response.text());
        // HEAD has no content.
        client.send(format!("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n{}", get_with("/6", &good)));
        let response = client.response_to("HEAD");
        assert_eq!((response.status(), response.body()), (401, &b""[..]));
        assert_eq!(client.response().status(), 200);
        // Who waits to be asked for content is told without it, as is one whose content is still to come.
        for fields in ["Content-Length: 5\r\nExpect: 100-continue\r\n", "Content-Length: 5000\r\n"] {
            let mut client = proxy.client();
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
            let response = client.response();
            assert_eq!(response.status(), 401, "{fields}");
            assert!(response.says_close(), "{fields}");
            assert_eq!(client.expect_end(), End::Closed, "{fields}");
        }
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{}\r\n",
            basic("ann", "x")
        ));
        client.send(chunk(b"abc"));
        assert_eq!(client.response().status(), 401);
        assert!(origin.requests().iter().all(|request| request.target() != "/smuggled"));
    });
}

#[test]
fn the_upstream_is_told_who_it_is_by_us_alone() {
    on_each_driver(|driver| {
        let (origin, users) = (Origin::echo(), users());
        let text = wanting(&origin, &users, "user-header = 'X-User'", "path-prefix = '/in'")
            + "[[route]]\nupstream = 'app'\npath-prefix = '/open'\nauth = false\n";
        let text =
            text.replace("[upstream", "[listener.web]\naddress = '127.0.0.1:0'\nauth = 'staff'\n[upstream");
        let proxy = Setup::new(driver).listening_file(&text).start();
        let forged = "X-User: root\r\nx-user: admin\r\nX_User: root\r\nX_USER: root\r\n";
        for fields in [forged.to_owned(), format!("{forged}Connection: X-User\r\n")] {
            assert_eq!(proxy.ask(get_with("/in", &fields)).status(), 401);
            assert_eq!(proxy.ask(get_with("/in", &(basic("ann", "sesame") + &fields))).status(), 200);
            let all = origin.requests().pop().unwrap().head.fields.lines().join("\n").to_lowercase();
            assert_eq!(all.matches("user").count(), 1, "{all}");
            assert!(all.contains("x-user: ann"), "{all}");
            // Where anybody is served nobody is somebody.
            assert_eq!(proxy.ask(get_with("/open", &fields)).status(), 200);
            let all = origin.requests().pop().unwrap().head.fields.lines().join("\n").to_lowercase();
            assert!(!all.contains("user"), "{all}");
        }
        // Nor can it be said behind the content.
        let mut client = proxy.client();
        client.send(format!(
            "POST /in HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n{}\r\n",
            basic("ann", "sesame")
        ));
        client.send([&chunk(b"x")[..], b"0\r\nX-User: root\r\nx_user: root\r\nX-Kept: 1\r\n\r\n"].concat());
        assert_eq!(client.response().status(), 200);
        let trailers = origin.requests().pop().unwrap().content.trailers;
        assert!(!trailers.has("X-User") && !trailers.has("X_User"), "{trailers:?}");
        // Where no route takes the request, its listener wants to know who asks all the same.
        assert_eq!(proxy.get("/elsewhere").status(), 401);
        assert_eq!(proxy.ask(get_with("/elsewhere", &basic("ann", "sesame"))).status(), 404);
    });
}

#[test]
fn credentials_are_passed_on_where_that_is_wanted() {
    on_each_driver(|driver| {
        let (origin, users) = (Origin::echo(), users());
        let proxy = start(driver, &wanting(&origin, &users, "pass-credentials = true", ""));
        assert_eq!(proxy.ask(get_with("/", &basic("ann", "sesame"))).status(), 200);
        let sent = format!("Basic {}", STANDARD.encode("ann:sesame"));
        assert_eq!(origin.requests().pop().unwrap().field("Authorization"), Some(&*sent));
    });
}

#[test]
fn nobody_gets_from_the_cache_what_was_made_for_another() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| fresh_with("", request.field("X-User").unwrap_or("nobody")));
        let users = users();
        let text = wanting(&origin, &users, "user-header = 'X-User'", "path-prefix = '/in'")
            + "[[route]]\nupstream = 'app'\npath-prefix = '/'\n";
        let proxy = start(driver, &text);
        let ask = |name, password| proxy.ask(get_with("/in/a", &basic(name, password)));
        ask("ann", "sesame").expect(200, "ann", "MISS");
        ask("ann", "sesame").expect(200, "ann", "HIT");
        ask("bob", "tiger").expect(200, "bob", "MISS");
        ask("bob", "tiger").expect(200, "bob", "HIT");
        ask("ann", "sesame").expect(200, "ann", "HIT");
        assert_eq!(ask("ann", "tiger").status(), 401);
        assert_eq!(proxy.get("/in/a").status(), 401);
        assert_eq!(proxy.ask(get_with("/in/a", "Cache-Control: only-if-cached\r\n")).status(), 401);
        assert_eq!(proxy.ask(get_with("/in/a", "X-User: ann\r\n")).status(), 401);
        assert_eq!(origin.requests().len(), 2);
    });
}

#[test]
fn what_is_stored_behind_a_password_is_only_for_those_who_have_one() {
    on_each_driver(|driver| {
        let (origin, users) = (Origin::answering(fresh_with("", "page")), users());
        let proxy = start(driver, &wanting(&origin, &users, "", ""));
        // The upstream does not see who asks: what it says is for all who may ask.
        proxy.ask(get_with("/a", &basic("ann", "sesame"))).expect(200, "page", "MISS");
        proxy.ask(get_with("/a", &basic("bob", "tiger"))).expect(200, "page", "HIT");
        assert_eq!(proxy.get("/a").status(), 401);
        // Where it does, it has to say so itself (RFC 9111, section 3.5).
        let proxy = start(driver, &wanting(&origin, &users, "pass-credentials = true", ""));
        for (name, password) in [("ann", "sesame"), ("bob", "tiger"), ("ann", "sesame")] {
            assert_ne!(proxy.ask(get_with("/a", &basic(name, password))).x_cache(), "HIT", "{name}");
        }
    });
}

#[test]
fn a_stale_response_is_validated_in_the_name_of_its_user() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            let user = request.field("X-User").unwrap_or("nobody").to_owned();
            format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=0, stale-while-revalidate=60\r\nContent-Length: {}\r\n\r\n{user}",
                user.len()
            )
            .into_bytes()
        });
        let users = users();
        let proxy = start(driver, &wanting(&origin, &users, "user-header = 'X-User'", ""));
        for _ in 0..5 {
            let fields = basic("ann", "sesame") + "X-User: root\r\nX_User: root\r\n";
            assert_eq!(proxy.ask(get_with("/a", &fields)).text(), "ann");
            thread::sleep(crate::support::ms(20));
        }
        for request in origin.requests() {
            let all = request.head.fields.lines().join("\n").to_lowercase();
            assert!(!all.contains("root") && !all.contains("authorization"), "{all}");
            assert_eq!(request.field("X-User"), Some("ann"));
        }
    });
}

#[test]
fn a_password_that_was_changed_is_not_remembered() {
    on_each_driver(|driver| {
        let (origin, users) = (Origin::echo(), users());
        let text = wanting(&origin, &users, "remember = '1h'", "");
        let proxy = Live::start(driver, 2, &text);
        let ask = |name, password| proxy.ask(get_with("/", &basic(name, password))).status();
        for _ in 0..4 {
            assert_eq!((ask("ann", "sesame"), ask("ann", "new"), ask("eve", "x")), (200, 401, 401));
        }
        users.write("users", format!("ann:{}\neve:{}\n", hash("new"), hash("x")));
        proxy.apply(&text);
        for _ in 0..4 {
            assert_eq!((ask("ann", "sesame"), ask("ann", "new")), (401, 200));
            assert_eq!((ask("bob", "tiger"), ask("eve", "x")), (401, 200));
        }
        // What is wrong changes nothing.
        users.write("users", "ann:secret\n");
        let run = proxy.reload();
        assert_ne!(run.code, Some(0));
        assert!(run.stderr.contains("users") && !run.stderr.contains("secret\n"), "{}", run.stderr);
        assert_eq!(ask("ann", "new"), 200);
    });
}

#[test]
fn a_flood_of_wrong_passwords_keeps_nobody_from_going_on() {
    on_each_driver(|driver| {
        let (origin, users) = (Origin::echo(), users());
        // So costly that the flood cannot be worked off.
        let dear =
            bcrypt::hash_with_salt("slow", 9, [1; 16]).unwrap().format_for_version(bcrypt::Version::TwoB);
        let text = std::fs::read_to_string(users.at("users")).unwrap();
        users.write("users", format!("{text}cat:{dear}\n"));
        let proxy = start(driver, &wanting(&origin, &users, "remember = '1h'", ""));
        assert_eq!(proxy.ask(get_with("/", &basic("ann", "sesame"))).status(), 200);
        thread::scope(|scope| {
            for thread in 0..12 {
                let proxy = &proxy;
                scope.spawn(move || {
                    for number in 0..5 {
                        let response = proxy.ask(get_with("/", &basic("cat", &format!("{thread}-{number}"))));
                        match response.status() {
                            401 => {}
                            503 => assert_eq!(response.field("Retry-After"), Some("1")),
                            other => panic!("{other}"),
                        }
                    }
                });
            }
            for _ in 0..20 {
                assert_eq!(proxy.ask(get_with("/", &basic("ann", "sesame"))).status(), 200);
            }
        });
        // What nobody waits for any more counts for whoever guesses until it is done.
        let over = || proxy.ask(get_with("/", &basic("ann", "over"))).status() == 401;
        eventually("the flood is over", over);
        // One wrong password many times is held against a hash once.
        let hashed = || status(&proxy)["requests"]["passwords_hashed"].as_u64().unwrap();
        let before = hashed();
        for _ in 0..20 {
            assert_eq!(proxy.ask(get_with("/", &basic("ann", "again"))).status(), 401);
        }
        // Twice on a machine that is so slow that it is forgotten meanwhile.
        assert!((1..=2).contains(&(hashed() - before)), "{} {before}", hashed());
    });
}

#[test]
fn one_of_several_ways_will_do() {
    on_each_driver(|driver| {
        let (origin, users) = (Origin::echo(), users());
        let token = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        let text = wanting(&origin, &users, "", "")
            .replace("auth = 'staff'", "auth = ['staff', 'api']")
            .replace("[[route]]", &format!("[auth.api]\nbearer = '{token} the build'\n[[route]]"));
        let proxy = start(driver, &text);
        assert_eq!(proxy.ask(get_with("/", &basic("ann", "sesame"))).status(), 200);
        assert_eq!(proxy.ask(get_with("/", "Authorization: Bearer foo\r\n")).status(), 200);
        proxy.logged(&["127.0.0.1 - the\\x20build ["]);
        let response = proxy.get("/");
        let all = response.fields().all("WWW-Authenticate");
        assert_eq!(all, ["Basic realm=\"the \\\"staff\\\"\", charset=\"UTF-8\"", "Bearer realm=\"api\""]);
    });
}

#[test]
fn mirrors_are_told_no_more_than_the_upstream() {
    on_each_driver(|driver| {
        let (origin, copies, users) = (Origin::echo(), Origin::echo(), users());
        let text = wanting(&origin, &users, "user-header = 'X-User'", "mirror = 'copies'");
        let proxy = start(driver, &(upstream("copies", &copies) + &text));
        let fields = basic("ann", "sesame") + "X-User: root\r\nX_User: root\r\n";
        assert_eq!(proxy.ask(get_with("/", &fields)).status(), 200);
        assert_eq!(proxy.ask(get_with("/", &basic("ann", "x"))).status(), 401);
        eventually("the copy comes", || !copies.requests().is_empty());
        let all = copies.request().head.fields.lines().join("\n").to_lowercase();
        assert!(
            all.contains("x-user: ann") && !all.contains("root") && !all.contains("authorization"),
            "{all}"
        );
        assert_eq!(copies.requests().len(), 1);
    });
}

#[test]
fn explaining_asks_nobody_and_says_what_is_wanted() {
    on_each_driver(|driver| {
        let (origin, users) = (Origin::echo(), users());
        let proxy = start(driver, &wanting(&origin, &users, "user-header = 'X-User'", ""));
        let explain = |fields: &[&str]| {
            let fields = fields.iter().flat_map(|field| ["--header", field]).collect::<Vec<_>>();
            let run = proxy.order(&[&["explain", "--live", "http://a/x"][..], &fields].concat());
            assert_eq!(run.code, Some(0), "{}", run.stderr);
            run.stdout
        };
        let said = explain(&[]);
        assert!(
            said.contains("wants a name and a password (staff)") && said.contains("unauthenticated"),
            "{said}"
        );
        let sent = format!("Authorization: Basic {}", STANDARD.encode("ann:wrong"));
        let said = explain(&[&sent, "X-User: root"]);
        assert!(
            said.contains("are held against the file of staff") && !said.contains("unauthenticated"),
            "{said}"
        );
        let said = explain(&["Authorization: Basic x:y"]);
        assert!(said.contains("no credentials are given that could do"), "{said}");
        assert!(origin.requests().is_empty());
    });
}

#[test]
fn a_page_of_answers_is_one_answer() {
    // Many at once with the same password, on several cores.
    on_each_driver(|driver| {
        let (origin, users) = (Origin::answering(ok("x")), users());
        let text = wanting(&origin, &users, "", "");
        let proxy = Setup::new(driver).cores(2).file(&text).start();
        thread::scope(|scope| {
            for _ in 0..12 {
                let proxy = &proxy;
                scope.spawn(move || {
                    let mut client = proxy.client();
                    for _ in 0..10 {
                        assert_eq!(client.ask(get_with("/", &basic("bob", "tiger"))).status(), 200);
                    }
                });
            }
        });
    });
}
