//! What befalls products at stores with odd rights and keys, and beside another host's objects.

/// A folder that is watched by a real agent.
mod product_site;

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hostwright_tests::aws_like::AwsLike;
use hostwright_tests::engines::Swift;
use hostwright_tests::wait::eventually;
use product_site::{LIMIT, Site, produce, swift_bucket};

const LARGE: u64 = 20 << 20;

fn bucket_of(store: &AwsLike) -> String {
    format!("b: {{endpoint: '{}', bucket: products, credentials: {{env_prefix: TEST}}}}", store.endpoint())
}

/// A folder of another host has the key, and one file of it is the very same: it is not ours to take back.
#[test]
fn what_another_host_has_under_the_key_stays_when_ours_takes_another_one() -> Result<()> {
    let store = AwsLike::start()?;
    let product = "p: {watch: FOLDER/in, bucket: b, product: folder, quiet: 300ms, conflict: version}";
    let licence = vec![7; 1000];
    let mut wanted = Vec::new();
    for (number, key) in ["run", "run.2"].into_iter().enumerate() {
        let mut site = Site::start(&bucket_of(&store), product)?;
        site.agent.wait_ready(LIMIT)?;
        fs::create_dir(site.path("making"))?;
        fs::write(site.path("making/licence"), &licence)?;
        wanted.push((format!("{key}/z"), produce(&site.path("making/z"), 1000)?));
        wanted.push((format!("{key}/licence"), licence.clone()));
        fs::rename(site.path("making"), site.path("in/run"))?;
        site.wait_uploaded(1).with_context(|| format!("{number}"))?;
        let (text, well) = site.products(&["verify", "--deep", ""])?;
        ensure!(well && text.contains(&format!("{} files of {} manifests", 2 * (number + 1), number + 1)), "{text}");
    }
    for (key, content) in &wanted {
        ensure!(store.object(key).as_ref() == Some(content), "{key}: {:?}", store.keys());
    }
    Ok(())
}

/// Whatever right beside that to write is missing: products arrive, once, and what is missing is said.
#[test]
fn without_the_rights_to_list_abort_or_look_products_arrive() -> Result<()> {
    for denied in
        [&["ListMultipartUploads"][..], &["AbortMultipartUpload"], &["ListObjectsV2"], &["ListParts"], &["HeadObject"]]
    {
        let store = AwsLike::start()?;
        store.deny(denied);
        let mut site = Site::start(&bucket_of(&store), "p: {watch: FOLDER/in, bucket: b, finished: renamed}")?;
        site.agent.wait_ready(LIMIT).with_context(|| format!("{denied:?}"))?;
        let small = produce(&site.path("in/small"), 1000)?;
        let large = produce(&site.path("in/large"), LARGE)?;
        for (key, content) in [("small", &small), ("large", &large)] {
            let there = || must(store.object(key).as_ref() == Some(content));
            eventually(key, LIMIT, there).with_context(|| format!("{denied:?}: {}", site.agent.output()))?;
        }
        let said = site.wait("it is confirmed", |p| p["uploaded"] == 2);
        said.with_context(|| format!("{denied:?}: {}", site.agent.output()))?;
        ensure!(site.uploads_logged() == 2, "{}", site.agent.output());
    }
    Ok(())
}

/// Where nothing may be read back, the answer to an upload has its checksum and tells its encryption; where it does not,
/// nothing is sent, and the right that is missing is named.
#[test]
fn what_is_encrypted_and_may_not_be_read_back_is_confirmed_by_the_answer_or_the_right_is_named() -> Result<()> {
    let key = tempfile::NamedTempFile::new()?;
    fs::write(key.path(), "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n")?;
    let customer = format!("{{customer_key: {{file: '{}'}}}}", key.path().display());
    for (encryption, md5_alone) in [("s3", true), ("kms", false), (&customer, false), ("kms", true), (&customer, true)]
    {
        let store = AwsLike::start()?;
        store.deny(&["HeadObject"]);
        if md5_alone {
            store.knows_md5_alone();
        }
        let product = format!(
            "p: {{watch: FOLDER/in, bucket: b, finished: renamed, object: {{encryption: {encryption}, storage_class: GLACIER_IR}}}}"
        );
        let mut site = Site::start(&bucket_of(&store), &product)?;
        site.agent.wait_ready(LIMIT)?;
        let wanted =
            [("small", produce(&site.path("in/small"), 1000)?), ("large", produce(&site.path("in/large"), LARGE)?)];
        let context = || format!("{encryption}, {md5_alone}: {}", site.agent.output());
        if md5_alone && encryption != "s3" {
            let why = site.wait_why("s3:GetObject").with_context(context)?;
            ensure!(why.contains("proves nothing") && !why.contains("MDEy"), "{why}");
            ensure!(!store.keys().iter().any(|key| ["small", "large"].contains(&key.as_str())), "{:?}", store.keys());
            store.deny(&[]);
            // The store may be being tried out at this very moment, as it was before.
            eventually("it is taken", LIMIT, || {
                let (told, well) = site.products(&["push", &site.path("in").display().to_string()])?;
                ensure!(well, "{told}");
                Ok(())
            })?;
        }
        site.wait("all is confirmed", |p| p["uploaded"] == 2).with_context(context)?;
        for (key, content) in &wanted {
            ensure!(store.object(key).as_ref() == Some(content), "{key} differs");
        }
        ensure!(site.uploads_logged() == 2 && store.unfinished() == 0, "{}", site.agent.output());
    }
    Ok(())
}

/// Spaces at either end, what URLs give a meaning to, the longest name; and those that no store is asked to take.
#[test]
fn keys_at_the_edge_are_taken_as_they_are_or_refused_with_a_sentence() -> Result<()> {
    let swift = Swift::start()?;
    let product = "p: {watch: FOLDER/in, bucket: b, key: 'k/{name:^(.*?)(?:_cut)?$}', quiet: 300ms}";
    let mut site = Site::start(&swift_bucket(&swift, "images")?, product)?;
    site.agent.wait_ready(LIMIT)?;
    for name in [" before", "after ", "a+b%20c", "q?x=1&y#z", "\u{e9}\u{1f40c}", &"x".repeat(255)] {
        let content = produce_in(&site, name)?;
        let there = || {
            let object = swift.object("images", &encoded(&format!("k/{name}")))?;
            must(object.as_ref() == Some(&content))
        };
        eventually(name, LIMIT, there).with_context(|| site.agent.output())?;
    }
    produce_in(&site, "_cut")?;
    let why = site.wait_why("part between")?;
    ensure!(why.contains("empty or made of dots"), "{why}");
    ensure!(
        swift.keys("images")?.iter().filter(|key| !key.starts_with('.')).count() == 6,
        "{:?}",
        swift.keys("images")?
    );
    Ok(())
}

/// All of them are small, so that dozens are under way at once; of what is in them little is got ready at a time.
#[test]
fn many_folders_of_many_small_files_take_little_memory() -> Result<()> {
    let store = AwsLike::start()?;
    let product = "p: {watch: FOLDER/in, bucket: b, product: folder, finished: {marker: _SUCCESS}}";
    let mut site = Site::start(&bucket_of(&store), product)?;
    site.agent.wait_ready(LIMIT)?;
    for folder in 0..36 {
        let folder = site.path(&format!("in/{folder}"));
        fs::create_dir(&folder)?;
        for file in 0..500 {
            fs::write(folder.join(file.to_string()), [1])?;
        }
    }
    fs::write(site.path("in/_SUCCESS"), "")?;
    site.agent.wait_status("all is uploaded", 3 * LIMIT, |status| {
        status["duties"]["products"]["details"]["p"]["uploaded"] == 36
    })?;
    let peak = peak_kb(site.agent.pid())?;
    ensure!(peak < 100_000, "{peak} kB");
    Ok(())
}

/// Far more than wait at once: those that found no room are found again long before the next walk of its own accord, which
/// would bring some of them every 30 seconds.
#[test]
fn many_products_that_come_at_once_are_all_uploaded_without_waiting_for_walks() -> Result<()> {
    let store = AwsLike::start()?;
    let mut site = Site::start(&bucket_of(&store), "p: {watch: FOLDER/in, bucket: b, quiet: 200ms}")?;
    site.agent.wait_ready(LIMIT)?;
    for number in 0..9000 {
        let folder = site.path(&format!("making/{}", number / 2000));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(number.to_string()), [1])?;
    }
    fs::rename(site.path("making"), site.path("in/many"))?;
    // Three such walks would take longer.
    site.agent.wait_status("all is uploaded", Duration::from_secs(85), |status| {
        status["duties"]["products"]["details"]["p"]["uploaded"] == 9000
    })?;
    Ok(())
}

fn peak_kb(process: i32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a peak")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

fn produce_in(site: &Site, name: &str) -> Result<Vec<u8>> {
    let content = name.repeat(3).into_bytes();
    fs::write(site.path("making"), &content)?;
    fs::rename(site.path("making"), site.path("in").join(name))?;
    Ok(content)
}

fn encoded(key: &str) -> String {
    key.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || byte == b'/' {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn must(holds: bool) -> Result<()> {
    ensure!(holds, "not yet");
    Ok(())
}
