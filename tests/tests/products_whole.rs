//! Folders reach buckets whole: members first, then the manifest; in the order that is configured, told to whom it is to
//! be told, and the same after kills at any moment.

/// A folder that is watched by a real agent.
mod product_site;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hostwright_tests::engines::Swift;
use hostwright_tests::receivers::http_server::{Fault, HttpServer, Reply};
use hostwright_tests::wait::eventually;
use product_site::{LIMIT, Site, produce, swift_bucket};
use serde_json::{Value, json};

/// A finished job: its outputs, then the file that says so.
fn job(folder: &Path, id: &str, files: &[(&str, u64)]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    for (name, size) in files {
        let path = folder.join(id).join(name);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        all.push(((*name).to_owned(), produce(&path, *size)?));
    }
    let description = json!({"job_id": id, "service": "snow", "image": "si:1", "image_digest": "sha256:12",
        "started": "2026-11-21T10:00:00Z", "ended": "2026-11-21T10:05:00Z", "exit_code": 0});
    let file = folder.join(id).join(".hostwright-job.json");
    fs::write(file.with_extension("tmp"), description.to_string())?;
    fs::rename(file.with_extension("tmp"), file)?;
    Ok(all)
}

#[test]
fn a_job_s_folder_is_a_product_whose_manifest_comes_last_and_is_verified() -> Result<()> {
    let swift = Swift::start()?;
    let product = "p: {watch: FOLDER/in, bucket: b, finished: job, key: 'jobs/{job_id}', exclude: ['*/inputs/**']}";
    let site = Site::start(&swift_bucket(&swift, "images")?, product)?;
    let files = [("a.tif", 20 << 20), ("deep/b c.txt", 10), ("empty", 0), ("inputs/in.bin", 100)];
    let made = job(&site.path("in"), "j-1", &files)?;
    site.wait_uploaded(1)?;
    let bytes = swift.object("images", "jobs/j-1/_manifest.json")?.context("the manifest")?;
    let manifest: Value = serde_json::from_slice(&bytes)?;
    let listed: Vec<_> = manifest["files"].as_array().context("files")?.iter().map(|file| &file["path"]).collect();
    ensure!(listed == ["a.tif", "deep/b c.txt", "empty"], "{manifest:#}");
    ensure!(manifest["job"]["image_digest"] == "sha256:12" && manifest["bytes"] == (20 << 20) + 10, "{manifest:#}");
    for (name, content) in made.iter().filter(|(name, _)| !name.starts_with("inputs")) {
        let key = format!("jobs/j-1/{}", name.replace(' ', "%20"));
        ensure!(swift.object("images", &key)?.as_ref() == Some(content), "{key} differs");
    }
    ensure!(swift.object("images", "jobs/j-1/inputs/in.bin")?.is_none());
    let stamp = |key: &str| Ok::<_, anyhow::Error>(swift.head("images", key)?.header("x-timestamp").map(str::to_owned));
    ensure!(stamp("jobs/j-1/a.tif")? < stamp("jobs/j-1/_manifest.json")?, "the manifest is the last");
    let (text, well) = site.products(&["verify", "--deep", "jobs/"])?;
    ensure!(well && text.contains("3 files of 1 manifests"), "{text}");
    swift.put_object("images", "jobs/j-1/deep/b%20c.txt", b"0123456789")?;
    swift.put_object("images", "jobs/j-1/stray", b"x")?;
    let (text, well) = site.products(&["verify", "jobs/"])?;
    ensure!(!well && text.contains("jobs/j-1/deep/b c.txt: it has the ETag"), "{text}");
    ensure!(text.contains("jobs/j-1/stray: it is in the bucket, and not in the manifest"), "{text}");
    Ok(())
}

#[test]
fn a_folder_that_changes_gets_a_new_manifest_and_leaves_nothing_of_the_old_behind() -> Result<()> {
    let swift = Swift::start()?;
    let product = "p: {watch: FOLDER/in, bucket: b, product: folder, quiet: 500ms}";
    let site = Site::start(&swift_bucket(&swift, "images")?, product)?;
    fs::create_dir(site.path("in/f"))?;
    fs::write(site.path("in/f/a"), "one")?;
    fs::write(site.path("in/f/b"), "two")?;
    site.wait_uploaded(1)?;
    fs::remove_file(site.path("in/f/b"))?;
    fs::write(site.path("in/f/c"), "three")?;
    site.wait_uploaded(2)?;
    let keys: Vec<_> = swift.keys("images")?;
    ensure!(keys == ["f/_manifest.json", "f/a", "f/c"], "{keys:?}");
    let (text, well) = site.products(&["verify", "--deep", ""])?;
    ensure!(well && text.contains("2 files of 1 manifests"), "{text}");
    Ok(())
}

#[test]
fn killed_again_and_again_the_bucket_holds_each_folder_whole_once_and_nothing_else() -> Result<()> {
    let swift = Swift::start()?;
    let product = "p: {watch: FOLDER/in, bucket: b, finished: job, key: 'jobs/{job_id}', afterwards: delete}";
    let mut site = Site::start(&swift_bucket(&swift, "images")?, product)?;
    let mut made = Vec::new();
    for number in 0..4 {
        let id = format!("j{number}");
        let files = [("large.bin", 24 << 20), ("a", 1000), ("b", 50_000), ("deep/c", 7)];
        made.push((id.clone(), job(&site.path("in"), &id, &files)?));
    }
    // From its first moments to the last of its work, and beyond: some while it reads, sends, completes, notes, deletes.
    for kill in 0..14_u64 {
        std::thread::sleep(Duration::from_millis(150 + 210 * kill));
        site.agent.kill9()?;
        site.agent.start_again()?;
    }
    eventually("all is deleted here", 2 * LIMIT, || {
        fs::read_dir(site.path("in")).is_ok_and(|mut all| all.next().is_none())
    })?;
    let mut wanted = BTreeSet::new();
    for (id, files) in &made {
        wanted.insert(format!("jobs/{id}/_manifest.json"));
        for (name, content) in files {
            let key = format!("jobs/{id}/{name}");
            ensure!(swift.object("images", &key)?.as_ref() == Some(content), "{key} differs");
            wanted.insert(key);
        }
    }
    let keys: BTreeSet<_> =
        swift.keys("images")?.into_iter().filter(|key| !key.starts_with(".hostwright-probe")).collect();
    ensure!(keys == wanted, "{keys:?}");
    let parts = swift.keys("images+segments")?;
    ensure!(parts.iter().filter(|part| part.starts_with("jobs/")).count() == 4 * 4, "orphans: {parts:?}");
    let (text, well) = site.products(&["verify", "--deep", "jobs/"])?;
    ensure!(well && text.contains("16 files of 4 manifests"), "{text}");
    Ok(())
}

#[test]
fn notices_are_signed_and_told_again_until_they_are_taken_even_after_a_kill() -> Result<()> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let catalogue = HttpServer::start(move |request| {
        let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let all = [header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"), body];
        noted.lock().unwrap_or_else(|error| error.into_inner()).push(all);
        Reply::new(204, "")
    })?;
    catalogue.order([Fault::Status(503, Vec::new()), Fault::CutBefore]);
    let notice = format!(
        "notice: {{webhook: {{url: '{}/products', secret: {{env: TEST_SECRET_KEY}}}}, log: FOLDER/notices.log, \
         command: [/bin/sh, -c, 'cat > FOLDER/told.part && mv FOLDER/told.part FOLDER/told']}}",
        catalogue.url()
    );
    let product = format!("p: {{watch: FOLDER/in, bucket: b, quiet: 100ms, manifest: true, {notice}}}");
    let mut site = Site::start("b: 'file://FOLDER/out'", &product)?;
    produce(&site.path("in/a.tif"), 1000)?;
    site.wait_uploaded(1)?;
    site.agent.kill9()?;
    site.agent.start_again()?;
    eventually("the catalogue is told", LIMIT, || !seen.lock().unwrap_or_else(|error| error.into_inner()).is_empty())?;
    let told = seen.lock().unwrap_or_else(|error| error.into_inner())[0].clone();
    let [id, time, signature, body] = told;
    let sign = "import base64,hashlib,hmac,sys; print('v1,'+base64.b64encode(hmac.new(b'testing', \
                sys.argv[1].encode(), hashlib.sha256).digest()).decode())";
    let signed =
        std::process::Command::new("python3").args(["-c", sign]).arg(format!("{id}.{time}.{body}")).output()?;
    ensure!(String::from_utf8(signed.stdout)?.trim() == signature, "{signature} of {body}");
    let manifest: Value = serde_json::from_str(&body)?;
    ensure!(manifest["files"][0]["key"] == "a.tif" && site.path("out/a.tif.manifest.json").exists(), "{manifest:#}");
    eventually("the command has read it", LIMIT, || site.path("told").exists())?;
    ensure!(serde_json::from_slice::<Value>(&fs::read(site.path("told"))?)? == manifest);
    eventually("the log has a line", LIMIT, || {
        fs::read_to_string(site.path("notices.log")).is_ok_and(|text| text.lines().count() >= 1)
    })?;
    site.wait("nothing waits", |p| p["notices"] == 0)?;
    Ok(())
}
