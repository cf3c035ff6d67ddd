//! The files of the repository.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use walkdir::{DirEntry, WalkDir};

/// Hidden folders are skipped but for these.
const HIDDEN_FOLDERS: [&str; 3] = [".cargo", ".ci", ".github"];

/// The files below a root, without those that are built or belong to git.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    files: Vec<PathBuf>,
}

impl Tree {
    /// Lists the files below `root`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for entry in WalkDir::new(root)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(is_source)
        {
            let entry = entry.context("cannot list the repository")?;
            if entry.file_type().is_file() {
                files.push(
                    entry
                        .path()
                        .strip_prefix(root)
                        .context("a path outside")?
                        .to_owned(),
                );
            }
        }
        Ok(Self {
            root: root.to_owned(),
            files,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// All files, by their paths below the root, sorted.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// The files with an extension, given without its dot.
    pub(crate) fn with_extension(&self, extension: &str) -> impl Iterator<Item = &Path> {
        self.files()
            .filter(move |path| path.extension() == Some(OsStr::new(extension)))
    }

    /// Whether a file is there.
    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.files.iter().any(|file| file == path.as_ref())
    }

    /// The text of a file.
    pub(crate) fn text(&self, path: &Path) -> Result<String> {
        let text = fs::read_to_string(self.root.join(path));
        text.with_context(|| format!("cannot read {}", path.display()))
    }
}

fn is_source(entry: &DirEntry) -> bool {
    if entry.depth() == 0 || !entry.file_type().is_dir() {
        return true;
    }
    let name = entry.file_name().to_string_lossy();
    name != "target" && (!name.starts_with('.') || HIDDEN_FOLDERS.contains(&&*name))
}

#[cfg(test)]
pub(crate) mod made {
    //! Trees made for the tests of the checks.

    use tempfile::TempDir;

    use super::*;
    use crate::tidy::finding::Finding;

    /// Writes files into a temporary folder, runs a check on them and returns what it says.
    pub(crate) fn findings(
        check: fn(&Tree) -> Result<Vec<Finding>>,
        files: &[(&str, &str)],
    ) -> Vec<String> {
        let folder = write(files);
        let tree = Tree::read(folder.path()).expect("a tree");
        let findings = check(&tree).expect("a check that works");
        findings.iter().map(Finding::to_string).collect()
    }

    fn write(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        folder
    }

    #[test]
    fn what_is_built_or_hidden_is_not_listed() {
        let folder = write(&[
            ("a/src/lib.rs", ""),
            ("a/target/x.rs", ""),
            (".git/config", ""),
            (".ci/run", ""),
            (".gitignore", ""),
        ]);
        let tree = Tree::read(folder.path()).expect("a tree");
        let files: Vec<&Path> = tree.files().collect();
        assert_eq!(
            files,
            [".ci/run", ".gitignore", "a/src/lib.rs"].map(Path::new)
        );
        assert!(tree.has("a/src/lib.rs") && !tree.has("a/src"));
    }
}
