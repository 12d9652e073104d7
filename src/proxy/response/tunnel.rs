//! Two connections that pass everything on to each other, after a switch of protocols.

use crate::error::Reason;
use crate::net::buffer::Class;
use crate::net::{Buffer, Sink, Socket, Source, Ticks, Watch};
use crate::proxy::core::Core;
use crate::proxy::forward::{Broken, Reader, Writer};
use crate::proxy::response::window::next_window;

/// Passes bytes both ways until both have ended, one fails, or nothing moves for too long. Returns
/// how many went to the client.
pub(in crate::proxy) async fn run(
    core: &Core,
    client: (&mut Socket, &Watch),
    upstream: (&mut Socket, &Watch),
    from_client: Option<Buffer>,
    from_upstream: Buffer,
    idle: Ticks,
) -> (Reason, u64) {
    let ((client, client_watch), (upstream, upstream_watch)) = (client, upstream);
    let touch = || {
        // Either side's deadline ends the tunnel; a byte in either direction puts both off.
        client_watch.read_within(idle);
        upstream_watch.read_within(idle);
    };
    touch();
    let there = pump(
        core,
        (&mut client.source, client_watch),
        (&mut upstream.sink, upstream_watch),
        from_client.unwrap_or_else(|| core.buffers.take(Class::Small)),
        idle,
        touch,
    );
    let back = pump(
        core,
        (&mut upstream.source, upstream_watch),
        (&mut client.sink, client_watch),
        from_upstream,
        idle,
        touch,
    );
    let ((there, _), (back, bytes)) = both(there, back).await;
    let timed_out = [there, back].contains(&Broken::TimedOut);
    (if timed_out { Reason::TunnelIdle } else { Reason::Done }, bytes)
}

/// Passes bytes one way until the source ends, and then says so to the sink.
async fn pump(
    core: &Core,
    (source, source_watch): (&mut Source, &Watch),
    (sink, sink_watch): (&mut Sink, &Watch),
    mut window: Buffer,
    idle: Ticks,
    touch: impl Fn(),
) -> (Broken, u64) {
    let mut bytes = 0;
    let mut reader = Reader { source, watch: source_watch, limit: None };
    let mut writer = Writer { sink, watch: sink_watch, limit: idle, pace: None };
    let broken = loop {
        let count = window.len();
        bytes += count as u64;
        window = match writer.write_all(window).await {
            Ok(window) => window,
            Err(broken) => break broken,
        };
        touch();
        window = next_window(&core.buffers, window, count, None);
        let (result, back) = reader.read(window).await;
        window = back;
        if let Err(broken) = result {
            break broken;
        }
    };
    match broken {
        Broken::Closed => writer.sink.end(),
        // The other direction has no more use either.
        Broken::Reset | Broken::TimedOut | Broken::TooSlow => writer.sink.end_both(),
    }
    (broken, bytes)
}

/// Awaits two futures at once.
async fn both<A: Future, B: Future>(one: A, two: B) -> (A::Output, B::Output) {
    let (mut one, mut two) = (std::pin::pin!(one), std::pin::pin!(two));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|cx| {
        use std::task::Poll;
        if first.is_none()
            && let Poll::Ready(output) = one.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = two.as_mut().poll(cx)
        {
            second = Some(output);
        }
        match (first.take(), second.take()) {
            (Some(one), Some(two)) => Poll::Ready((one, two)),
            (one, two) => {
                (first, second) = (one, two);
                Poll::Pending
            }
        }
    })
    .await
}
