//! One direction of a connection, with its time limit.

use std::io::{self, IoSlice};

use super::pace::Pace;
use crate::error::Reason;
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
    /// It went on, but more slowly than it has to.
    TooSlow,
}

impl Broken {
    /// What it is called where a client sends content.
    pub(super) const fn of_content(self) -> Reason {
        match self {
            Broken::TimedOut => Reason::BodyTimeout,
            Broken::TooSlow => Reason::BodyTooSlow,
            Broken::Closed | Broken::Reset => Reason::ClientClosed,
        }
    }

    /// What it is called where a client reads a response.
    pub(super) const fn of_response(self) -> Reason {
        match self {
            Broken::TimedOut => Reason::ClientStalled,
            Broken::TooSlow => Reason::ClientTooSlow,
            Broken::Closed | Broken::Reset => Reason::ClientClosed,
        }
    }
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
            self.watch.begin_read(limit);
        }
        let (result, buffer) = self.source.read(buffer).await;
        match self.limit {
            Some(_) => self.watch.end_read(*result.as_ref().unwrap_or(&0)),
            None => self.watch.clear_read(),
        }
        (self.judge(result), buffer)
    }

    /// The same, with a buffer that is only taken once there is something to read: for those who wait long.
    pub(super) async fn read_late(
        &mut self,
        buffer: impl FnOnce() -> Buffer,
    ) -> (Result<usize, Broken>, Buffer) {
        if let Some(limit) = self.limit {
            self.watch.begin_read(limit);
        }
        let (result, buffer) = self.source.read_when_ready(buffer).await;
        match self.limit {
            Some(_) => self.watch.end_read(*result.as_ref().unwrap_or(&0)),
            None => self.watch.clear_read(),
        }
        (self.judge(result), buffer)
    }

    /// Reads what is there already; none if nothing is.
    pub(super) fn read_now(&mut self, buffer: &mut Buffer) -> Option<Result<usize, Broken>> {
        if let Some(limit) = self.limit {
            self.watch.begin_read(limit);
        }
        let result = self.source.read_now(buffer);
        if self.limit.is_some() {
            self.watch.end_read(*result.as_ref().unwrap_or(&0));
        }
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(self.judge(result)),
        }
    }

    /// What the outcome of a read means.
    pub(super) fn judge(&self, result: io::Result<usize>) -> Result<usize, Broken> {
        match result {
            Ok(count) if count > 0 => Ok(count),
            _ if self.watch.read_expired() && self.watch.read_too_slowly() => Err(Broken::TooSlow),
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
    /// How fast it may be written, if that is bounded.
    pub(super) pace: Option<&'a Pace>,
}

impl Writer<'_> {
    /// Writes all of the buffer, and gives it back empty.
    pub(super) async fn write_all(&mut self, buffer: Buffer) -> Result<Buffer, Broken> {
        self.write_counted(buffer).await.map_err(|(broken, _)| broken)
    }

    /// Writes all of the pieces, in order.
    pub(super) async fn write_slices(&mut self, slices: &mut [IoSlice<'_>]) -> Result<(), Broken> {
        match self.pace {
            // Few are: kept apart, what that needs does not make every task larger.
            Some(pacing) if !pacing.is_free(slices.iter().map(|slice| slice.len()).sum()) => {
                Box::pin(self.write_paced(slices, pacing)).await
            }
            _ => self.write_now(slices).await,
        }
    }

    /// The same, piece by piece.
    async fn write_paced(&mut self, mut slices: &mut [IoSlice<'_>], pacing: &Pace) -> Result<(), Broken> {
        loop {
            let whole: usize = slices.iter().map(|slice| slice.len()).sum();
            if whole == 0 {
                return Ok(());
            }
            let mut left = pacing.turn(whole).await;
            while left > 0
                && let Some(slice) = slices.first()
            {
                let count = left.min(slice.len());
                self.write_now(&mut [IoSlice::new(&slice[..count])]).await?;
                IoSlice::advance_slices(&mut slices, count);
                left -= count;
            }
        }
    }

    /// The same of a buffer.
    async fn write_buffer_paced(
        &mut self,
        mut buffer: Buffer,
        pacing: &Pace,
    ) -> Result<Buffer, (Broken, usize)> {
        while !buffer.is_empty() {
            let count = pacing.turn(buffer.len()).await;
            let mut piece = [IoSlice::new(&buffer.bytes()[..count])];
            self.write_now(&mut piece).await.map_err(|broken| (broken, buffer.len()))?;
            buffer.consume(count);
        }
        Ok(buffer)
    }

    async fn write_now(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<(), Broken> {
        loop {
            match self.sink.write_slices_now(slices) {
                Ok(count) => {
                    self.watch.wrote(count);
                    IoSlice::advance_slices(&mut slices, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(self.broken()),
            }
            if slices.is_empty() {
                return Ok(());
            }
            self.watch.begin_write(self.limit);
            let ready = self.sink.ready().await;
            self.watch.end_write();
            if ready.is_err() {
                return Err(self.broken());
            }
        }
    }

    /// What a write is that failed.
    pub(super) fn broken(&self) -> Broken {
        match self.watch.write_expired() {
            false => Broken::Reset,
            true if self.watch.wrote_too_slowly() => Broken::TooSlow,
            true => Broken::TimedOut,
        }
    }

    /// The same; a failure says how many bytes were left.
    pub(super) async fn write_counted(&mut self, mut buffer: Buffer) -> Result<Buffer, (Broken, usize)> {
        if let Some(pacing) = self.pace.filter(|pacing| !pacing.is_free(buffer.len())) {
            return Box::pin(self.write_buffer_paced(buffer, pacing)).await;
        }
        match self.sink.write_now(buffer.bytes()) {
            Ok(count) => {
                self.watch.wrote(count);
                buffer.consume(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err((Broken::Reset, buffer.len())),
        }
        if buffer.is_empty() {
            return Ok(buffer);
        }
        while !buffer.is_empty() {
            self.watch.begin_write(self.limit);
            let (result, back) = self.sink.write(buffer).await;
            self.watch.end_write();
            buffer = back;
            match result {
                Ok(count) if count > 0 => {
                    self.watch.wrote(count);
                    buffer.consume(count);
                }
                _ => return Err((self.broken(), buffer.len())),
            }
        }
        Ok(buffer)
    }
}
