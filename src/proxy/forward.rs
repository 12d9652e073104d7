//! One direction of a connection, with its time limit.

use std::io::{self, IoSlice};

use crate::net::{Buffer, Sink, Source, Ticks, Watch};

/// How a direction of a connection came to its end before it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The peer closed it.
    Closed,
    /// It failed.
    Reset,
    /// Its time limit passed.
    TimedOut,
}

/// The direction that is read.
pub(super) struct Reader<'a> {
    pub(super) source: &'a mut Source,
    pub(super) watch: &'a Watch,
    /// How long one read may take; `None` leaves whatever deadline is set.
    pub(super) limit: Option<Ticks>,
}

impl Reader<'_> {
    /// Reads at least a byte. [`Broken::Closed`] is the end of the stream.
    pub(super) async fn read(&mut self, buffer: Buffer) -> (Result<usize, Broken>, Buffer) {
        if let Some(limit) = self.limit {
            self.watch.read_within(limit);
        }
        let (result, buffer) = self.source.read(buffer).await;
        self.watch.clear_read();
        (self.judge(result), buffer)
    }

    /// What the outcome of a read means.
    pub(super) fn judge(&self, result: io::Result<usize>) -> Result<usize, Broken> {
        match result {
            Ok(count) if count > 0 => Ok(count),
            _ if self.watch.read_expired() => Err(Broken::TimedOut),
            Ok(_) => Err(Broken::Closed),
            Err(_) => Err(Broken::Reset),
        }
    }
}

/// The direction that is written.
pub(super) struct Writer<'a> {
    pub(super) sink: &'a mut Sink,
    pub(super) watch: &'a Watch,
    /// How long one write may take to get any further.
    pub(super) limit: Ticks,
}

impl Writer<'_> {
    /// Writes all of the buffer, and gives it back empty.
    pub(super) async fn write_all(&mut self, buffer: Buffer) -> Result<Buffer, Broken> {
        self.write_counted(buffer).await.map_err(|(broken, _)| broken)
    }

    /// Writes all of the pieces, in order.
    pub(super) async fn write_slices(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<(), Broken> {
        loop {
            match self.sink.write_slices_now(slices) {
                Ok(count) => IoSlice::advance_slices(&mut slices, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) if self.watch.write_expired() => return Err(Broken::TimedOut),
                Err(_) => return Err(Broken::Reset),
            }
            if slices.is_empty() {
                return Ok(());
            }
            self.watch.write_within(self.limit);
            let ready = self.sink.ready().await;
            self.watch.clear_write();
            if ready.is_err() {
                return Err(if self.watch.write_expired() { Broken::TimedOut } else { Broken::Reset });
            }
        }
    }

    /// The same; a failure says how many bytes were left.
    pub(super) async fn write_counted(&mut self, mut buffer: Buffer) -> Result<Buffer, (Broken, usize)> {
        match self.sink.write_now(buffer.bytes()) {
            Ok(count) => buffer.consume(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err((Broken::Reset, buffer.len())),
        }
        if buffer.is_empty() {
            return Ok(buffer);
        }
        while !buffer.is_empty() {
            self.watch.write_within(self.limit);
            let (result, back) = self.sink.write(buffer).await;
            self.watch.clear_write();
            buffer = back;
            match result {
                Ok(count) if count > 0 => buffer.consume(count),
                _ if self.watch.write_expired() => return Err((Broken::TimedOut, buffer.len())),
                _ => return Err((Broken::Reset, buffer.len())),
            }
        }
        Ok(buffer)
    }
}
