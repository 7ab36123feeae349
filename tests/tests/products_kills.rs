//! SIGKILL at each stage of an upload, which a front before the store makes the agent stand still in: afterwards the
//! bucket holds the product whole, once, and no part of an upload that was cut off.

/// A folder that is watched by a real agent.
mod product_site;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hostwright_tests::engines::Swift;
use hostwright_tests::front::{Front, Moment};
use hostwright_tests::receivers::http_server::{HttpServer, Reply};
use hostwright_tests::wait::eventually;
use product_site::{LIMIT, Site, produce};

/// Four parts, and a small file beside them.
const LARGE: u64 = 20 << 20;
const PARTS: usize = 4;

/// A stage: its name, what the request has in its first line, and when it stands still.
type Stage = (&'static str, &'static [&'static str], Moment);
const STAGES: [Stage; 9] = [
    ("found", &["GET ", "list-type=2"], Moment::Before),
    ("sealed", &["POST ", "?uploads"], Moment::Before),
    ("begun", &["POST ", "?uploads"], Moment::After),
    ("first-part", &["partNumber=1"], Moment::Before),
    ("part-sent", &["partNumber=2"], Moment::After),
    ("all-parts-sent", &["POST ", "uploadId="], Moment::Before),
    ("completed", &["POST ", "uploadId="], Moment::After),
    ("before-manifest", &["PUT ", "_manifest.json"], Moment::Before),
    ("manifest", &["PUT ", "_manifest.json"], Moment::After),
];

/// A bucket, what stands before it, and an agent that watches a folder and is ready.
fn behind_a_front(product: &str) -> Result<(Swift, Front, Site)> {
    let swift = Swift::start()?;
    swift.create_bucket("images")?;
    let front = Front::start(&swift.endpoint(), None)?;
    let buckets = format!("b: {{endpoint: '{}', bucket: images, credentials: {{env_prefix: TEST}}}}", front.endpoint());
    let mut site = Site::start(&buckets, product)?;
    site.agent.wait_ready(LIMIT)?;
    Ok((swift, front, site))
}

#[test]
fn killed_at_each_stage_of_an_upload_the_product_is_whole_and_there_once() -> Result<()> {
    let (swift, front, mut site) =
        behind_a_front("p: {watch: FOLDER/in, bucket: b, product: folder, quiet: 300ms, afterwards: delete}")?;
    let mut wanted = BTreeMap::new();
    for (number, (name, words, moment)) in STAGES.into_iter().enumerate() {
        // What is found waits while the bucket is asked for the first time.
        let at_start = name == "found";
        if at_start {
            site.agent.kill9()?;
        }
        let hold = front.hold(words, moment);
        let made = site.path("making");
        fs::create_dir(&made)?;
        wanted.insert(format!("{name}/large.tif"), produce(&made.join("large.tif"), LARGE)?);
        wanted.insert(format!("{name}/a b"), produce(&made.join("a b"), 1000)?);
        fs::rename(made, site.path("in").join(name))?;
        if at_start {
            site.agent.start_again()?;
        }
        hold.wait(LIMIT).with_context(|| name)?;
        if at_start {
            site.wait("it is found", |p| p["waiting"] == 1)?;
        }
        site.agent.kill9()?;
        drop(hold);
        let seen = swift.keys("images")?;
        let is_whole = seen.iter().any(|key| *key == format!("{name}/_manifest.json"));
        ensure!(is_whole == (name == "manifest"), "{name}: {seen:?}");
        site.agent.start_again()?;
        site.wait_uploaded(number as u64 + 1).with_context(|| name)?;
    }
    eventually("all is deleted here", LIMIT, || Ok(fs::read_dir(site.path("in"))?.next().is_none()).and_then(must))?;
    for (key, content) in &wanted {
        let stored = swift.object("images", &key.replace(' ', "%20"))?;
        ensure!(stored.as_ref() == Some(content), "{key} differs");
    }
    let keys = swift.keys("images")?;
    let expected = wanted.len() + STAGES.len();
    ensure!(keys.iter().filter(|key| !key.starts_with(".hostwright-probe")).count() == expected, "{keys:?}");
    let parts = swift.keys("images+segments")?;
    for (name, ..) in STAGES {
        let own = parts.iter().filter(|part| part.starts_with(&format!("{name}/"))).count();
        ensure!(own == PARTS, "{name}: {parts:?}");
    }
    let (text, well) = site.products(&["verify", "--deep", ""])?;
    ensure!(well && text.contains("18 files of 9 manifests"), "{text}");
    Ok(())
}

/// A store may take a part whose sender is gone, and tells nobody of one that comes after its upload was aborted.
#[test]
fn killed_while_a_part_is_on_its_way_no_part_is_left_of_a_product_that_is_gone() -> Result<()> {
    let (swift, front, mut site) = behind_a_front("p: {watch: FOLDER/in, bucket: b, finished: renamed}")?;
    let hold = front.hold(&["partNumber=1"], Moment::Late);
    produce(&site.path("in/large.tif"), LARGE)?;
    hold.wait(LIMIT)?;
    site.agent.kill9()?;
    fs::remove_file(site.path("in/large.tif"))?;
    front.requests();
    site.agent.start_again()?;
    front.wait_for("GET /images/?list-type=2", LIMIT)?;
    // Time enough to clear its parts at once.
    std::thread::sleep(Duration::from_secs(2));
    drop(hold);
    site.agent.wait_ready(LIMIT)?;
    ensure!(site.agent.output().contains("cleared the parts of an upload of \"large.tif\""), "{}", site.agent.output());
    // What comes late has come.
    std::thread::sleep(Duration::from_secs(1));
    let parts = swift.keys("images+segments")?;
    ensure!(!parts.iter().any(|part| part.starts_with("large.tif/")), "orphans: {parts:?}");
    Ok(())
}

/// Killed when a folder's object or its manifest has just arrived, and the folder goes before the agent is back: either
/// all of it stays, with its manifest, or nothing.
#[test]
fn killed_as_a_folders_object_arrives_nothing_is_left_that_nobody_knows_of() -> Result<()> {
    let (swift, front, mut site) =
        behind_a_front("p: {watch: FOLDER/in, bucket: b, product: folder, finished: renamed}")?;
    for (name, words) in [("first", "/a%20b"), ("second", "/z"), ("whole", "_manifest.json")] {
        let hold = front.hold(&["PUT ", words], Moment::After);
        let made = site.path("making");
        fs::create_dir(&made)?;
        for file in ["a b", "z"] {
            produce(&made.join(file), 1000)?;
        }
        fs::rename(made, site.path("in").join(name))?;
        hold.wait(LIMIT).with_context(|| name)?;
        site.agent.kill9()?;
        drop(hold);
        ensure!(swift.keys("images")?.iter().any(|key| key.starts_with(name)), "{name}");
        fs::remove_dir_all(site.path("in").join(name))?;
        site.agent.start_again()?;
        site.agent.wait_ready(LIMIT)?;
        let wanted: &[&str] = match name {
            "whole" => &["whole/_manifest.json", "whole/a b", "whole/z"],
            _ => &[],
        };
        let settled = || {
            let keys = swift.keys("images")?;
            ensure!(keys == wanted, "{name}: {keys:?}");
            Ok(())
        };
        eventually("all or nothing of it", LIMIT, settled)?;
        // What is to be deleted is deleted before the first upload.
        produce_folder(&site, "probe")?;
        site.wait("it is there", |p| p["waiting"] == 0 && p["uploaded"] != 0)?;
        eventually("it is there", LIMIT, || must(swift.keys("images")?.contains(&"probe/_manifest.json".to_owned())))?;
        let keys: Vec<_> = swift.keys("images")?.into_iter().filter(|key| !key.starts_with("probe")).collect();
        ensure!(keys == wanted, "{name}, later: {keys:?}");
        fs::remove_dir_all(site.path("in/probe"))?;
        for key in ["probe/_manifest.json", "probe/a"] {
            swift.delete_object("images", key)?;
        }
    }
    let (text, well) = site.products(&["verify", "--deep", ""])?;
    ensure!(well && text.contains("2 files of 1 manifests"), "{text}");
    Ok(())
}

fn produce_folder(site: &Site, name: &str) -> Result<()> {
    let made = site.path("making");
    fs::create_dir(&made)?;
    produce(&made.join("a"), 1000)?;
    Ok(fs::rename(made, site.path("in").join(name))?)
}

fn must(holds: bool) -> Result<()> {
    ensure!(holds, "not yet");
    Ok(())
}

#[test]
fn killed_while_somebody_is_told_he_is_told_again_with_the_same_id() -> Result<()> {
    let (ids, silent) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(true)));
    let (noted, waits, heard) = (ids.clone(), silent.clone(), Arc::new(AtomicUsize::new(0)));
    let hears = heard.clone();
    let catalogue = HttpServer::start(move |request| {
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        noted.lock().unwrap_or_else(|error| error.into_inner()).push(id);
        hears.fetch_add(1, Ordering::SeqCst);
        while waits.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
        Reply::new(204, "")
    })?;
    let notice = format!("notice: {{webhook: {{url: '{}/p', secret: {{env: TEST_SECRET_KEY}}}}}}", catalogue.url());
    let product = format!("p: {{watch: FOLDER/in, bucket: b, finished: renamed, {notice}}}");
    let mut site = Site::start("b: 'file://FOLDER/out'", &product)?;
    site.agent.wait_ready(LIMIT)?;
    let content = produce(&site.path("in/a.tif"), 1000)?;
    eventually("the catalogue is told", LIMIT, || must(heard.load(Ordering::SeqCst) == 1))?;
    site.agent.kill9()?;
    silent.store(false, Ordering::SeqCst);
    site.agent.start_again()?;
    eventually("it is told again", LIMIT, || must(heard.load(Ordering::SeqCst) >= 2))?;
    site.wait("nothing waits", |p| p["notices"] == 0 && p["waiting"] == 0)?;
    let ids = ids.lock().unwrap_or_else(|error| error.into_inner()).clone();
    ensure!(ids.iter().all(|id| *id == ids[0] && !id.is_empty()), "{ids:?}");
    site.wait_file("out/a.tif", &content)
}
