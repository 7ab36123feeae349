//! Files of configs and secrets that nobody uses any more. They hold secrets, so they do not outlive their use.

use super::Reconciler;
use super::engine::{Engine, EngineError};
use super::plan::Plan;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

impl Reconciler {
    /// Removes them once after each change, when everything is as the file says: those that neither the file, nor a
    /// version that somebody may go back to, nor any container of the project uses.
    pub(super) async fn tidy(&mut self, engine: &Engine, plan: &Plan) -> Result<(), EngineError> {
        let Some(project) = self.desired.jobs.clone() else { return Ok(()) };
        if self.is_tidy || !plan.is_idle() || !plan.exchanges.is_empty() || self.desired.problem.is_some() {
            return Ok(());
        }
        let mut used = engine.mounted(&project.name).await?;
        let files = project.services.values().flat_map(|service| &service.files);
        used.extend(files.map(|file| file.path(&project.files)));
        used.extend(self.memory.versions.mounted());
        match remove_unused(&project.files, &used) {
            Ok(0) => {}
            Ok(count) => log::info!("{count} files of configs and secrets that nothing uses any more were removed"),
            Err(error) => log::warn!("files in {} cannot be removed: {error}", project.files.display()),
        }
        self.is_tidy = true;
        Ok(())
    }
}

fn remove_unused(folder: &Path, used: &BTreeSet<PathBuf>) -> io::Result<usize> {
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut count = 0;
    for entry in entries {
        let path = entry?.path();
        if !used.contains(&path) {
            std::fs::remove_file(&path)?;
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::remove_unused;
    use std::collections::BTreeSet;

    #[test]
    fn what_nobody_uses_goes_and_a_folder_that_is_not_there_is_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let [used, unused] = ["used", "unused"].map(|name| folder.path().join(name));
        for path in [&used, &unused] {
            std::fs::write(path, "secret").expect("written");
        }
        let kept = BTreeSet::from([used.clone()]);
        assert_eq!(remove_unused(folder.path(), &kept).expect("removed"), 1);
        assert!(used.exists() && !unused.exists());
        assert_eq!(remove_unused(&folder.path().join("none"), &kept).expect("none"), 0);
    }
}
