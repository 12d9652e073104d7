//! Counters of one core: plain cells, read by message and added up by whoever asks.

use std::cell::Cell;

use crate::error::Reason;

/// Declares the counters once: the cells of a core, and the sums over all cores.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one core has counted.
        #[derive(Debug)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Count,)*
            ended: [Count; Reason::COUNT],
        }

        impl Default for Counters {
            fn default() -> Counters {
                Counters { $($name: Count::default(),)* ended: [const { Count(Cell::new(0)) }; Reason::COUNT] }
            }
        }

        /// What several cores have counted together.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)*
            ended: [u64; Reason::COUNT],
        }

        impl Default for Totals {
            fn default() -> Totals {
                Totals { $($name: 0,)* ended: [0; Reason::COUNT] }
            }
        }

        impl Totals {
            /// Adds what one core has counted.
            pub fn add(&mut self, core: &Counters) {
                $(self.$name += core.$name.get();)*
                for (sum, count) in self.ended.iter_mut().zip(&core.ended) {
                    *sum += count.get();
                }
            }

            /// Adds what others have counted together.
            pub fn merge(&mut self, other: &Totals) {
                $(self.$name += other.$name;)*
                for (sum, count) in self.ended.iter_mut().zip(&other.ended) {
                    *sum += count;
                }
            }
        }
    };
}

counters! {
    /// Connections that were accepted.
    accepted,
    /// Connections that were turned away, for the process had as many as it may.
    refused_by_process,
    /// The same for their listener.
    refused_by_listener,
    /// The same for their client.
    refused_by_client,
    /// Connections that were turned away, for too many came of late.
    refused_by_rate,
    /// The same from their client.
    refused_by_client_rate,
    /// Idle connections that were closed to make room.
    idle_closed,
    /// Times that accept failed, and was left alone for a moment.
    accept_errors,
    /// Connections that a panic ended.
    panics,
    /// Requests that were read, well-formed or not.
    requests,
    /// Connections to upstreams that were opened.
    connects,
    /// Requests that went out on an upstream connection that had been used before.
    reused,
    /// Requests that were sent again.
    retries,
    /// Requests that were not sent again, because too many had been of late.
    retries_denied,
    /// Requests that waited for room at an endpoint.
    queued,
    /// Requests that found too many waiting, or waited too long.
    queue_refused,
    /// Upstream connections that one core had to spare, and another took.
    taken_over,
    /// Connections that did not begin with the header of the PROXY protocol that they had to begin with.
    proxy_headers_refused,
    /// Requests that a stored response answered.
    cache_hits,
    /// Requests that the upstream was asked for, though the cache might have answered.
    cache_misses,
    /// Requests that a stale response answered.
    cache_stale,
    /// Requests that a stored response answered once the upstream had said that it is still good.
    cache_revalidated,
    /// Requests that the cache had nothing to do with.
    cache_bypassed,
    /// Responses that were compressed on their way to the client.
    compressed,
    /// Bytes of content that were compressed, on their way or to be kept.
    compressed_in,
    /// Bytes that came of that.
    compressed_out,
    /// Compressed forms of stored responses that were made to be kept.
    compressed_kept,
    /// Requests that were answered with such a form.
    compressed_hits,
    /// Responses that went out as they came, because there was no memory for one more stream of compressed content, or
    /// because as much stored content was being compressed already as may be at once.
    compression_skipped,
    /// Responses that were taken apart for clients that do not take their coding.
    decompressed,
    /// Requests that a mirror got a copy of.
    mirrored,
    /// Requests that a mirror was to get a copy of, and did not: it has too many already, or their content had not
    /// come as a whole.
    mirror_skipped,
    /// Passwords that were held against their hashes.
    passwords_hashed,
    /// Requests to services that say whether a request is served.
    services_asked,
    /// Forms that rules would have looked at, had they been readable and not too large; none of these rules does more
    /// than say what it would do.
    forms_unread,
    /// Requests whose content was held until it was whole.
    requests_held,
    /// Those of them of which some lay in a file.
    requests_held_in_files,
    /// Bytes of content of requests that were held.
    requests_held_bytes,
    /// Responses that were taken from their upstreams ahead of their clients, so that the upstream was free before.
    responses_held,
    /// Idle connections that gave up their buffer and task.
    parked,
    /// Lines of the access log that were dropped, because whoever reads them was too slow.
    log_lines_dropped,
}

/// A count that only its own core changes.
#[derive(Debug, Default)]
pub struct Count(Cell<u64>);

impl Count {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.set(self.0.get().wrapping_add(count));
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

impl Counters {
    /// Counts an exchange by why it ended.
    pub fn ended(&self, reason: Reason) {
        self.ended[reason.index()].increment();
    }
}

impl Totals {
    /// How many exchanges ended for that reason.
    pub fn ended(&self, reason: Reason) -> u64 {
        self.ended[reason.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_sum_of_the_cores() {
        let (one, two) = (Counters::default(), Counters::default());
        one.requests.increment();
        two.requests.add(2);
        two.ended(Reason::Loop);
        let mut totals = Totals::default();
        totals.add(&one);
        totals.add(&two);
        let mut twice = totals.clone();
        twice.merge(&totals);
        assert_eq!((twice.requests, twice.ended(Reason::Loop), twice.ended(Reason::Done)), (6, 2, 0));
    }
}
