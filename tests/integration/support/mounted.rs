//! A Secret as the kubelet mounts it.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;

/// A folder of files that are links through `..data` to a folder of the day; a change swaps that one link.
pub(crate) struct Mounted {
    folder: TempDir,
    versions: Cell<usize>,
}

impl Mounted {
    /// A mounted Secret with these files.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let mounted = Self { folder: tempfile::tempdir().expect("a folder"), versions: Cell::new(0) };
        mounted.change(files);
        mounted
    }

    /// Replaces all files in one step.
    pub(crate) fn change(&self, files: &[(&str, &str)]) {
        let root = self.folder.path();
        self.versions.set(self.versions.get() + 1);
        let version = format!("..version_{}", self.versions.get());
        fs::create_dir(root.join(&version)).expect("made");
        for (name, text) in files {
            fs::write(root.join(&version).join(name), text).expect("written");
        }
        symlink(&version, root.join("..data_tmp")).expect("linked");
        fs::rename(root.join("..data_tmp"), root.join("..data")).expect("swapped");
        for (name, _) in files {
            // Links of files that are there already stay as they are.
            let link = root.join(name);
            if link.symlink_metadata().is_err() {
                symlink(format!("..data/{name}"), link).expect("linked");
            }
        }
    }

    /// Takes a file away, as the kubelet does with one that left the Secret.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).expect("removed");
    }

    /// The path of a file, or of the folder for an empty name.
    pub(crate) fn path(&self, name: &str) -> String {
        let path: PathBuf =
            if name.is_empty() { self.folder.path().into() } else { self.folder.path().join(name) };
        path.to_str().expect("UTF-8").to_owned()
    }
}
