//! Random settings of what is held: all that a file can make.

use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::config::holding::{Choice, HoldRequest, HoldResponse, Holding};

/// What a listener or a route can say.
pub(super) fn holding() -> impl Strategy<Value = Holding> {
    (choice(request()), choice(response())).prop_map(|(request, response)| Holding { request, response })
}

fn choice<T: Clone + std::fmt::Debug>(on: impl Strategy<Value = T>) -> impl Strategy<Value = Choice<T>> {
    prop_oneof![Just(Choice::Unsaid), Just(Choice::Off), on.prop_map(Choice::On)]
}

fn request() -> impl Strategy<Value = HoldRequest> {
    let directories = select(vec!["/var/tmp", "/srv/held ${up}"]);
    (4096usize..=64 << 20, of(any::<u64>()), directories, 64u64 << 20..).prop_map(
        |(memory_bytes_max, file_bytes_max, directory, total_bytes_max)| HoldRequest {
            memory_bytes_max,
            file_bytes_max,
            directory: if file_bytes_max.is_some() { directory } else { "/var/tmp" }.into(),
            total_bytes_max,
        },
    )
}

fn response() -> impl Strategy<Value = HoldResponse> {
    (256usize << 10..=256 << 20, 256u64 << 20..)
        .prop_map(|(memory_bytes_max, total_bytes_max)| HoldResponse { memory_bytes_max, total_bytes_max })
}
