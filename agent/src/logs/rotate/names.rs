use super::generations::ENDINGS;
use crate::logs::source::followed::FollowedFile;
use hostwright_core::config::logs::rotate::{Period, Rotate, Suffix};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a log goes that is rotated now; nothing is there, nor anything compressed under the same name.
pub(super) fn target(log: &Path, file: &FollowedFile, settings: &Rotate, zone: &TimeZone) -> io::Result<PathBuf> {
    match settings.suffix {
        Suffix::Number => make_room(log),
        Suffix::Date => {
            // When it was last written: that is the day or hour that it is about.
            let written = Timestamp::from_nanosecond(file.modified().into()).unwrap_or_else(|_| Timestamp::now());
            let written = written.to_zoned(zone.clone());
            let second = written.strftime("%Y-%m-%dT%H%M%S").to_string();
            let first = match settings.every {
                Some(Period::Day) => written.strftime("%Y-%m-%d").to_string(),
                Some(Period::Hour) => written.strftime("%Y-%m-%dT%H").to_string(),
                None => second.clone(),
            };
            let more = (1..).map(|number| format!("{second}.{number}"));
            let names = [first, second.clone()].into_iter().chain(more);
            let paths = names.map(|name| with_suffix(log, &format!("-{name}")));
            paths.into_iter().find(|path| !is_taken(path)).ok_or_else(|| io::ErrorKind::AlreadyExists.into())
        }
    }
}

/// Moves numbered files up until `.1` is free. A gap, such as a move that was cut off leaves, is as far as it goes.
fn make_room(log: &Path) -> io::Result<PathBuf> {
    let numbered = |number: u64| with_suffix(log, &format!(".{number}"));
    let free = (1..).find(|number| !is_taken(&numbered(*number))).unwrap_or(u64::MAX);
    for number in (1..free).rev() {
        for ending in ENDINGS {
            let (from, to) = (with_suffix(&numbered(number), ending), with_suffix(&numbered(number + 1), ending));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(numbered(1))
}

fn is_taken(path: &Path) -> bool {
    ENDINGS.iter().any(|ending| with_suffix(path, ending).symlink_metadata().is_ok())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::make_room;
    use std::fs;

    #[test]
    fn numbers_move_up_as_far_as_a_gap() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let log = folder.path().join("app.log");
        let at = |suffix: &str| folder.path().join(format!("app.log{suffix}"));
        for (suffix, content) in [(".1", "1"), (".2.gz", "2"), (".4", "4")] {
            fs::write(at(suffix), content).expect("written");
        }
        assert_eq!(make_room(&log).expect("moved"), at(".1"));
        assert!(!at(".1").exists() && !at(".2.gz").exists());
        for (suffix, content) in [(".2", "1"), (".3.gz", "2"), (".4", "4")] {
            assert_eq!(fs::read_to_string(at(suffix)).expect("read"), content);
        }
    }
}
