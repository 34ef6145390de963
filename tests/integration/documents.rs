//! Pages that repeat a file say what the file says.

use std::fs;

use crate::support::program::repository;

const MARK: &str = "<!-- example: ";

/// Each mark of a page: the file it names, and the body of the fence behind it.
fn embedded(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(path) = line.strip_prefix(MARK).and_then(|rest| rest.strip_suffix(" -->")) else { continue };
        let fence = lines.next().unwrap_or_default();
        assert!(fence.starts_with("```"), "no fence behind the mark of {path}");
        let body: String =
            lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        found.push((path.to_owned(), body));
    }
    found
}

#[test]
fn the_clients_page_shows_the_examples_as_they_are() {
    let page = fs::read_to_string(repository().join("docs/clients.md")).expect("the page");
    let examples = embedded(&page);
    for (path, body) in &examples {
        let file =
            fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(*body == file, "docs/clients.md does not show {path} as it is: copy the file into its fence");
    }
    let mut shown: Vec<&str> = examples.iter().map(|(path, _)| path.as_str()).collect();
    shown.sort_unstable();
    let folder = fs::read_dir(repository().join("examples/clients")).expect("the examples");
    let mut files: Vec<String> = folder
        .map(|entry| format!("examples/clients/{}", entry.expect("an entry").file_name().to_string_lossy()))
        .collect();
    files.sort_unstable();
    assert_eq!(shown, files, "every example is shown, once");
}
