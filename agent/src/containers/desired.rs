use super::compose::{self, Loaded, Project};
use super::report::shortened;
use hostwright_core::config::ConfigError;
use hostwright_core::config::containers::Containers;
use hostwright_core::hex::hex;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A few stat(2) calls; quick enough for an operator who saves a file and looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the Compose file wants: its last version without problems, and the problems of the present one.
#[derive(Debug)]
pub struct Desired {
    settings: Containers,
    /// Where configs and secrets lie.
    contents: PathBuf,
    files: Vec<PathBuf>,
    stamps: Option<Vec<Stamp>>,
    /// What is to run; nothing until a version without problems was read.
    pub project: Option<Arc<Project>>,
    /// The same with the services that are jobs, which `project` leaves out.
    pub jobs: Option<Arc<Project>>,
    /// What is wrong with the present version.
    pub problem: Option<String>,
}

/// What changes when a file does.
type Stamp = Option<(SystemTime, u64, u64)>;

impl Desired {
    /// Of a file; its configs and secrets are kept in the folder `contents`.
    pub fn new(settings: &Containers, contents: PathBuf) -> Self {
        let settings = settings.clone();
        Self { settings, contents, files: Vec::new(), stamps: None, project: None, jobs: None, problem: None }
    }

    /// Reads the file again if it, or one that it reads, has changed. Returns whether it did.
    pub fn refresh(&mut self) -> bool {
        if self.stamps.as_ref().is_some_and(|stamps| *stamps == stamps_of(&self.files)) {
            return false;
        }
        // Looked at before they are read: a change in between is seen the next time.
        let first = stamps_of(&self.files);
        let Loaded { files, project } = compose::load(&self.settings.compose, self.settings.project.as_deref());
        self.stamps = Some(if files == self.files { first } else { stamps_of(&files) });
        self.files = files;
        match project {
            Ok(mut project) => {
                if let Err(error) = project.place_files(&self.contents) {
                    let problem =
                        format!("configs and secrets cannot be written to {}: {error}", self.contents.display());
                    log::error!("{problem}");
                    self.problem = Some(problem);
                    return true;
                }
                for note in &project.notes {
                    log::warn!("{}:{note}", project.file.display());
                }
                self.problem = None;
                // A job runs when something calls for it, not because it is in the file.
                let mut services = project.clone();
                services.services.retain(|name, _| !self.settings.jobs.services.contains_key(name));
                (self.project, self.jobs) = (Some(Arc::new(services)), Some(Arc::new(project)));
            }
            Err(error) => {
                let problem = self.explain(&error);
                log::error!("{problem}");
                self.problem = Some(problem);
            }
        }
        true
    }

    /// The project with what the engine says of its images.
    pub fn with_checks(&mut self, mut project: Arc<Project>, checked: &BTreeSet<String>) -> Arc<Project> {
        if project.checked != *checked {
            Arc::make_mut(&mut project).checked.clone_from(checked);
            self.project = Some(project.clone());
        }
        project
    }

    /// Makes the next `refresh` read them whether they changed or not.
    pub fn read_again(&mut self) {
        self.stamps = None;
    }

    /// What tells this version of the files from another, also across a restart.
    pub fn version(&self) -> String {
        let text = format!("{:?}", self.stamps);
        hex(&Sha256::digest(text.as_bytes()))
    }

    /// Returns when one of the files has changed. Cancel-safe: it only looks.
    pub async fn changed(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.stamps.as_ref() != Some(&stamps_of(&self.files)) {
                return;
            }
        }
    }

    fn explain(&self, error: &ConfigError) -> String {
        let lines = error.to_string().lines().map(str::to_owned).collect();
        let goes_on = if self.project.is_some() { "what runs goes on as before" } else { "nothing was touched" };
        format!("the Compose file was not taken, and {goes_on}: {}", shortened(lines, "; "))
    }
}

fn stamps_of(files: &[PathBuf]) -> Vec<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let stamp = |path: &PathBuf| {
        let metadata = path.metadata().ok()?;
        Some((metadata.modified().ok()?, metadata.size(), metadata.ino()))
    };
    files.iter().map(stamp).collect()
}
