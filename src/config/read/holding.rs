//! What is held until it is whole.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::Known;
use super::said::Either;
use super::said_holding::{HoldRequestTable, HoldResponseTable, HoldingSaid};
use crate::config::holding::{Choice, HoldRequest, HoldResponse, Holding};
use crate::config::problem::{Problem, quoted};
use crate::config::quantity::{OrOff, Size};
use crate::config::source::Place;
use crate::config::table::{At, Said};
use crate::limits::KIB;

/// Bytes of a request that may lie in memory.
const REQUEST_MEMORY: RangeInclusive<u64> = 4 * KIB as u64..=64 << 20;

/// Bytes of a response that may wait.
const RESPONSE_MEMORY: RangeInclusive<u64> = 256 * KIB as u64..=256 << 20;

impl Known<'_, '_> {
    /// What a listener or a route says about it.
    pub(super) fn holding(&self, said: &HoldingSaid) -> Holding {
        Holding {
            request: choice(&said.buffer_request, HoldRequest::default, |table| self.hold_request(table)),
            response: choice(&said.buffer_response, HoldResponse::default, |table| self.hold_response(table)),
        }
    }

    fn hold_request(&self, said: &HoldRequestTable) -> HoldRequest {
        let default = HoldRequest::default();
        let memory = self.bytes(&said.memory, REQUEST_MEMORY, "from 4KiB to 64MiB");
        let request = HoldRequest {
            memory_bytes_max: memory.unwrap_or(default.memory_bytes_max),
            file_bytes_max: match &said.file.value {
                None => default.file_bytes_max,
                Some(At { value: OrOff::Off, .. }) => None,
                Some(At { value: OrOff::On(size), .. }) => Some(size.0),
            },
            directory: self.directory(said).unwrap_or(default.directory),
            total_bytes_max: said.total.value.as_ref().map_or(default.total_bytes_max, |size| size.value.0),
        };
        self.check_total(said.total.value.as_ref(), request.memory_bytes_max);
        request
    }

    /// Where files are, if that is said and there are any.
    fn directory(&self, said: &HoldRequestTable) -> Option<PathBuf> {
        let At { place, value } = said.dir.value.as_ref()?;
        if !Path::new(value).is_absolute() {
            self.reader.error(*place, format!("{} is no absolute path", quoted(value)));
        }
        if matches!(said.file.value, Some(At { value: OrOff::Off, .. })) {
            let message = "there are no files, so that their directory has no effect";
            self.reader.add(Problem::warning(*place, message));
            return None;
        }
        if Path::new(value).is_absolute()
            && let Some(why) = takes_no_files(Path::new(value))
        {
            let message = format!("{} {why}: what needs a file there is refused with 503", quoted(value));
            self.reader.add(Problem::warning(*place, message));
        }
        Some(value.into())
    }

    fn hold_response(&self, said: &HoldResponseTable) -> HoldResponse {
        let default = HoldResponse::default();
        let memory = self.bytes(&said.memory, RESPONSE_MEMORY, "from 256KiB to 256MiB");
        let response = HoldResponse {
            memory_bytes_max: memory.unwrap_or(default.memory_bytes_max),
            total_bytes_max: said.total.value.as_ref().map_or(default.total_bytes_max, |size| size.value.0),
        };
        self.check_total(said.total.value.as_ref(), response.memory_bytes_max);
        response
    }

    /// A number of bytes within bounds.
    fn bytes(&self, said: &Said<At<Size>>, bounds: RangeInclusive<u64>, words: &str) -> Option<usize> {
        let size = said.value.as_ref()?;
        if !bounds.contains(&size.value.0) {
            self.reader.error(size.place, format!("must be {words}"));
            return None;
        }
        usize::try_from(size.value.0).ok()
    }

    /// What is for all must be enough for one.
    fn check_total(&self, said: Option<&At<Size>>, memory: usize) {
        if let Some(&At { place, value: Size(total) }) = said
            && total < memory as u64
        {
            self.too_little(place);
        }
    }

    fn too_little(&self, place: Place) {
        self.reader.error(place, "is less than what one may have in memory alone");
    }
}

/// What was said of something that can be on or off.
fn choice<A, T>(
    said: &Said<Either<bool, A>>,
    default: impl FnOnce() -> T,
    make: impl FnOnce(&A) -> T,
) -> Choice<T> {
    match &said.value {
        None => Choice::Unsaid,
        Some(Either::Short(false)) => Choice::Off,
        Some(Either::Short(true)) => Choice::On(default()),
        Some(Either::Long(table)) => Choice::On(make(table)),
    }
}

/// Why nobody can make a file without a name there, if so. Whoever runs the proxy may be somebody else than who asks.
fn takes_no_files(directory: &Path) -> Option<String> {
    if !directory.is_dir() {
        return Some("is no directory".to_owned());
    }
    let error = tempfile::tempfile_in(directory).err()?;
    Some(format!("takes no files ({})", error.kind()))
}
