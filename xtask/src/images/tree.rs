//! The root of an image: files at the paths that they have on this machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use walkdir::WalkDir;

use super::{libraries, plan};

/// What the loader knows of folders other than the usual ones.
const LOADER_CACHE: &str = "/etc/ld.so.cache";

/// A folder that becomes the root of an image; removed on drop.
pub(super) struct Tree {
    folder: TempDir,
}

impl Tree {
    /// Makes a root with a shell and one user who is not root.
    pub(super) fn create() -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let tree = Self { folder };
        for folder in ["/tmp", plan::DATA] {
            let folder = tree.at(Path::new(folder))?;
            fs::create_dir_all(&folder)
                .and_then(|()| {
                    // What is mounted there takes this mode.
                    fs::set_permissions(&folder, Permissions::from_mode(0o1777))
                })
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        // initdb asks for the name of its user.
        let users = format!(
            "root:x:0:0::/:/bin/sh\niobox:x:{0}:{0}::{1}:/bin/sh\n",
            plan::USER,
            plan::DATA
        );
        tree.write("/etc/passwd", &users)?;
        tree.write(
            "/etc/group",
            &format!("root:x:0:\niobox:x:{}:\n", plan::USER),
        )?;
        tree.add_program(Path::new("/bin/sh"))?;
        if Path::new(LOADER_CACHE).exists() {
            tree.add(Path::new(LOADER_CACHE))?;
        }
        Ok(tree)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Copies a program or a library, with all libraries that it needs.
    pub(super) fn add_program(&self, program: &Path) -> Result<()> {
        self.add(program)?;
        for library in libraries::of(program)? {
            self.add(&library)?;
        }
        Ok(())
    }

    /// Copies a folder with all that is in it; links become what they lead to.
    pub(super) fn add_folder(&self, folder: &Path) -> Result<()> {
        for entry in WalkDir::new(folder).follow_links(true) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => self.add(entry.path())?,
                Ok(_) => {}
                // A link that leads nowhere leads nowhere in the image, too.
                Err(error) if error.path().is_some_and(Path::is_symlink) => {}
                Err(error) => return Err(error).context("cannot read a folder"),
            }
        }
        Ok(())
    }

    /// Writes a script that can be run.
    pub(super) fn add_script(&self, path: &str, text: &str) -> Result<()> {
        let file = self.write(path, text)?;
        fs::set_permissions(&file, Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {} executable", file.display()))
    }

    fn write(&self, path: &str, text: &str) -> Result<PathBuf> {
        let file = self.at(Path::new(path))?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// Copies one file, with its mode; a link becomes what it leads to.
    fn add(&self, file: &Path) -> Result<()> {
        let copy = self.at(file)?;
        if !copy.exists() {
            fs::copy(file, &copy).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        Ok(())
    }

    /// Where a path of the image is on this machine; the folder above it exists.
    fn at(&self, path: &Path) -> Result<PathBuf> {
        ensure!(path.is_absolute(), "{} is no absolute path", path.display());
        let inside = path.strip_prefix("/").unwrap_or(path);
        let place = self.folder().join(inside);
        if let Some(above) = place.parent() {
            fs::create_dir_all(above)
                .with_context(|| format!("cannot make {}", above.display()))?;
        }
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_become_what_they_lead_to() {
        let base = tempfile::tempdir().expect("a folder");
        let target = base.path().join("target");
        fs::write(&target, "text").expect("a file");
        let folder = base.path().join("folder");
        fs::create_dir(&folder).expect("a folder");
        std::os::unix::fs::symlink(&target, folder.join("link")).expect("a link");
        std::os::unix::fs::symlink("nowhere", folder.join("broken")).expect("a link");

        let tree = Tree::create().expect("a root");
        tree.add_folder(&folder).expect("a folder");
        let copy = tree.at(&folder.join("link")).expect("a path");
        assert!(!copy.is_symlink());
        assert_eq!(fs::read_to_string(&copy).expect("a file"), "text");
        assert!(!copy.with_file_name("broken").exists());
    }
}
