use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The bits of a mode by which anybody may read a file, and go through a folder.
pub const OTHERS_READ: u32 = 0o004;
const OTHERS_SEARCH: u32 = 0o001;

/// Whether a file is there that everybody on the host may read.
pub fn is_for_everybody(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| has(&path, OTHERS_READ) && lets_others_through(&path))
}

/// Whether no folder of a path without links keeps others out.
pub fn lets_others_through(path: &Path) -> bool {
    path.ancestors().skip(1).all(|folder| has(folder, OTHERS_SEARCH))
}

fn has(path: &Path, bit: u32) -> bool {
    path.metadata().is_ok_and(|data| data.permissions().mode() & bit != 0)
}
