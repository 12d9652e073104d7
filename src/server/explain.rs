//! Explaining requests: by a configuration alone, or by what a proxy that runs knows as well.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::worker::Handle;
use super::{Order, RunError, spawn};
use crate::cache::store::{Shared, Store};
use crate::config::Settings;
use crate::proxy::Blueprint;
use crate::proxy::Core;
use crate::proxy::Registry;
use crate::proxy::explain::{Account, Explained, Question, View, explain};

/// How long a core may take.
const EXPLAIN_TIME: Duration = Duration::from_secs(2);

/// The size of a cache in which nothing will ever be stored.
const CACHE_BYTES: usize = 1 << 20;

/// What a core answers: an account, or why there is none.
pub(super) type Answer = Result<Box<Explained>, String>;

/// What becomes of a request under a configuration. Nothing is opened, sent or looked up for that.
///
/// # Errors
/// It is not clear which request is meant, or no descriptor is left.
pub(crate) fn by_settings(settings: &Settings, question: &Question) -> Result<Account, RunError> {
    let shared = settings.cache.as_ref().map(|_| Shared::new(CACHE_BYTES, 1));
    let store = shared.map(|shared| Store::new(shared, 0, 0));
    let blueprint = Arc::new(Blueprint::among(settings, &Registry::default()));
    // A core that no client ever reaches.
    let core = Core::new((0, 1), blueprint, &[], settings.access_log, store, Box::new(drop))
        .map_err(|error| RunError::Failed(format!("cannot explain anything: {error}")))?;
    let explained = explain(&Rc::new(core), question, View::Configured).map_err(RunError::Usage)?;
    Ok(explained.account)
}

/// Asks on a thread of its own, because the control thread has others to listen to. If no core answers in time,
/// `done` goes away without a word.
pub(super) fn start(workers: &[Handle], question: Question, done: flume::Sender<Result<Account, String>>) {
    let workers = workers.to_vec();
    let _ = spawn("explain", move || {
        if let Some(answer) = run(&workers, &Arc::new(question), EXPLAIN_TIME) {
            let _ = done.send(answer);
        }
    });
}

/// Asks the first core, and then the one that it names, which knows what is stored.
fn run(workers: &[Handle], question: &Arc<Question>, time: Duration) -> Option<Result<Account, String>> {
    let ask = |worker: &Handle| {
        let (done, answer) = flume::bounded(1);
        worker.tell(Order::Explain { question: question.clone(), done });
        answer.recv_timeout(time).ok()
    };
    let first = ask(workers.first()?)?;
    let owner = first.as_ref().ok().and_then(|explained| explained.owner);
    let answer = match owner.and_then(|place| workers.get(place)) {
        Some(owner) => ask(owner)?,
        None => first,
    };
    Some(answer.map(|explained| explained.account))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that answers once: with its name as the URL, and with the owner that it names.
    fn worker(name: &str, owner: Option<usize>) -> (Handle, std::thread::JoinHandle<()>) {
        let (handle, orders) = Handle::pair();
        let url = name.to_owned();
        let thread = std::thread::spawn(move || {
            let Ok(Order::Explain { done, .. }) = orders.recv() else { panic!("it was not asked") };
            let account = Account { url, ..Account::default() };
            done.send(Ok(Box::new(Explained { account, owner }))).unwrap();
        });
        (handle, thread)
    }

    #[test]
    fn the_core_that_knows_what_is_stored_has_the_last_word() {
        for (owner, want) in [(None, "first"), (Some(1), "second"), (Some(7), "first")] {
            let (first, one) = worker("first", owner);
            let (second, other) = Handle::pair();
            let answering = owner == Some(1);
            let second = if answering { worker("second", None) } else { (second, std::thread::spawn(|| {})) };
            let answer = run(&[first, second.0], &Arc::default(), EXPLAIN_TIME).unwrap().unwrap();
            assert_eq!(answer.url, want);
            drop(other);
            one.join().unwrap();
            second.1.join().unwrap();
        }
    }

    #[test]
    fn a_core_that_does_not_answer_is_not_waited_for_without_end() {
        let (silent, _orders) = Handle::pair();
        assert!(run(&[silent], &Arc::default(), Duration::from_millis(20)).is_none());
        assert!(run(&[], &Arc::default(), EXPLAIN_TIME).is_none());
    }

    #[test]
    fn nothing_has_to_run_to_explain_a_configuration() {
        let question = |url: &str| Question { url: url.to_owned(), ..Question::default() };
        let account = by_settings(&Settings::for_tests(), &question("http://a/b")).unwrap();
        assert_eq!(account.route.map(|route| route.name).as_deref(), Some("default"));
        let refused = by_settings(&Settings::for_tests(), &question("a")).unwrap_err();
        assert!(matches!(refused, RunError::Usage(why) if why.contains("no scheme")));
    }
}
