//! What is explained of one configuration, to the letter.

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/explain/");

/// The words of a command line; blanks within single quotes separate none.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

/// What a command line prints.
fn printed(line: &str) -> String {
    let file = format!("{FOLDER}sample.toml");
    let given = words(line).into_iter().map(|word| if word == "sample.toml" { file.clone() } else { word });
    let Some(Command::Explain(args)) = Cli::parse_from(given).command else { panic!("{line}") };
    let question = Question {
        url: args.url,
        method: Some(args.method),
        headers: args.headers,
        from: Some(args.from),
        listener: args.listener,
    };
    match of_file(args.run, &question) {
        Ok(account) => text::write(&account).replace(FOLDER, ""),
        Err(Failure::Run(error)) => format!("{error}\n"),
        Err(_) => panic!("{line}"),
    }
}

#[test]
fn a_table_of_explanations() {
    let table = std::fs::read_to_string(format!("{FOLDER}sample.txt")).unwrap();
    let (mut count, mut written) = (0, String::new());
    for line in table.lines().filter_map(|line| line.strip_prefix("$ ")) {
        count += 1;
        written.push_str(&format!("$ {line}\n{}\n", printed(line)));
    }
    assert!(count > 10, "the table was not found");
    assert!(written == table, "sample.txt says something else than this:\n{written}");
}

#[test]
fn what_came_from_outside_does_no_harm_on_a_terminal() {
    let account = Account {
        url: "http://a/\u{1b}[2J".to_owned(),
        because: vec!["the path is /\u{7}\u{9b}".to_owned()],
        ..Account::default()
    };
    let written = text::write(&account);
    assert!(written.chars().all(|c| c == '\n' || !c.is_control()), "{written:?}");
    assert!(written.contains("\\u{1b}[2J") && written.contains("/\\u{7}\\u{9b}"), "{written}");
}
