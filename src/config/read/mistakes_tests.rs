//! Each class of mistake, with exactly what is said about it: see `mistakes.txt`.

use super::*;

/// A folder for the files of a test, gone when it is dropped.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        let name = format!("ringway-read-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// What is said when this file is loaded, without the folder's name.
    pub(super) fn said(&self, text: &str) -> String {
        let path = self.write("ringway.toml", text);
        let said = match load(Options::default(), Some(path), &environment) {
            Ok(loaded) if loaded.warnings.is_empty() => "good".to_owned(),
            Ok(loaded) => Problems::new(loaded.warnings, loaded.sources).to_string(),
            Err(error) => error.to_string(),
        };
        said.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("80".to_owned()),
        "WORD" => Some("many".to_owned()),
        "HUGE" => Some("99999999999999999999".to_owned()),
        _ => None,
    }
}

#[test]
fn each_mistake_is_shown_exactly_so() {
    let folder = Folder::new();
    folder.write("large.txt", vec![b'x'; 65 * 1024]);
    folder.write("latin.toml", b"via = '\xe9'");
    folder.write("weak-users", "# staff\nann:$apr1$8sFt66rZ$vQqNhRJQlSRxPXtAzUQdr1\n");
    folder.write("bomb-users", "ann:$2y$31$L6Bc/AlTQHyd9liGgGEZyOFLPHNgyxeEPfgYfBCVxJ7JIlwxyVU3u\n");
    folder.write("plain-tokens", "secret-token\n");
    folder.write("empty.txt", "\n");
    folder.write("lifted.txt", "# lifted\n");
    folder.write("networks.txt", "# ours\n10.0.0.0/8\n10.0.0/8 # a part is missing\n");
    let mut all = String::new();
    let cases = include_str!("mistakes.txt");
    for case in cases.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (text, _) = rest.split_once("---\n").unwrap();
        all += &format!("=== {title}\n{text}---\n{}\n\n", folder.said(text));
    }
    let cases = format!("=== {}", cases.split_once("=== ").unwrap().1);
    if let Some(line) = all.lines().zip(cases.lines()).position(|(said, want)| said != want) {
        let around =
            |text: &str| text.lines().skip(line.saturating_sub(6)).take(12).collect::<Vec<_>>().join("\n");
        panic!("what is said:\n{}\n\nwhat should be said:\n{}", around(&all), around(&cases));
    }
    assert_eq!(all, cases);
}
