//! What is held until it is whole: the keys of listeners and routes.

use super::said::Either;
use crate::config::quantity::{OrOff, Size};
use crate::config::table::{At, tables};

tables! {
    /// What is held until it is whole
    HoldingSaid = HOLDING "holding" {
        /// Whether content of a request is held until it is whole before an upstream is asked, and where: `true`, or a
        /// table [default: false]
        buffer_request: RequestChoice,
        /// Whether a response is taken from its upstream as fast as it comes, ahead of a client that takes it slowly, so
        /// that the upstream is free: `true`, or a table [default: false]
        buffer_response: ResponseChoice,
    }

    /// Where content of requests is held until it is whole
    HoldRequestTable = HOLD_REQUEST "request buffer" {
        /// How much of a request lies in memory, from 4KiB to 64MiB; what is beyond goes into a file [default: 64KiB]
        memory: At<Size>,
        /// How much of a request lies in a file, or `off` for none: what does not fit is refused with 413 [default: 1GiB]
        file: At<OrOff<Size>>,
        /// Directory of those files, which have no names and are gone with the request; an absolute path [default:
        /// /var/tmp]
        dir: At<String>,
        /// How much of all requests together, in memory and in files of the whole process; who comes then is refused with
        /// 503 [default: 4GiB]
        total: At<Size>,
    }

    /// How far responses are taken ahead of their clients
    HoldResponseTable = HOLD_RESPONSE "response buffer" {
        /// How much of a response waits in memory for its client, from 256KiB to 256MiB [default: 1MiB]
        memory: At<Size>,
        /// How much of all responses together, over the process; beyond that they pass as they are taken [default: 512MiB]
        total: At<Size>,
    }
}

/// Whether at all, or where.
pub(super) type RequestChoice = Either<bool, HoldRequestTable>;
/// Whether at all, or how far.
pub(super) type ResponseChoice = Either<bool, HoldResponseTable>;
