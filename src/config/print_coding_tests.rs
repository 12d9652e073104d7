use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::config::coding::{Coding, Compress, Compression, MediaPattern, UpstreamCoding};
use crate::http::coding::Coding as ContentCoding;

/// What a listener or a route may say of codings.
fn coding() -> impl Strategy<Value = Coding> {
    let compress = prop_oneof![
        Just(Compression::Unsaid),
        Just(Compression::Off),
        Just(Compression::On(Box::default())),
        compress().prop_map(|compress| Compression::On(Box::new(compress))),
    ];
    (compress, of(any::<bool>())).prop_map(|(compress, decompress)| Coding { compress, decompress })
}

fn compress() -> impl Strategy<Value = Compress> {
    let codings = subsequence(ContentCoding::ALL.to_vec(), 1..=3).prop_shuffle();
    let types = subsequence(vec!["text/*", "*/*", "*+json", "application/x-${a}", "image/bmp"], 1..=5);
    let upstream = select(vec![UpstreamCoding::Auto, UpstreamCoding::AsAsked, UpstreamCoding::Identity]);
    let levels = (1_u8..=9, 0_u8..=6, 1_u8..=6);
    (codings, types, 0_u64..1 << 40, levels, any::<u32>(), upstream).prop_map(
        |(codings, types, bytes_min, (gzip_level, brotli_level, zstd_level), harder_after, upstream)| {
            Compress {
                codings,
                types: types.into_iter().map(|text| MediaPattern(text.replace(['{', '}'], ""))).collect(),
                bytes_min,
                gzip_level,
                brotli_level,
                zstd_level,
                harder_after,
                upstream,
            }
        },
    )
}

const PLAIN: &str = "[listener.web]\naddress = '127.0.0.1:0'\n[upstream.app]\nendpoints = '127.0.0.1:1'\n\
    [[route]]\nupstream = 'app'\n";

proptest! {
    #[test]
    fn what_is_said_of_codings_is_read_back(listener in coding(), route in coding()) {
        let mut settings = super::read(PLAIN);
        settings.listeners[0].traffic.coding = listener;
        settings.routes[0].traffic.coding = route;
        let back = super::read(&super::print(&settings));
        prop_assert_eq!(back.listeners, settings.listeners);
        prop_assert_eq!(back.routes, settings.routes);
    }
}
