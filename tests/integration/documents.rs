//! Pages that repeat a file say what the file says, and tests that pages name exist.

use std::fs;
use std::path::PathBuf;

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

/// What stands between back-quotes in the last cells of a page's tables.
fn proofs(page: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let last = rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit(" | ").next());
    last.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The files that a test of this name may stand in, and how its definition begins there.
fn places(proof: &str) -> (Vec<PathBuf>, String) {
    let root = repository();
    let Some((module, name)) = proof.rsplit_once("::") else {
        if proof.starts_with("test_") {
            let files = fs::read_dir(root.join("tests/e2e")).expect("the tests");
            return (files.map(|file| file.expect("an entry").path()).collect(), format!("def {proof}("));
        }
        return (vec![root.join(format!("fuzz/fuzz_targets/{proof}.rs"))], "fuzz_target!(".to_owned());
    };
    let files = match module.strip_suffix("::tests") {
        Some(module) => {
            let path = module.replace("::", "/");
            ["{}.rs", "{}/mod.rs", "{}_tests.rs", "{}/tests.rs"]
                .map(|form| root.join("src").join(form.replace("{}", &path)))
                .to_vec()
        }
        None => vec![root.join(format!("tests/integration/{}.rs", module.replace("::", "/")))],
    };
    (files, format!("fn {name}("))
}

/// The rows of a page's tables between two headings, their own heads left out.
fn rows(page: &str, from: &str, to: Option<&str>) -> usize {
    let text = fs::read_to_string(repository().join(page)).expect("the page");
    let part = text.split(from).nth(1).expect("the heading");
    let part = to.map_or(part, |to| part.split(to).next().expect("a part"));
    part.lines().filter(|line| line.starts_with('|')).count() - 2
}

#[test]
fn the_readme_counts_what_is_there() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("the page");
    let (faults, lines) = (
        rows("docs/faults.md", "# Bad days", None),
        rows("docs/threat-model.md", "## Line by line", Some("\n## ")),
    );
    assert!(readme.contains(&format!("| {faults} faults |")), "{faults} faults");
    assert!(readme.contains(&format!("| {lines} lines |")), "{lines} lines");
}

#[test]
fn every_test_that_a_page_names_exists() {
    for page in ["docs/threat-model.md", "docs/faults.md"] {
        let proofs = proofs(&fs::read_to_string(repository().join(page)).expect("the page"));
        assert!(proofs.len() > 20, "{page}: {proofs:?}");
        for proof in proofs {
            let (files, definition) = places(&proof);
            let stands =
                |file: &PathBuf| fs::read_to_string(file).is_ok_and(|text| text.contains(&definition));
            assert!(files.iter().any(stands), "{page} names {proof}, which is not there");
        }
    }
}
