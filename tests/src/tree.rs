//! A host's kernel files in one text file, unpacked into a folder.
//!
//! Each line is one file: `path: content` (with a line end after it), `path:` with the content in the lines below it,
//! each after `| `, `path -> target` for a symbolic link, `path/` for an empty folder, `path!: content` for content
//! without a line end. `\xff` in a content is that byte. Blank lines and those that begin with `#` say nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// An unpacked tree, with the folders `proc`, `sys`, `root` and `udev`; gone when dropped.
#[derive(Debug)]
pub struct Tree(TempDir);

impl Tree {
    /// Unpacks `tests/fixtures/hosts/<name>.tree`.
    pub fn unpack(name: &str) -> Result<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts").join(name).with_extension("tree");
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        Self::of(&text)
    }

    /// Unpacks a text of that form.
    pub fn of(text: &str) -> Result<Self> {
        let tree = Self(tempfile::Builder::new().prefix("hostwright-tree-").tempdir()?);
        for folder in ["proc", "sys", "root", "udev"] {
            fs::create_dir(tree.path().join(folder))?;
        }
        let mut lines = text.lines().enumerate().peekable();
        while let Some((at, line)) = lines.next() {
            let mut below = Vec::new();
            while let Some((_, next)) = lines.next_if(|(_, next)| next.starts_with('|')) {
                below.push(next.strip_prefix("| ").unwrap_or(&next[1..]));
            }
            tree.put(line, &below).with_context(|| format!("line {}: {line}", at + 1))?;
        }
        Ok(tree)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, line: &str, below: &[&str]) -> Result<()> {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(folder) = line.strip_suffix('/') {
            return Ok(fs::create_dir_all(self.path().join(folder))?);
        }
        if let Some((path, target)) = line.split_once(" -> ") {
            return Ok(symlink(target, self.place(path)?)?);
        }
        let (path, content) = match line.strip_suffix(':') {
            Some(path) if !line.contains(": ") => (path, below.iter().map(|line| format!("{line}\n")).collect()),
            _ => {
                let (path, content) = line.split_once(": ").context("neither file, link nor folder")?;
                (path, format!("{content}\n"))
            }
        };
        match path.strip_suffix('!') {
            Some(path) => fs::write(self.place(path)?, unescape(content.trim_end_matches('\n'))?)?,
            None => fs::write(self.place(path)?, unescape(&content)?)?,
        }
        Ok(())
    }

    fn place(&self, path: &str) -> Result<PathBuf> {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().context("no folder")?)?;
        if path.symlink_metadata().is_ok() {
            bail!("it is there twice");
        }
        Ok(path)
    }
}

fn unescape(content: &str) -> Result<Vec<u8>> {
    let mut parts = content.split(r"\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).context("two digits follow \\x")?;
        bytes.push(u8::from_str_radix(digits, 16)?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Result, Tree};
    use std::fs;

    #[test]
    fn files_links_and_folders_are_as_the_text_says() -> Result<()> {
        let text =
            "# a host\nsys/a/b: 1: x\nsys/c!: no end\\xff\nproc/d:\n| one\n|\n| two\nsys/e -> a/b\n\nsys/f/\nsys/g:\n";
        let tree = Tree::of(text)?;
        let read = |path: &str| fs::read(tree.path().join(path));
        assert_eq!((read("sys/a/b")?, read("sys/e")?), (b"1: x\n".to_vec(), b"1: x\n".to_vec()));
        assert_eq!((read("sys/c")?, read("proc/d")?), (b"no end\xff".to_vec(), b"one\n\ntwo\n".to_vec()));
        assert_eq!(read("sys/g")?, b"");
        assert!(tree.path().join("sys/f").is_dir());
        assert!(Tree::of("sys/a: 1\nsys/a: 2\n").is_err() && Tree::of("what\n").is_err());
        Ok(())
    }
}
