//! The logs duty towards buckets: OpenStack Swift's S3 API, and a folder. What is in the bucket is counted.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use hostwright_tests::engines::Swift;
use hostwright_tests::engines::swift::{ACCESS_KEY, SECRET_KEY};
use hostwright_tests::numbered_log::{NumberedLog, wait_hindered, wait_well};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);
const KEYS: [(&str, &str); 2] = [("TEST_ACCESS_KEY", ACCESS_KEY), ("TEST_SECRET_KEY", SECRET_KEY)];
const BUCKET: &str = "archive";

/// An object of a bucket: what tells that it was written again, and its content.
type Objects = BTreeMap<String, (String, Vec<u8>)>;

/// A bucket that can be down.
trait Store {
    fn settings(&self) -> String;
    fn objects(&self) -> Result<Objects>;
    fn stop(&mut self) -> Result<()>;
    fn start_again(&mut self) -> Result<()>;
}

impl Store for Swift {
    fn settings(&self) -> String {
        format!("{{endpoint: '{}', bucket: {BUCKET}, credentials: {{env_prefix: TEST}}}}", self.endpoint())
    }

    fn objects(&self) -> Result<Objects> {
        let mut all = Objects::new();
        for key in self.keys(BUCKET)? {
            let content = self.object(BUCKET, &key)?.with_context(|| format!("{key} is listed and not there"))?;
            let head = self.head(BUCKET, &key)?;
            let written = head.header("x-timestamp").context("no time")?.to_owned();
            all.insert(key, (written, content));
        }
        Ok(all)
    }

    fn stop(&mut self) -> Result<()> {
        Self::stop(self)
    }

    fn start_again(&mut self) -> Result<()> {
        Self::start_again(self)
    }
}

/// A folder as a bucket; while it is down, something else is in its place.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn away(&self) -> PathBuf {
        self.path.with_extension("away")
    }
}

impl Store for Folder {
    fn settings(&self) -> String {
        format!("'file://{}'", self.path.display())
    }

    fn objects(&self) -> Result<Objects> {
        let mut all = Objects::new();
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if !is_hidden(&path) {
                    let metadata = path.metadata()?;
                    let written = format!("{} {}", metadata.ino(), metadata.mtime_nsec());
                    let key = path.strip_prefix(&self.path)?.display().to_string();
                    all.insert(key, (written, fs::read(path)?));
                }
            }
        }
        Ok(all)
    }

    fn stop(&mut self) -> Result<()> {
        fs::rename(&self.path, self.away())?;
        Ok(fs::write(&self.path, "")?)
    }

    fn start_again(&mut self) -> Result<()> {
        fs::remove_file(&self.path)?;
        Ok(fs::rename(self.away(), &self.path)?)
    }
}

/// An object on its way to its place.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// The numbers of an object's lines. It is whole, or this fails.
fn numbers(key: &str, content: &[u8]) -> Result<Vec<u64>> {
    let text = match key.ends_with(".gz") {
        true => {
            let mut text = String::new();
            GzDecoder::new(content).read_to_string(&mut text).with_context(|| format!("{key} is not whole"))?;
            text
        }
        false => String::from_utf8(zstd::decode_all(content).with_context(|| format!("{key} is not whole"))?)?,
    };
    let number = |line: &str| {
        let line: Value = serde_json::from_str(line).with_context(|| format!("in {key}: {line}"))?;
        ensure!(line["host"] == "testhost" && line["source"] == "backend", "{line}");
        line["seq"].as_u64().context("no number")
    };
    text.lines().map(number).collect()
}

fn count(objects: &Objects) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for (key, (_, content)) in objects {
        let inside = numbers(key, content)?;
        ensure!(inside.is_sorted(), "{key} is not in order");
        all.extend(inside);
    }
    all.sort_unstable();
    Ok(all)
}

fn wait_for_more(store: &impl Store, than: usize) -> Result<()> {
    eventually("more lines in the bucket", SOON, || {
        let found = count(&store.objects()?)?.len();
        ensure!(found > than, "{found} lines");
        Ok(())
    })
}

/// An application logs and rotates while the agent is killed and the bucket is down. Each line is there once.
fn lines_are_archived_once(mut store: impl Store, compress: &str) -> Result<Objects> {
    let mut app = NumberedLog::new()?;
    let output = format!("{{bucket: {{bucket: archive, compress: {compress}, roll: {{bytes: 256KiB, age: 1s}}}}}}");
    let config = format!("buckets: {{archive: {}}}\n{}", store.settings(), app.config("json", &output));
    let rotate = |app: &NumberedLog, generation: u32| {
        fs::rename(app.log(), app.folder().join(format!("log.json-2026112{generation}")))
    };
    app.write(20_000)?;
    let mut agent = AgentProcess::start_with_env(&config, &KEYS)?;
    agent.wait_ready(SOON)?;
    for generation in 0..3 {
        wait_for_more(&store, (app.written - 20_000) as usize)?;
        agent.kill9()?;
        if generation > 0 {
            rotate(&app, generation)?;
        }
        app.write(20_000)?;
        agent.start_again()?;
    }
    wait_for_more(&store, 60_000)?;
    store.stop()?;
    app.write(20_000)?;
    wait_hindered(&agent, "lines wait in their files")?;
    rotate(&app, 3)?;
    app.write(5_000)?;
    agent.kill9()?;
    agent.start_again()?;
    wait_hindered(&agent, "lines wait in their files")?;
    store.start_again()?;
    let objects = eventually("every line in the bucket", SOON, || {
        let objects = store.objects()?;
        let found = count(&objects)?;
        ensure!(found.len() as u64 >= app.written, "{} of {} lines", found.len(), app.written);
        Ok(objects)
    })?;
    let found = count(&objects)?;
    eprintln!("{} lines in {} objects, of {} written", found.len(), objects.len(), app.written);
    ensure!(found == (0..app.written).collect::<Vec<_>>(), "not each line once");
    wait_well(&agent)?;
    // What was confirmed is not written again.
    agent.terminate()?;
    app.write(10)?;
    agent.start_again()?;
    wait_for_more(&store, (app.written - 10) as usize)?;
    let later = store.objects()?;
    let changed = objects.iter().filter(|(key, (written, _))| later.get(*key).is_none_or(|other| other.0 != *written));
    ensure!(changed.count() == 0, "objects were written again");
    ensure!(count(&later)? == (0..app.written).collect::<Vec<_>>(), "not each line once");
    Ok(later)
}

#[test]
fn swift_holds_each_line_once_although_the_agent_is_killed_and_the_store_is_down() -> Result<()> {
    let swift = Swift::start()?;
    swift.create_bucket(BUCKET)?;
    let objects = lines_are_archived_once(swift, "gzip")?;
    for key in objects.keys() {
        ensure!(key.starts_with("testhost/backend/2026-11-20/10/log.json-") && key.ends_with(".ndjson.gz"), "{key}");
    }
    Ok(())
}

#[test]
fn a_folder_holds_each_line_once_although_the_agent_is_killed_and_the_folder_is_not_there() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bucket");
    fs::create_dir(&path)?;
    let objects = lines_are_archived_once(Folder { path }, "zstd")?;
    ensure!(objects.keys().all(|key| key.ends_with(".ndjson.zst")), "{:?}", objects.keys());
    Ok(())
}
