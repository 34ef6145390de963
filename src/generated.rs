//! Files that are generated from declarations in the code, and tests that they are not stale.

use std::path::Path;

/// Fails when the file is not what the code generates; writes it instead when `UPDATE_DOCS=1` is set.
///
/// `path` is relative to the crate's root. Call it from a test in the room that holds the declarations.
#[expect(clippy::disallowed_methods, reason = "says what a test run is for; no setting of the service")]
pub(crate) fn assert_current(path: &str, generated: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::fs::read_to_string(&file).is_ok_and(|text| text == generated) {
        return;
    }
    assert!(
        std::env::var("UPDATE_DOCS").is_ok_and(|value| value == "1"),
        "{path} is stale; write it anew with UPDATE_DOCS=1 cargo test --lib"
    );
    let written =
        file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&file, generated));
    written.unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
}
