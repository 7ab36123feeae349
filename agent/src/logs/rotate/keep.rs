use super::Job;
use super::generations::{Generation, Shipped};
use hostwright_core::atomic_file::sync_parent;
use hostwright_core::config::logs::rotate::Keep;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

/// Deletes the oldest rotated files beyond what is kept; takes them out of `all`.
pub(super) fn apply(all: &mut Vec<Generation>, keep: &Keep, job: &Job) -> io::Result<()> {
    let source = job.source.name.as_str();
    let (mut files, mut bytes) = (all.len() as u64, all.iter().map(|generation| generation.size).sum::<u64>());
    let mut kept = Vec::new();
    let mut result = Ok(());
    for generation in all.drain(..) {
        let is_beyond = keep.age.is_some_and(|age| generation.age() > age)
            || keep.files.is_some_and(|most| files > most)
            || keep.bytes.is_some_and(|most| bytes > most.0);
        let is_forced = keep.force_bytes.is_some_and(|most| bytes > most.0);
        let deleted = match generation.shipped {
            Shipped::Whole if is_beyond || is_forced => {
                delete(&generation).inspect(|()| job.report.deleted(source, &generation.path, generation.size))
            }
            Shipped::Lacking(lacking) if is_forced => {
                force(&generation).inspect(|()| job.report.forced(source, &generation.path, lacking))
            }
            Shipped::Unknown if is_forced => {
                force(&generation).inspect(|()| job.report.forced(source, &generation.path, generation.size))
            }
            _ => {
                kept.push(generation);
                continue;
            }
        };
        match deleted {
            Ok(()) => (files, bytes) = (files - 1, bytes - generation.size),
            Err(error) => {
                result =
                    Err(io::Error::new(error.kind(), format!("cannot delete {}: {error}", generation.path.display())));
                kept.push(generation);
            }
        }
    }
    *all = kept;
    result
}

fn delete(generation: &Generation) -> io::Result<()> {
    if !generation.is_unchanged() {
        return Err(io::Error::other("it has changed just now"));
    }
    fs::remove_file(&generation.path)?;
    sync_parent(&generation.path)
}

/// It is emptied first: as long as an output has it open, its space would be in use.
fn force(generation: &Generation) -> io::Result<()> {
    let file = File::options().write(true).custom_flags(nix::libc::O_NOFOLLOW).open(&generation.path)?;
    file.set_len(0)?;
    fs::remove_file(&generation.path)?;
    sync_parent(&generation.path)
}

#[cfg(test)]
mod tests {
    use super::delete;
    use crate::logs::rotate::generations::list;
    use std::collections::BTreeSet;
    use std::fs;

    #[test]
    fn a_generation_that_changed_since_it_was_looked_at_stays() {
        let folder = tempfile::tempdir().expect("folder");
        let (log, rotated) = (folder.path().join("app.log"), folder.path().join("app.log.1"));
        let logs = BTreeSet::from([log.clone()]);
        let found = || {
            fs::write(&rotated, "one\n").expect("written");
            list(folder.path(), &logs, false).expect("listed").remove(&log).expect("generations").remove(0)
        };
        let generation = found();
        fs::write(&rotated, "one\ntwo\n").expect("written");
        assert!(delete(&generation).is_err());
        // Another file of the same size by its name.
        let generation = found();
        fs::write(folder.path().join("new"), "two\n").expect("written");
        fs::rename(folder.path().join("new"), &rotated).expect("renamed");
        assert!(delete(&generation).is_err());
        assert_eq!(fs::read_to_string(&rotated).expect("still there"), "two\n");
        delete(&found()).expect("deleted");
        assert!(!rotated.exists());
    }
}
