//! Which cores the workers are pinned to.

use core_affinity::CoreId;

use super::RunError;

/// The cores for so many workers: by default as many as this process may use, by its affinity mask
/// and the quota of its control group.
pub(super) fn choose(wanted: Option<usize>) -> Result<Vec<CoreId>, RunError> {
    let mut cores = core_affinity::get_core_ids()
        .filter(|cores| !cores.is_empty())
        .ok_or_else(|| RunError::Failed("cannot read which cores this process may run on".to_owned()))?;
    let allowed = cores.len();
    let count = match wanted {
        Some(count) if count > allowed => {
            return Err(RunError::Usage(format!(
                "--cores {count}: this process may run on {allowed}; use --cores {allowed} or fewer"
            )));
        }
        Some(count) => count,
        None => std::thread::available_parallelism().map_or(allowed, usize::from).min(allowed),
    };
    cores.truncate(count);
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_cores_than_there_are_is_wrong_usage() {
        let error = choose(Some(100_000)).unwrap_err();
        assert!(matches!(error, RunError::Usage(message) if message.contains("or fewer")));
    }

    #[test]
    fn one_core_is_always_to_be_had() {
        assert_eq!(choose(Some(1)).unwrap().len(), 1);
        assert!(!choose(None).unwrap().is_empty());
    }
}
