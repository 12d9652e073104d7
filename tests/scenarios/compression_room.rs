//! What is kept beside stored responses has bounds, within which the popular finds room.

use crate::support::cache::fresh_with;
use crate::support::coded::{coding_count, route, taking, words};
use crate::support::{Client, Driver, Origin, Proxy, Setup, get, on_each_driver};

/// So little that it is soon full.
const SMALL: &str = "cache-size = '8MiB'\n";

/// Replies with text, or with a picture, of the length at the end of the target.
fn of_any_size() -> Origin {
    Origin::replying(|request| {
        let target = request.target();
        let length = target.rsplit('/').next().and_then(|digits| digits.parse().ok()).unwrap_or(3000);
        let kind = if target.starts_with("/pictures/") { "image/png" } else { "text/html" };
        fresh_with(&format!("Content-Type: {kind}\r\n"), words(length))
    })
}

fn start(driver: Driver, origin: &Origin) -> Proxy {
    let text = format!("{SMALL}{}", route(origin, "compress = true"));
    Setup::new(driver).admin().file(&text).start()
}

/// Asks for a popular text, and says how often it came as it is kept.
fn kept_hits(proxy: &Proxy, client: &mut Client) -> u64 {
    let before = coding_count(proxy, "compressed_hits");
    for _ in 0..100 {
        assert_eq!(client.ask(taking("/popular/20000", "gzip")).coding(), "gzip");
    }
    coding_count(proxy, "compressed_hits") - before
}

#[test]
fn what_is_popular_is_kept_compressed_however_much_was_compressed_before() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let proxy = start(driver, &origin);
        let mut client = proxy.client();
        for number in 0..250 {
            for coding in ["gzip", "gzip", "br", "br", "zstd", "zstd"] {
                let response = client.ask(taking(&format!("/texts/{number}/20000"), coding));
                assert_eq!(response.coding(), coding);
            }
        }
        assert!(kept_hits(&proxy, &mut client) >= 90);
        // What is used all the time stays, whatever comes meanwhile.
        for number in 0..250 {
            client.ask(taking("/popular/20000", "gzip"));
            for _ in 0..2 {
                client.ask(taking(&format!("/others/{number}/20000"), "gzip"));
            }
        }
        let made = coding_count(&proxy, "compressed_kept");
        assert!(kept_hits(&proxy, &mut client) >= 99);
        assert_eq!(coding_count(&proxy, "compressed_kept"), made, "it was made again");
    });
}

#[test]
fn what_is_never_compressed_takes_no_room_from_what_is() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let proxy = start(driver, &origin);
        let mut client = proxy.client();
        for number in 0..3300 {
            for _ in 0..2 {
                assert_eq!(client.ask(get(&format!("/pictures/{number}/300"))).status(), 200);
            }
        }
        assert!(kept_hits(&proxy, &mut client) >= 90);
    });
}
