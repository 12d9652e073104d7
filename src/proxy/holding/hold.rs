//! Content of a request that is held until it is whole, before an upstream is bothered.

use crate::error::Reason;
use crate::h1::BodyLength;
use crate::limits::REPLAY_BYTES_MAX;
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::answer::refusal::RETRY_AFTER;
use crate::proxy::client::connection::Client;
use crate::proxy::core::Core;
use crate::proxy::forward::{Broken, Reader, Writer};
use crate::proxy::holding::held::{Counted, Held};
use crate::proxy::record::Received;
use crate::proxy::request::admit::Admitted;
use crate::proxy::task;

/// What a client is told that waits to be asked for its content (RFC 9110, section 10.1.1).
const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// After so many bytes everything else gets a turn.
const AT_ONCE_BYTES: usize = 1 << 20;

/// Whether content of the request has to be held: what has not all come yet, and what is chunked, for its length can be
/// told then. What becomes a tunnel, or asks no upstream, never is.
pub(in crate::proxy) fn is_wanted(received: &Received, admitted: &Admitted) -> bool {
    (!admitted.whole || admitted.body == BodyLength::Chunked)
        && admitted.upgrade.is_none()
        && received.terms.upstream().is_some()
        && received.terms.hold_request().is_some()
}

/// Holds the rest of the content: from here on all of it is at hand, and is sent as if it had come with the head, as
/// often as it has to be.
///
/// # Errors
/// It does not come, there is too much of it, or it cannot be kept.
pub(in crate::proxy) async fn hold(
    core: &Core,
    client: &mut Client,
    received: &mut Received,
    admitted: &mut Admitted,
) -> Result<(), Reason> {
    let held = hold_all(core, client, received, admitted).await;
    if matches!(held, Err(Reason::StorageFailed | Reason::StorageFull)) {
        received.terms.make(core).texts.refusal_lines.extend_from_slice(RETRY_AFTER);
    }
    held
}

async fn hold_all(
    core: &Core,
    client: &mut Client,
    received: &Received,
    admitted: &mut Admitted,
) -> Result<(), Reason> {
    let Some(rules) = received.terms.hold_request() else { return Ok(()) };
    let first = admitted.first.len();
    if admitted.whole {
        // It came with its head, or was gathered.
        admitted.body = admitted.upload.tell_length(first);
        return Ok(());
    }
    let most = rules.settings.bytes_max();
    if admitted.upload.remaining().is_some_and(|remaining| remaining > most) {
        return Err(Reason::BodyTooLarge);
    }
    let mut held = Box::new(Held::new(rules, core.memory()));
    // What was gathered, and was too much to be looked at.
    held.add(&admitted.upload.take_gathered()).await?;
    ask(core, client, received, admitted).await?;
    let (mut last, mut at_once) = (0, 0);
    while !admitted.upload.is_done() {
        let window = receive(core, client, received, admitted, &mut last).await?;
        held.add(window.bytes()).await?;
        at_once += last;
        if at_once >= AT_ONCE_BYTES {
            at_once = 0;
            task::give_way().await;
        }
    }
    core.counters.requests_held.increment();
    core.counters.requests_held_in_files.add(u64::from(held.in_file() > 0));
    core.counters.requests_held_bytes.add(held.length());
    admitted.whole = admitted.upload.take_held(held, first);
    admitted.body = admitted.upload.tell_length(first);
    Ok(())
}

/// Gathers the rest of the content in memory, to be looked at before anything is sent; it goes on from there. What came
/// with the head lies in [`Admitted::first`], what is gathered in [`crate::proxy::request::upload::Upload::kept`]; together they are
/// not much longer than [`REPLAY_BYTES_MAX`], for they go out in one buffer with the head. To be called before [`hold`].
///
/// Says whether there are no more than `bytes_max` bytes of it, all told. If there are, what was gathered goes out first,
/// and the rest comes behind it.
///
/// # Errors
/// It does not come.
pub(in crate::proxy) async fn gather(
    core: &Core,
    client: &mut Client,
    received: &Received,
    admitted: &mut Admitted,
    bytes_max: usize,
) -> Result<bool, Reason> {
    let bytes_max = usize::try_from(REPLAY_BYTES_MAX).unwrap_or(usize::MAX).min(bytes_max);
    let Some(left) = bytes_max.checked_sub(admitted.first.len()) else { return Ok(false) };
    if admitted.whole {
        return Ok(true);
    }
    if admitted.upload.remaining().is_some_and(|remaining| remaining > left as u64) {
        return Ok(false);
    }
    ask(core, client, received, admitted).await?;
    let mut counted = Counted::new(core.memory());
    let (mut gathered, mut last) = (Vec::new(), 0);
    while !admitted.upload.is_done() && gathered.len() <= left {
        if admitted.upload.remaining().is_none() && left - gathered.len() < Class::Medium.room() {
            // The piece that is too much goes out with all the others, so that it must not be large.
            last = 0;
        }
        let window = receive(core, client, received, admitted, &mut last).await?;
        gathered.extend_from_slice(window.bytes());
        counted.grow_to(gathered.capacity());
    }
    let fits = gathered.len() <= left;
    admitted.whole = admitted.upload.is_done();
    admitted.upload.hold(gathered, counted);
    Ok(fits)
}

/// Asks the client for its content, if it waits for that; nobody else has to any more.
async fn ask(
    core: &Core,
    client: &mut Client,
    received: &Received,
    admitted: &mut Admitted,
) -> Result<(), Reason> {
    if !std::mem::take(&mut admitted.expects_continue) || !admitted.first.is_empty() {
        return Ok(());
    }
    let mut go_on = core.buffers.take(Class::Small);
    let fits = go_on.append(GO_ON);
    debug_assert!(fits, "a line fits into a buffer");
    let Client { socket, watch, .. } = client;
    let limit = received.terms.times.write_idle;
    let written = Writer { sink: &mut socket.sink, watch, limit, pace: None }.write_all(go_on).await;
    written.map(drop).map_err(Broken::of_response)
}

/// Receives the next piece of content. Whoever waits for it holds no buffer, and gets one for about as much as came
/// `last`.
async fn receive(
    core: &Core,
    client: &mut Client,
    received: &Received,
    admitted: &mut Admitted,
    last: &mut usize,
) -> Result<Buffer, Reason> {
    let Client { socket, watch, .. } = client;
    let limit = Some(received.terms.times.body_idle);
    let mut reader = Reader { source: &mut socket.source, watch, limit };
    let class = Class::fitting(last.saturating_mul(2).min(Class::Medium.room()));
    let (result, mut window) = reader.read_late(|| core.buffers.take(class)).await;
    *last = result.map_err(Broken::of_content)?;
    let data = admitted.upload.take(core, &received.terms, window.bytes_mut())?;
    window.narrow(data);
    Ok(window)
}
