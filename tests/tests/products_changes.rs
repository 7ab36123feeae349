//! What changes, is renamed or goes away while it is uploaded, and the way to the bucket that does: afterwards each product
//! is whole once in the bucket, and nothing else lies there.

/// A folder that is watched by a real agent.
mod product_site;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hostwright_tests::certificates::Certificates;
use hostwright_tests::engines::Swift;
use hostwright_tests::engines::swift::{ACCESS_KEY, SECRET_KEY};
use hostwright_tests::front::{Front, Moment};
use hostwright_tests::process::binary;
use hostwright_tests::proxy::ForwardProxy;
use hostwright_tests::server::Server;
use hostwright_tests::wait::eventually;
use product_site::{LIMIT, Site, produce};

/// Four parts of 6 MiB.
const LARGE: u64 = 20 << 20;

/// Far less than the minute of the slowest pace.
const SOON: Duration = Duration::from_secs(30);

/// A site before a store in which requests can be made to stand still.
struct Stage {
    swift: Swift,
    front: Front,
    site: Site,
}

impl Stage {
    fn set(product: &str) -> Result<Self> {
        let swift = Swift::start()?;
        swift.create_bucket("images")?;
        let front = Front::start(&swift.endpoint(), None)?;
        let bucket =
            format!("b: {{endpoint: '{}', bucket: images, credentials: {{env_prefix: TEST}}}}", front.endpoint());
        let mut site = Site::start(&bucket, &format!("p: {{watch: FOLDER/in, bucket: b, {product}}}"))?;
        site.agent.wait_ready(LIMIT)?;
        Ok(Self { swift, front, site })
    }

    /// Renames a folder with two small files and a large one into place.
    fn produce(&self, name: &str) -> Result<BTreeMap<&'static str, Vec<u8>>> {
        let made = self.site.path("making");
        fs::create_dir(&made)?;
        let files = [("a", 1000), ("b", 2000), ("large.tif", LARGE)];
        let files = files.into_iter().map(|(file, size)| Ok((file, produce(&made.join(file), size)?)));
        let files = files.collect::<Result<_>>()?;
        fs::rename(made, self.site.path("in").join(name))?;
        Ok(files)
    }

    /// The bucket has this folder with its manifest, and nothing else; nor are there parts of anything else.
    fn holds_alone(&self, name: &str, files: &BTreeMap<&str, Vec<u8>>) -> Result<()> {
        let mut wanted: Vec<_> = files.keys().map(|file| format!("{name}/{file}")).collect();
        wanted.insert(0, format!("{name}/_manifest.json"));
        let keys = self.swift.keys("images")?;
        ensure!(keys == wanted, "{keys:?}");
        for (file, content) in files {
            ensure!(
                self.swift.object("images", &format!("{name}/{file}"))?.as_ref() == Some(content),
                "{file} differs"
            );
        }
        let parts = self.swift.keys("images+segments")?;
        let others = parts.iter().filter(|part| !part.starts_with(&format!("{name}/large.tif/")));
        let others: Vec<_> = others.filter(|part| !part.starts_with(".hostwright-probe")).collect();
        ensure!(others.is_empty() && parts.len() >= 4, "{parts:?}");
        let (text, well) = self.site.products(&["verify", "--deep", ""])?;
        ensure!(well && text.contains(&format!("{} files of 1 manifests", files.len())), "{text}");
        Ok(())
    }
}

/// What stands in the files of a folder.
fn read_all(folder: &Path) -> Result<String> {
    let files = fs::read_dir(folder)?.flatten().filter(|entry| entry.path().is_file());
    let texts = files.map(|file| Ok(String::from_utf8_lossy(&fs::read(file.path())?).into_owned()));
    texts.collect()
}

#[test]
fn a_folder_that_is_renamed_while_it_is_uploaded_is_there_under_its_new_name_alone() -> Result<()> {
    let mut stage = Stage::set("product: folder, finished: renamed")?;
    let hold = stage.front.hold(&["partNumber=2"], Moment::Before);
    let files = stage.produce("first")?;
    hold.wait(LIMIT)?;
    eventually("the small files are there", LIMIT, || Ok(stage.swift.keys("images")?.len() == 2).and_then(must))?;
    fs::rename(stage.site.path("in/first"), stage.site.path("in/second"))?;
    drop(hold);
    stage.site.wait_uploaded(1)?;
    eventually("it is alone", LIMIT, || stage.holds_alone("second", &files))?;
    // And while nobody looks.
    let hold = stage.front.hold(&["third", "partNumber=2"], Moment::After);
    fs::rename(stage.site.path("in/second"), stage.site.path("in/third"))?;
    hold.wait(LIMIT)?;
    eventually("the small files", LIMIT, || Ok(stage.swift.keys("images")?.len() == 6).and_then(must))?;
    // What was noted of them is written within a moment.
    eventually("the notes are durable", LIMIT, || {
        let notes = read_all(&stage.site.agent.state_folder().join("products"))?;
        must(["third/a", "third/b"].iter().all(|key| notes.contains(key)))
    })?;
    stage.site.agent.kill9()?;
    drop(hold);
    fs::remove_dir_all(stage.site.path("in/third"))?;
    stage.site.agent.start_again()?;
    eventually("what was sent is taken back", LIMIT, || stage.holds_alone("second", &files))
}

#[test]
fn a_folder_that_loses_and_gains_files_while_it_is_uploaded_is_there_as_it_is_in_the_end() -> Result<()> {
    let stage = Stage::set("product: folder, quiet: 300ms")?;
    let hold = stage.front.hold(&["partNumber=2"], Moment::Before);
    let mut files = stage.produce("run")?;
    hold.wait(LIMIT)?;
    eventually("the small files are there", LIMIT, || Ok(stage.swift.keys("images")?.len() == 2).and_then(must))?;
    let change = |files: &mut BTreeMap<&'static str, Vec<u8>>, (from, to)| -> Result<()> {
        fs::rename(stage.site.path("in/run").join(from), stage.site.path("in/run").join(to))?;
        let content = files.remove(from).context("it is there")?;
        files.insert(to, content);
        Ok(())
    };
    change(&mut files, ("b", "c"))?;
    drop(hold);
    stage.site.wait_uploaded(1)?;
    eventually("no file of before is left", LIMIT, || stage.holds_alone("run", &files))?;
    // Whole before, and changed twice: its manifest is gone when the second change comes.
    let hold = stage.front.hold(&["PUT ", "run/d"], Moment::After);
    change(&mut files, ("c", "d"))?;
    hold.wait(LIMIT)?;
    change(&mut files, ("d", "e"))?;
    drop(hold);
    stage.site.wait_uploaded(2)?;
    eventually("no file of before is left", LIMIT, || stage.holds_alone("run", &files))
}

/// What happens to a file in the middle of its upload.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Renamed,
    Deleted,
    MovedAway,
    /// Another content is renamed to its name.
    Replaced,
}

/// At each stage, of one request and of parts: the bucket ends with what is there, once, and with no parts of anything else.
/// What is deleted or moved away when it has arrived stays: it was finished, and nobody else may have it.
#[test]
fn a_file_that_is_renamed_deleted_or_replaced_while_it_is_uploaded_is_there_as_it_is_in_the_end() -> Result<()> {
    let stage = Stage::set("finished: renamed")?;
    let stages: [(&str, u64, &[&str], Moment); 4] = [
        ("single", 1 << 20, &["PUT "], Moment::Before),
        ("stored", 1 << 20, &["PUT "], Moment::After),
        ("part", LARGE, &["partNumber=2"], Moment::Before),
        ("completed", LARGE, &["POST ", "uploadId="], Moment::After),
    ];
    let mut wanted = BTreeMap::new();
    for (name, size, words, moment) in stages {
        for fate in [Fate::Renamed, Fate::Deleted, Fate::MovedAway, Fate::Replaced] {
            let first = format!("{name}-{fate:?}.tif");
            let path = stage.site.path("in").join(&first);
            let hold = stage.front.hold(&[words, &[first.as_str()]].concat(), moment);
            let content = produce(&path, size)?;
            hold.wait(LIMIT).with_context(|| first.clone())?;
            // Parts are read while they are sent: what goes before the last of them goes from the bucket too.
            let arrives = name != "part";
            match fate {
                Fate::Renamed => {
                    let last = format!("{name}-last.tif");
                    fs::rename(&path, path.with_file_name(&last))?;
                    wanted.insert(last, content);
                }
                Fate::Deleted => {
                    fs::remove_file(&path)?;
                    wanted.extend(arrives.then_some((first, content)));
                }
                Fate::MovedAway => {
                    fs::rename(&path, stage.site.path(&first))?;
                    wanted.extend(arrives.then_some((first, content)));
                }
                Fate::Replaced => drop(wanted.insert(first, produce(&path, size)?)),
            }
            drop(hold);
        }
    }
    let keys: Vec<_> = wanted.keys().cloned().collect();
    eventually("what is there, alone", LIMIT, || {
        let there = stage.swift.keys("images")?;
        ensure!(there == keys, "{there:#?}\nin place of {keys:#?}\n{}", stage.site.agent.output());
        for (key, content) in &wanted {
            ensure!(stage.swift.object("images", key)?.as_ref() == Some(content), "{key} differs");
        }
        let of = |part: &String| part.split('/').next().unwrap_or_default().to_owned();
        let parts = stage.swift.keys("images+segments")?;
        let others: Vec<_> = parts.iter().filter(|part| !part.starts_with('.') && !keys.contains(&of(part))).collect();
        ensure!(others.is_empty(), "orphans: {others:?}");
        Ok(())
    })
}

/// Whoever makes the bucket again waits for no restart and for no slow pace: what is tried is one small question.
#[test]
fn a_bucket_that_is_deleted_and_made_again_while_the_agent_restarts_gets_all_that_waits() -> Result<()> {
    let mut stage = Stage::set("quiet: 300ms")?;
    produce(&stage.site.path("in/first.tif"), LARGE)?;
    stage.site.wait_uploaded(1)?;
    let mut wanted = Vec::new();
    for (round, moment) in [Moment::Before, Moment::After].into_iter().enumerate() {
        let hold = stage.front.hold(&["partNumber=2"], moment);
        let large = format!("large{round}.tif");
        wanted.push((large.clone(), produce(&stage.site.path("in").join(large), LARGE)?));
        hold.wait(LIMIT)?;
        stage.site.agent.kill9()?;
        drop(hold);
        stage.swift.delete_bucket("images")?;
        let small = format!("small{round}.tif");
        wanted.push((small.clone(), produce(&stage.site.path("in").join(small), 1000)?));
        stage.site.agent.start_again()?;
        stage.site.wait_why("no such bucket")?;
        let asked = Cell::new(0);
        eventually("it is asked again", LIMIT, || {
            let lines = stage.front.requests();
            asked.set(asked.get() + lines.iter().filter(|line| line.contains("list-type=2")).count());
            must(asked.get() >= 4)
        })?;
        stage.swift.create_bucket("images")?;
        for (key, content) in &wanted[wanted.len() - 2..] {
            let is_there = || must(stage.swift.object("images", key)?.as_ref() == Some(content));
            eventually("it is there", SOON, is_there).with_context(|| stage.site.agent.output())?;
        }
    }
    let others = stage.swift.keys("images+segments")?.into_iter().filter(|part| !part.starts_with("large1.tif/"));
    ensure!(others.count() == 0, "parts are left");
    Ok(())
}

/// What has arrived is not sent again, however often the way there breaks.
#[test]
fn through_a_proxy_that_dies_again_and_again_all_arrives() -> Result<()> {
    let (swift, mut proxy) = (Swift::start()?, ForwardProxy::start(None)?);
    swift.create_bucket("images")?;
    let certificates = Certificates::make()?;
    let front = Front::start(&swift.endpoint(), Some(&certificates))?;
    let bucket = format!(
        "b: {{endpoint: '{}', bucket: images, credentials: {{env_prefix: TEST}}, proxy: 'http://{}', bandwidth: 15MiB, \
         tls: {{ca: {}}}}}",
        front.endpoint(),
        proxy.address(),
        certificates.path("ca.pem")
    );
    let mut site = Site::start(&bucket, "p: {watch: FOLDER/in, bucket: b, finished: renamed}")?;
    site.agent.wait_ready(LIMIT)?;
    let large = produce(&site.path("in/large.tif"), 60 << 20)?;
    for at_least in [1, 4, 7] {
        let parts = || Ok(swift.keys("images+segments")?.iter().filter(|key| key.starts_with("large")).count());
        eventually("parts in the store", LIMIT, || parts().and_then(|parts| must(parts >= at_least)))?;
        proxy.kill()?;
        proxy.start_again()?;
    }
    site.wait_uploaded(1)?;
    ensure!(swift.object("images", "large.tif")? == Some(large), "it differs");
    let parts = swift.keys("images+segments")?.iter().filter(|key| key.starts_with("large")).count();
    ensure!(parts == 10 && proxy.told().contains("CONNECT 127.0.0.1"), "{parts} parts: {}", proxy.told());
    Ok(())
}

/// The agent in a mount namespace whose hosts file is the test's, and which has no other way to names.
#[test]
fn a_name_that_is_not_found_is_said_and_when_it_is_again_all_arrives() -> Result<()> {
    let (mut swift, folder) = (Swift::start()?, tempfile::tempdir_in("/var/tmp")?);
    swift.create_bucket("images")?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let port = swift.endpoint().rsplit(':').next().context("a port")?.to_owned();
    for (name, text) in [("hosts", ""), ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")] {
        fs::write(path(name), text)?;
    }
    fs::write(path("nsswitch.conf"), "hosts: files dns\n")?;
    let config = format!(
        "buckets: {{b: {{endpoint: 'http://store.test:{port}', bucket: images, credentials: {{env_prefix: TEST}}}}}}\n\
         products: {{p: {{watch: {}, bucket: b, finished: renamed}}}}\n",
        path("in")
    );
    fs::write(path("agent.yaml"), config)?;
    for name in ["in", "state", "run"] {
        fs::create_dir(path(name))?;
    }
    let script = format!(
        "for name in hosts resolv.conf nsswitch.conf; do mount --bind {}/$name /etc/$name || exit 9; done; exec \"$0\" run \
         --config {}",
        folder.path().display(),
        path("agent.yaml")
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).arg(binary("hostwright-agent")?);
    command.env("STATE_DIRECTORY", path("state")).env("RUNTIME_DIRECTORY", path("run"));
    command.env("TEST_ACCESS_KEY", ACCESS_KEY).env("TEST_SECRET_KEY", SECRET_KEY);
    let agent = Server::start(&command, &folder.path().join("log"))?;
    let fails = |times: usize| must(agent.log().matches("name resolution").count() >= times);
    let named = "127.0.0.1 store.test\n";
    for (times, name) in ["first.tif", "second.tif"].into_iter().enumerate() {
        let content = produce(&folder.path().join("in").join(name), 20 << 20)?;
        eventually("it is said", LIMIT, || fails(times + 1).with_context(|| agent.log()))?;
        fs::write(path("hosts"), named)?;
        eventually("it arrives", LIMIT, || must(swift.object("images", name)?.as_ref() == Some(&content)))?;
        fs::write(path("hosts"), "")?;
        // What is connected needs no name.
        swift.stop()?;
        swift.start_again()?;
    }
    ensure!(swift.keys("images")?.iter().filter(|key| !key.starts_with('.')).count() == 2);
    Ok(())
}

fn must(holds: bool) -> Result<()> {
    ensure!(holds, "not yet");
    Ok(())
}
