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
fn pages_show_the_examples_as_they_are() {
    for (page, folder) in
        [("docs/clients.md", "examples/clients"), ("docs/publishing.md", "examples/publishing")]
    {
        let text = fs::read_to_string(repository().join(page)).expect("the page");
        let examples = embedded(&text);
        for (path, body) in &examples {
            let file =
                fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(*body == file, "{page} does not show {path} as it is: copy the file into its fence");
        }
        let mut shown: Vec<&str> = examples.iter().map(|(path, _)| path.as_str()).collect();
        shown.sort_unstable();
        let entries = fs::read_dir(repository().join(folder)).expect("the examples");
        let mut files: Vec<String> = entries
            .map(|entry| format!("{folder}/{}", entry.expect("an entry").file_name().to_string_lossy()))
            .collect();
        files.sort_unstable();
        assert_eq!(shown, files, "every example is shown, once");
    }
}
