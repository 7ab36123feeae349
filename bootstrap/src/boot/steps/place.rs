use super::folder::Folder;
use super::{Context, Failure};
use hostwright_core::atomic_file;
use std::io;
use std::os::unix::fs::fchown;
use std::path::Path;

/// A file that shall be there as a whole.
pub struct File<'a> {
    /// Its path on the host.
    pub path: &'a Path,
    /// All of it.
    pub content: &'a [u8],
    /// Permission bits.
    pub mode: u32,
    /// User and group ids; nothing for the program's own.
    pub owner: (Option<u32>, Option<u32>),
}

impl<'a> File<'a> {
    /// A file of root's.
    pub fn new(path: &'a str, content: &'a [u8], mode: u32) -> Self {
        Self { path: Path::new(path), content, mode, owner: (None, None) }
    }

    /// Puts it in place, with the folders that it needs, unless it is there with this content.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn place_if_changed(&self, context: &Context<'_>) -> Result<bool, Failure> {
        if std::fs::read(context.host.path(self.path)).is_ok_and(|before| before == self.content) {
            return Ok(false);
        }
        self.place(context).map(|()| true)
    }

    /// Puts it in place, with the folders that it needs. A link in the last place is replaced and not followed, and on
    /// the way to it only root's own links are.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn place(&self, context: &Context<'_>) -> Result<(), Failure> {
        self.place_one_of_many(context).and_then(|()| self.sync_folder(context))
    }

    /// As [`Self::place`], but only [`sync`] of its folder makes that it is there after a power cut: once for all files
    /// of a folder.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn place_one_of_many(&self, context: &Context<'_>) -> Result<(), Failure> {
        let placed = || -> io::Result<()> {
            let folder = Folder::open_or_make(context.host, self.path.parent().unwrap_or(Path::new("/")))?;
            let path = folder.path(self.path.file_name().unwrap_or_default());
            if context.resumed {
                atomic_file::remove_unfinished(&path)?;
            }
            atomic_file::replace_one_of_many(&path, self.content, self.mode, |file| match self.owner {
                // Whoever works on a tree of his own keeps its files.
                (Some(0) | None, Some(0) | None) if !nix::unistd::geteuid().is_root() => Ok(()),
                (user, group) => fchown(file, user, group),
            })
        };
        placed().map_err(|error| Failure::io(format!("write {}", self.path.display()), &error))
    }

    fn sync_folder(&self, context: &Context<'_>) -> Result<(), Failure> {
        sync(context, self.path.parent().unwrap_or(Path::new("/")))
    }
}

/// Makes that files which were put into a folder are there after a power cut.
///
/// # Errors
/// The file system refuses.
pub fn sync(context: &Context<'_>, folder: &Path) -> Result<(), Failure> {
    let synced = Folder::open_or_make(context.host, folder).and_then(|folder| folder.sync());
    synced.map_err(|error| Failure::io(format!("write to {}", folder.display()), &error))
}
