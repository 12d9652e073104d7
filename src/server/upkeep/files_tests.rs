//! Tests of the threads that read files.

use super::*;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A file, gone when it is dropped.
struct Listed(PathBuf);

impl Listed {
    fn new(text: &str) -> Listed {
        let name = format!("ringway-files-{}-{:016x}.json", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Listed(path)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// How many endpoints the next look tells; none if nothing new.
fn next(files: &mut Files, told: &flume::Receiver<Finding>) -> Option<usize> {
    let Ok(Finding::List(path, list)) = told.recv_timeout(LONG) else { panic!("nothing was read") };
    files.looked(&path);
    list.map(|list| list.unwrap().len())
}

#[test]
fn a_file_is_read_at_once_and_then_again_and_again() {
    let (tell, told) = flume::unbounded();
    let mut files = Files::new(tell);
    assert_eq!(files.due(), None);
    let listed = Listed::new("[\"a:1\"]");
    files.follow([&listed.0].into_iter(), s(1));
    assert_eq!(next(&mut files, &told), Some(1));
    std::fs::write(&listed.0, "[\"a:1\", \"b:1\"]").unwrap();
    // It is not time yet.
    files.follow([&listed.0].into_iter(), s(1));
    assert!(told.try_recv().is_err() && files.due() == Some(s(2)));
    files.follow([&listed.0].into_iter(), s(2));
    assert_eq!(next(&mut files, &told), Some(2));
    files.follow([&listed.0].into_iter(), s(3));
    assert_eq!(next(&mut files, &told), None);
    // One that comes again is told again.
    files.follow(std::iter::empty(), s(4));
    assert_eq!(files.due(), None);
    files.follow([&listed.0].into_iter(), s(5));
    assert_eq!(next(&mut files, &told), Some(2));
}

#[test]
fn a_file_that_is_being_read_is_not_read_twice_at_once() {
    let (tell, told) = flume::unbounded();
    let mut files = Files::new(tell);
    let listed = Listed::new("[\"a:1\"]");
    // Nobody says that the first look has ended, as if it took long.
    files.follow([&listed.0].into_iter(), s(1));
    files.follow([&listed.0].into_iter(), s(2));
    files.follow(std::iter::empty(), s(3));
    files.follow([&listed.0].into_iter(), s(4));
    assert_eq!(next(&mut files, &told), Some(1));
    assert!(told.try_recv().is_err());
    // What was gone meanwhile is told anew.
    files.follow([&listed.0].into_iter(), s(4));
    assert_eq!(next(&mut files, &told), Some(1));
}

#[test]
fn its_threads_end_with_it() {
    let (tell, told) = flume::unbounded();
    let mut files = Files::new(tell);
    let listed = Listed::new("[]");
    files.follow([&listed.0].into_iter(), s(1));
    drop(files);
    while told.recv_timeout(LONG).is_ok() {}
    assert!(told.is_disconnected());
}
