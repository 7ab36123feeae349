/// `images:`
pub mod images;
/// `jobs:`
pub mod jobs;

use super::Known;
use super::section::Section;
use super::values::AbsolutePath;
use images::Images;
use jobs::Jobs;
use std::path::PathBuf;
use std::time::Duration;

/// The containers duty: a Compose file that converges on a container engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Containers {
    /// An ordinary Compose file.
    pub compose: PathBuf,
    /// The Compose project's name; the file's `name:` or its folder's name unless given.
    pub project: Option<String>,
    /// The engine's Unix socket.
    pub engine: PathBuf,
    /// How often the engine is compared with the file when nothing else calls for it.
    pub reconcile: Duration,
    /// Where images come from, which are trusted, and when unused ones go.
    pub images: Images,
    /// What holds for all jobs.
    pub jobs: Jobs,
}

impl Containers {
    pub(super) fn read(mut section: Section<'_>, known: &Known<'_>) -> Option<Self> {
        let compose = section.required::<AbsolutePath>("compose");
        let project = section.optional("project");
        let engine = section.or("engine", AbsolutePath("/var/run/docker.sock".into())).0;
        let reconcile = section.or("reconcile", Duration::from_secs(30));
        if reconcile < Duration::from_secs(1) {
            section.problem_with("reconcile", "at least 1s, so that the engine has time for its work");
        }
        let images = section.section("images", |section| Images::read(section, known)).unwrap_or_default();
        let jobs = section.section("jobs", |section| Jobs::read(section, known.labels)).unwrap_or_default();
        section.finish();
        Some(Self { compose: compose?.0, project, engine, reconcile, images, jobs })
    }
}
