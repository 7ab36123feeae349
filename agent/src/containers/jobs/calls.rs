use super::book::Content;
use crate::containers::compose::{Project, Source};
use globset::Glob;
use hostwright_core::config::containers::jobs::{Schedule, When};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file that was written to a moment ago may not be whole.
const SETTLED: Duration = Duration::from_secs(2);
/// So many missed times are counted.
const MOST_MISSED: u64 = 1000;
/// So many files of a folder are looked at, and so many are started for at a look.
const MOST_FILES: usize = 100_000;
const MOST_AT_ONCE: usize = 100;

/// A time that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub at: Timestamp,
    /// So many earlier times had no run, because nobody was there.
    pub missed: u64,
}

/// The last time of a schedule that has come since it was looked at; notes the look.
pub fn due(content: &mut Content, service: &str, schedule: &Schedule, now: Timestamp) -> Option<Due> {
    let Some(since) = content.scheduled.get(service).copied() else {
        // At first sight nothing was missed.
        content.scheduled.insert(service.to_owned(), now);
        return None;
    };
    let mut due: Option<Due> = None;
    let mut at = since;
    while let Some(next) = schedule.next(at).filter(|next| *next <= now && *next > at) {
        let missed = due.map_or(0, |due| due.missed + 1);
        due = Some(Due { at: next, missed });
        at = next;
        if missed >= MOST_MISSED {
            break;
        }
    }
    if due.is_some() {
        content.scheduled.insert(service.to_owned(), now);
    }
    due
}

/// Files that have appeared, or have another content, since the last look; notes them.
///
/// # Errors
/// The folder cannot be listed.
pub fn appeared(content: &mut Content, service: &str, when: &When) -> Result<Vec<PathBuf>, String> {
    let glob = Glob::new(&when.file).map_err(|error| error.to_string())?.compile_matcher();
    let cannot = |error: std::io::Error| {
        format!("the job {service} waits for files in {}, which cannot be listed: {error}", when.folder.display())
    };
    let mut present = BTreeMap::new();
    for entry in std::fs::read_dir(&when.folder).map_err(cannot)?.take(MOST_FILES) {
        let entry = entry.map_err(cannot)?;
        if !glob.is_match(entry.file_name()) {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        let is_settled = metadata.modified().is_ok_and(|time| {
            // A time in the future is no reason to wait for ever.
            SystemTime::now().duration_since(time).map_or(true, |age| age >= SETTLED)
        });
        if metadata.is_file() && is_settled {
            let version = format!("{}-{}-{}", metadata.mtime(), metadata.mtime_nsec(), metadata.size());
            present.insert(entry.path().display().to_string(), version);
        }
    }
    let seen = content.files.entry(service.to_owned()).or_default();
    // One that is gone and comes again is new.
    seen.retain(|path, _| Path::new(path).exists());
    let new: Vec<_> =
        present.into_iter().filter(|(path, version)| seen.get(path) != Some(version)).take(MOST_AT_ONCE).collect();
    seen.extend(new.iter().cloned());
    Ok(new.into_iter().map(|(path, _)| path.into()).collect())
}

/// A file of the host as a service's container sees it, where a bind mount has it.
pub fn seen_inside(project: &Project, service: &str, file: &Path) -> PathBuf {
    for mount in &project.services[service].mounts {
        if let Source::Bind { path, .. } = &mount.source
            && let Ok(rest) = file.strip_prefix(path)
        {
            return Path::new(&mount.target).join(rest);
        }
    }
    file.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Content, Due, appeared, due, seen_inside};
    use crate::containers::fixture::project;
    use hostwright_core::config::Config;
    use hostwright_core::config::containers::jobs::{Job, When};
    use jiff::Timestamp;
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    fn job() -> Job {
        let text = "containers: {compose: /c, jobs: {services: {j: {schedule: '0 * * * *', time_zone: UTC}}}}\n";
        let config = Config::parse(text, "agent.yaml").expect("valid");
        config.containers.expect("present").jobs.services["j"].clone()
    }

    #[test]
    fn a_time_calls_once_and_missed_ones_call_once_together() {
        let schedule = job().schedule.expect("present");
        let time = |text: &str| format!("2026-11-21T{text}:00Z").parse::<Timestamp>().expect("a time");
        let mut content = Content::default();
        assert_eq!(due(&mut content, "j", &schedule, time("10:30")), None);
        assert_eq!(due(&mut content, "j", &schedule, time("10:59")), None);
        assert_eq!(due(&mut content, "j", &schedule, time("11:00")), Some(Due { at: time("11:00"), missed: 0 }));
        assert_eq!(due(&mut content, "j", &schedule, time("11:01")), None);
        assert_eq!(due(&mut content, "j", &schedule, time("14:20")), Some(Due { at: time("14:00"), missed: 2 }));
    }

    #[test]
    fn a_file_calls_once_when_it_is_still_and_again_when_it_has_changed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let when = When { folder: folder.path().to_owned(), file: "*.csv".into() };
        let old = |name: &str, text: &str, seconds: u64| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            let time = SystemTime::now() - Duration::from_secs(seconds);
            File::options().append(true).open(path).and_then(|file| file.set_modified(time)).expect("dated");
        };
        old("a.csv", "1", 10);
        old("b.txt", "1", 10);
        old("c.csv", "1", 0);
        let mut content = Content::default();
        let mut names = || -> Vec<String> {
            let found = appeared(&mut content, "j", &when).expect("listed").into_iter();
            found.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(), ["a.csv"]);
        assert!(names().is_empty());
        old("a.csv", "12", 20);
        old("c.csv", "1", 5);
        assert_eq!(names(), ["a.csv", "c.csv"]);
        let nowhere = When { folder: "/nowhere".into(), ..when };
        assert!(appeared(&mut content, "j", &nowhere).is_err_and(|why| why.contains("cannot be listed")));
    }

    #[test]
    fn a_file_is_named_as_the_container_sees_it() {
        let project = project("services: {s: {image: i, volumes: ['/srv/in:/in:ro']}}\n");
        assert_eq!(seen_inside(&project, "s", "/srv/in/a/b.csv".as_ref()).display().to_string(), "/in/a/b.csv");
        assert_eq!(seen_inside(&project, "s", "/other/b.csv".as_ref()).display().to_string(), "/other/b.csv");
    }
}
