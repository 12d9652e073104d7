//! Which cores the workers are pinned to.

use core_affinity::CoreId;

use super::RunError;

/// So many workers may share a core. They gain nothing by it; it is for tests on small machines.
const WORKERS_PER_CORE_MAX: usize = 8;

/// The cores for so many workers: by default as many as this process may use, by its affinity mask
/// and the quota of its control group. Where more are wanted, they take turns; a note says so.
pub(super) fn choose(wanted: Option<usize>, on_note: &mut impl FnMut(&str)) -> Result<Vec<CoreId>, RunError> {
    let cores = core_affinity::get_core_ids()
        .filter(|cores| !cores.is_empty())
        .ok_or_else(|| RunError::Failed("cannot read which cores this process may run on".to_owned()))?;
    let allowed = cores.len();
    let count = match wanted {
        Some(count) if count > allowed * WORKERS_PER_CORE_MAX => {
            return Err(RunError::Usage(format!(
                "--cores {count}: this process may run on {allowed}; use --cores {allowed} or fewer"
            )));
        }
        Some(count) => count,
        None => std::thread::available_parallelism().map_or(allowed, usize::from).min(allowed),
    };
    if count > allowed {
        on_note(&format!("--cores {count}: this process may run on {allowed}, so that workers share cores"));
    }
    Ok(cores.into_iter().cycle().take(count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_more_workers_than_there_are_cores_is_wrong_usage() {
        let error = choose(Some(100_000), &mut |_| {}).unwrap_err();
        assert!(matches!(error, RunError::Usage(message) if message.contains("or fewer")));
    }

    #[test]
    fn some_more_workers_than_there_are_cores_share_them_and_that_is_said() {
        let all = core_affinity::get_core_ids().unwrap();
        let mut notes = Vec::new();
        let chosen = choose(Some(all.len() + 1), &mut |note| notes.push(note.to_owned())).unwrap();
        assert_eq!((chosen.len(), chosen.last()), (all.len() + 1, all.first()));
        assert!(matches!(&notes[..], [note] if note.contains("share cores")), "{notes:?}");
    }

    #[test]
    fn one_core_is_always_to_be_had() {
        let unsaid = &mut |note: &str| panic!("{note}");
        assert_eq!(choose(Some(1), unsaid).unwrap().len(), 1);
        assert!(!choose(None, unsaid).unwrap().is_empty());
    }
}
