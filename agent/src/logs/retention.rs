use super::source::followed::FollowedFile;
use super::source::identity::Key;
use std::sync::Arc;
use std::time::SystemTime;

/// Deletes rotated files that are older than their source retains, and that every output has acknowledged to the end.
///
/// Only what is followed is deleted, compressed generations among it: its positions tell that it was shipped. A rotated
/// file that was never followed stays, however old: it may be from before our time, and nobody can tell then whether
/// what is in it is anywhere else. Such files do not become more.
pub fn apply(files: &[Arc<FollowedFile>]) {
    let now = SystemTime::now();
    for file in files.iter().filter(|file| is_due(file, now)) {
        if let Err(error) = delete(file) {
            log::warn!(source = file.source.name; "logs: cannot delete {}, which is older than its retention: {error}", file.origin.display());
        }
    }
}

fn is_due(file: &FollowedFile, now: SystemTime) -> bool {
    let Some(retain) = file.source.retain else { return false };
    file.has_ended() && file.quiet(now) > retain && file.is_done()
}

fn delete(file: &FollowedFile) -> std::io::Result<()> {
    let Some(path) = file.path() else { return Ok(()) };
    // What was written since it was last looked at is not acknowledged; another file may have its name by now.
    if file.look()? || Key::of(&path.symlink_metadata()?) != file.key {
        return Ok(());
    }
    std::fs::remove_file(&path)?;
    log::info!(source = file.source.name; "logs: deleted {}, which is older than its retention and was shipped", path.display());
    Ok(())
}
