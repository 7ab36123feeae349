use super::{Discovery, Earlier};
use crate::logs::positions::Position;
use crate::logs::source::Source;
use crate::logs::source::cursor::Cursor;
use crate::logs::source::followed::FollowedFile;
use crate::logs::source::identity::{Content, Digest, Point};
use flate2::Compression;
use flate2::write::GzEncoder;
use hostwright_core::config::Config;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// A search for `files` in a folder, after its first look.
fn discovery(folder: &Path, files: &str) -> Discovery {
    discovery_with(folder, files, Vec::new())
}

fn discovery_with(folder: &Path, files: &str, known: Vec<Earlier>) -> Discovery {
    discovery_of(folder, ("s", files), known)
}

fn discovery_of(folder: &Path, (name, files): (&str, &str), known: Vec<Earlier>) -> Discovery {
    let text = format!(
        "logs:\n  sources:\n    {name}: {{files: ['{}/{files}'], outputs: [o]}}\n  outputs:\n    o: {{file: {{path: /o}}}}\n",
        folder.display()
    );
    let logs = Config::parse(&text, "agent.yaml").expect("a config").logs.expect("logs");
    let source = Source::new(name, &logs.sources[name], folder).expect("a source");
    let mut discovery = Discovery::new(&[Arc::new(source)], known, HashSet::new(), folder).expect("a search");
    discovery.scan();
    discovery
}

fn content(file: &FollowedFile) -> String {
    let mut bytes = [0; 100];
    let length = file.file.fill_at(&mut bytes, 0).expect("read");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

fn contents(discovery: &Discovery) -> Vec<String> {
    discovery.files().borrow().iter().map(|file| content(file)).collect()
}

/// Time for a clock tick.
fn tick() {
    sleep(Duration::from_millis(20));
}

#[tokio::test]
async fn a_deleted_file_that_an_output_lacks_is_followed_on_by_the_next_search() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let log = folder.path().join("log");
    fs::write(folder.path().join("log.1"), "zero\n").expect("written");
    tick();
    fs::write(&log, "one\ntwo\n").expect("written");
    let mut first = discovery(folder.path(), "log*");
    fs::remove_file(&log).expect("deleted");
    tick();
    fs::write(&log, "three\n").expect("written");
    first.scan();
    drop(first);
    for _ in 0..2 {
        let next = discovery(folder.path(), "log*");
        assert_eq!(contents(&next), ["zero\n", "one\ntwo\n", "three\n"]);
        let files = next.files().borrow().clone();
        assert!(files.iter().all(|file| (&*file.origin, &*file.family) == (log.as_path(), log.as_path())));
        assert_eq!(files.iter().filter(|file| file.path().is_none()).count(), 1);
    }
    let other = tempfile::tempdir().expect("temporary folder");
    assert_eq!(discovery(other.path(), "log*").files().borrow().len(), 0, "of another duty");
    let of = |name: &str, files: &str| contents(&discovery_of(folder.path(), (name, files), Vec::new()));
    assert_eq!(of("renamed", "log*"), ["zero\n", "one\ntwo\n", "three\n"]);
    assert_eq!(of("another", "other*"), [""; 0], "that does not ask for it");
}

#[tokio::test]
async fn what_is_compressed_of_a_deleted_file_is_not_followed_beside_it_by_the_next_search() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (log, rotated) = (folder.path().join("log"), folder.path().join("log.1"));
    fs::write(&log, "one\ntwo\n").expect("written");
    let mut first = discovery(folder.path(), "log*");
    fs::rename(&log, &rotated).expect("renamed");
    first.scan();
    compress(&folder.path().join("log.1.gz"), "one\ntwo\n");
    fs::remove_file(&rotated).expect("deleted");
    first.scan();
    drop(first);
    let mut position = Position::at_end_of(b"one\n");
    position.path = log.to_string_lossy().into_owned();
    let next = discovery_with(folder.path(), "log*", vec![Earlier { output: "o".into(), position }]);
    assert_eq!(contents(&next), ["one\ntwo\n"]);
    let files = next.files().borrow().clone();
    assert!(files.iter().all(|file| !file.is_compressed()));
}

#[tokio::test]
async fn what_was_rotated_before_its_log_was_ever_seen_comes_before_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut discovery = discovery(folder.path(), "log");
    compress(&folder.path().join("log.2.gz"), "one\n");
    tick();
    fs::write(folder.path().join("log.1"), "two\n").expect("written");
    tick();
    fs::write(folder.path().join("log"), "three\n").expect("written");
    // What is older, or of another log, is not asked for.
    let old = File::create(folder.path().join("log.3")).expect("created");
    old.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("set");
    fs::write(folder.path().join("other.1"), "no\n").expect("written");
    discovery.scan();
    assert_eq!(contents(&discovery), ["one\n", "two\n", "three\n"]);
}

#[tokio::test]
async fn a_copy_that_comes_up_with_its_log_is_not_followed_beside_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut discovery = discovery(folder.path(), "log");
    fs::write(folder.path().join("log"), "one\ntwo\n").expect("written");
    fs::write(folder.path().join("log.1"), "one\n").expect("written");
    compress(&folder.path().join("log.2.gz"), "one\n");
    discovery.scan();
    assert_eq!(contents(&discovery), ["one\ntwo\n"]);
}

#[tokio::test]
async fn a_rotated_file_of_a_time_that_is_yet_to_come_ends_with_its_unfinished_line() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let log = folder.path().join("log");
    fs::write(&log, "one\ntw").expect("written");
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    File::options().append(true).open(&log).and_then(|file| file.set_modified(tomorrow)).expect("set");
    let mut discovery = discovery(folder.path(), "log");
    fs::rename(&log, folder.path().join("log.1")).expect("renamed");
    let (start, mut lines) = (Instant::now(), Vec::new());
    while lines.is_empty() && start.elapsed() < Duration::from_secs(20) {
        discovery.scan();
        let file = discovery.files().borrow()[0].clone();
        if file.has_ended() {
            let mut cursor = Cursor::new(file, 0, Point::default(), Digest::default(), 1);
            let read = |line: crate::logs::source::lines::Line<'_>| lines.push(line.bytes.to_vec());
            cursor.read(&mut Vec::new(), None, read).expect("read");
        }
        sleep(Duration::from_millis(100));
    }
    assert_eq!(lines, [b"one".to_vec(), b"tw".to_vec()]);
}

fn compress(path: &Path, content: &str) {
    let mut encoder = GzEncoder::new(File::create(path).expect("created"), Compression::fast());
    encoder.write_all(content.as_bytes()).and_then(|()| encoder.finish().map(drop)).expect("written");
}
