//! Finished files reach buckets whole, once, and are touched here only afterwards: the real agent, OpenStack Swift's
//! S3 API, and folders as buckets.

/// A folder that is watched by a real agent.
mod product_site;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hostwright_tests::engines::Swift;
use hostwright_tests::engines::swift::{OTHER_SECRET_KEY, SECRET_KEY};
use hostwright_tests::wait::eventually;
use product_site::{LIMIT, Site, produce, swift_bucket};

#[test]
fn a_growing_file_is_uploaded_once_and_whole() -> Result<()> {
    let swift = Swift::start()?;
    let product = "p: {watch: FOLDER/in, bucket: b, key: '{label:role}/{path}', quiet: 3s}";
    let site = Site::start(&swift_bucket(&swift, "images")?, product)?;
    let path = site.path("in/video.mp4");
    let mut whole = Vec::new();
    // A producer that opens the file for each piece: the agent must see it change. Its pace is what is tested: longer
    // than the quiet time in all, and far below it between two pieces, also where others keep the processors busy.
    for piece in 0..16_u8 {
        let bytes = vec![piece; 300_000];
        File::options().create(true).append(true).open(&path)?.write_all(&bytes)?;
        whole.extend(bytes);
        std::thread::sleep(Duration::from_millis(250));
    }
    // One that keeps it open for longer than the quiet time: the agent must see who has it.
    let mut writer = File::options().append(true).open(&path)?;
    let seen = site.wait("the open file is seen", |p| p["in_use"]["count"] == 1)?;
    let why = seen["in_use"]["examples"][0]["why"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains(&format!("pid {}", std::process::id())), "{why}");
    assert_eq!(swift.object("images", "camera/video.mp4")?, None);
    writer.write_all(b"the end")?;
    whole.extend(b"the end");
    drop(writer);
    let details = site.wait_uploaded(1)?;
    assert_eq!(swift.object("images", "camera/video.mp4")?.context("it is there")?, whole);
    assert_eq!(details["last"]["key"], "camera/video.mp4");
    let head = swift.head("images", "camera/video.mp4")?;
    assert_eq!(head.header("x-object-meta-sha256"), details["last"]["sha256"].as_str());
    assert_eq!(head.header("x-object-meta-label-role"), Some("camera"));
    assert_eq!(site.uploads_logged(), 1);
    Ok(())
}

#[test]
fn killed_at_any_moment_of_a_large_upload_the_bucket_holds_it_whole_once() -> Result<()> {
    let swift = Swift::start()?;
    let mut site = Site::start(&swift_bucket(&swift, "images")?, "p: {watch: FOLDER/in, bucket: b, quiet: 100ms}")?;
    site.agent.wait_ready(LIMIT)?;
    let content = produce(&site.path("in/scene.tif"), 60 << 20)?;
    let parts = |of: &str| {
        Ok::<_, anyhow::Error>(swift.keys("images+segments")?.iter().filter(|key| key.starts_with(of)).count())
    };
    for at_least in [1, 4] {
        eventually("parts in the store", LIMIT, || parts("scene").is_ok_and(|parts| parts >= at_least))?;
        site.agent.kill9()?;
        assert!(swift.object("images", "scene.tif")?.is_none(), "nothing of it is seen before it is whole");
        site.agent.start_again()?;
    }
    site.wait_uploaded(1)?;
    // As if it had been killed between the upload and its record.
    site.agent.kill9()?;
    let first = swift.head("images", "scene.tif")?.header("x-timestamp").map(str::to_owned);
    fs::remove_dir_all(site.agent.state_folder().join("products"))?;
    site.agent.start_again()?;
    let details = site.wait_uploaded(1)?;
    ensure!(swift.object("images", "scene.tif")?.context("it is there")? == content, "the object differs");
    assert_eq!(swift.head("images", "scene.tif")?.header("x-timestamp"), first.as_deref(), "sent once only");
    let sum = Command::new("sha256sum").arg(site.path("in/scene.tif")).output()?;
    assert_eq!(String::from_utf8(sum.stdout)?.split_whitespace().next(), details["last"]["sha256"].as_str());
    assert_eq!(swift.keys("images")?, ["scene.tif"]);
    assert_eq!(parts("scene")?, 10, "60 MiB in parts of 6 MiB, and none of those that were cut off");
    // Parts of a file that is gone when the agent comes back are nobody's but the ledger's.
    produce(&site.path("in/draft.tif"), 60 << 20)?;
    eventually("parts in the store", LIMIT, || parts("draft").is_ok_and(|parts| parts >= 1))?;
    site.agent.kill9()?;
    fs::remove_file(site.path("in/draft.tif"))?;
    site.agent.start_again()?;
    eventually("its parts are cleared", LIMIT, || parts("draft").is_ok_and(|parts| parts == 0))?;
    assert_eq!(swift.keys("images")?, ["scene.tif"]);
    Ok(())
}

#[test]
fn two_buckets_take_two_credentials_and_wrong_ones_are_said_and_harm_no_other() -> Result<()> {
    let swift = Swift::start()?;
    swift.other_account("PUT", "results")?;
    let endpoint = swift.endpoint();
    let buckets = format!(
        "{}\n  other: {{endpoint: '{endpoint}', bucket: results, credentials: {{env_prefix: OTHER}}}}\n  \
         mixed: {{endpoint: '{endpoint}', bucket: images, credentials: {{access_key: {{env: TEST_ACCESS_KEY}}, \
         secret_key: {{env: OTHER_SECRET_KEY}}}}}}\n  \
         absent: {{endpoint: '{endpoint}', bucket: nowhere, credentials: {{env_prefix: TEST}}}}\n  \
         unset: {{endpoint: '{endpoint}', bucket: images, credentials: {{env_prefix: NOBODY}}}}",
        swift_bucket(&swift, "images")?
    );
    let products = ["p b images", "q other results", "wrong mixed x", "lost absent y", "none unset z"].map(|line| {
        let [name, bucket, folder] = line.split(' ').collect::<Vec<_>>()[..] else { unreachable!("three words") };
        format!("{name}: {{watch: FOLDER/in/{folder}, bucket: {bucket}, quiet: 100ms}}")
    });
    let site = Site::start(&buckets, &products.join("\n  "))?;
    for folder in ["images", "results", "x", "y", "z"] {
        fs::create_dir(site.path("in").join(folder))?;
        produce(&site.path("in").join(folder).join(format!("{folder}.bin")), 1000)?;
    }
    site.wait_uploaded(1)?;
    eventually("the other account's object", LIMIT, || swift.other_account("GET", "results/results.bin"))?;
    let why = site.wait_why("wrong: cannot use the bucket \"mixed\"")?;
    assert!(why.contains("the store refuses the credentials (403 SignatureDoesNotMatch"), "{why}");
    assert!(site.wait_why("lost: cannot use the bucket \"absent\"")?.contains("there is no such bucket"), "{why}");
    assert!(site.wait_why("none: cannot open the bucket \"unset\"")?.contains("NOBODY_ACCESS_KEY is not set"), "{why}");
    assert_eq!(swift.keys("images")?, ["images.bin"]);
    let (status, output) = (site.agent.status()?.to_string(), site.agent.output());
    for secret in [SECRET_KEY, OTHER_SECRET_KEY] {
        assert!(!status.contains(secret) && !output.contains(secret), "{secret} is shown");
    }
    Ok(())
}

#[test]
fn while_the_store_is_down_files_stay_and_afterwards_they_are_uploaded_and_deleted() -> Result<()> {
    let mut swift = Swift::start()?;
    let bucket = swift_bucket(&swift, "images")?;
    swift.stop()?;
    let site = Site::start(&bucket, "p: {watch: FOLDER/in, bucket: b, quiet: 100ms, afterwards: delete}")?;
    let small = produce(&site.path("in/small.jpg"), 10_000)?;
    let large = produce(&site.path("in/large.tif"), 20 << 20)?;
    let why = site.wait_why("the store does not answer")?;
    assert!(why.contains(&swift.endpoint()), "{why}");
    site.wait("both wait", |p| p["waiting"] == 2)?;
    assert!(site.path("in/small.jpg").exists() && site.path("in/large.tif").exists());
    swift.start_again()?;
    site.wait_uploaded(2)?;
    assert_eq!(swift.object("images", "small.jpg")?, Some(small));
    ensure!(swift.object("images", "large.tif")? == Some(large), "the large object differs");
    eventually("the local files are deleted", LIMIT, || {
        fs::read_dir(site.path("in")).is_ok_and(|mut all| all.next().is_none())
    })?;
    site.agent.wait_status("well again", LIMIT, |status| status["duties"]["products"]["state"] == "ok")?;
    Ok(())
}

#[test]
fn the_key_of_a_file_that_was_deleted_after_its_upload_stays_its_own() -> Result<()> {
    let product = "p: {watch: FOLDER/in, bucket: b, key: '{name}', quiet: 100ms, afterwards: delete}";
    let mut site = Site::start("b: 'file://FOLDER/out'", product)?;
    fs::create_dir_all(site.path("in/one"))?;
    fs::create_dir_all(site.path("in/two"))?;
    fs::write(site.path("in/one/image"), "the only copy")?;
    eventually("it is deleted", LIMIT, || !site.path("in/one/image").exists())?;
    site.agent.kill9()?;
    site.agent.start_again()?;
    fs::write(site.path("in/two/image"), "another")?;
    site.wait_why("its key \"image\" belongs to \"one/image\" of p")?;
    assert_eq!(fs::read_to_string(site.path("out/image"))?, "the only copy");
    fs::write(site.path("in/one/image"), "a newer one")?;
    site.wait_uploaded(2)?;
    assert_eq!(fs::read_to_string(site.path("out/image"))?, "a newer one");
    Ok(())
}

#[test]
fn odd_names_reach_the_bucket_and_what_cannot_is_said() -> Result<()> {
    let swift = Swift::start()?;
    let site = Site::start(&swift_bucket(&swift, "images")?, "p: {watch: FOLDER/in, bucket: b, quiet: 100ms}")?;
    fs::create_dir_all(site.path("in/a b/\u{fc}"))?;
    let names = ["a b/\u{fc}/100%+1.txt", "new\nline", "quo\"te'&<>", "empty", "\u{65e5}\u{672c}#?.bin"];
    for name in names {
        fs::write(site.path("in").join(name), if name == "empty" { "" } else { name })?;
    }
    for name in [".hidden", "half.part", "half.tmp", "backup~"] {
        fs::write(site.path("in").join(name), "no product")?;
    }
    fs::write(site.path("in").join(std::ffi::OsStr::from_bytes(b"bad\xff.bin")), "x")?;
    std::os::unix::fs::symlink("/etc", site.path("in/etc"))?;
    std::os::unix::fs::symlink("/etc/hostname", site.path("in/hostname"))?;
    site.wait_uploaded(names.len() as u64)?;
    for name in names {
        let encoded: String =
            name.bytes().map(|byte| if byte == b'/' { "/".into() } else { format!("%{byte:02X}") }).collect();
        let expected = if name == "empty" { "" } else { name };
        assert_eq!(swift.object("images", &encoded)?.as_deref(), Some(expected.as_bytes()), "{name:?}");
    }
    let why = site.wait_why("is not UTF-8")?;
    assert!(why.contains("bad\u{fffd}.bin"), "{why}");
    assert_eq!(site.uploads_logged(), names.len());
    Ok(())
}

#[test]
fn a_folder_bucket_takes_each_content_once_through_restarts_and_changes() -> Result<()> {
    let mut site =
        Site::start("b: 'file://FOLDER/out'", "p: {watch: FOLDER/in, bucket: b, key: 'x/{path}', quiet: 100ms}")?;
    site.agent.wait_ready(LIMIT)?;
    fs::write(site.path("in/a"), "one")?;
    site.wait_uploaded(1)?;
    assert_eq!(site.agent.terminate()?, Some(0));
    fs::write(site.path("in/while-down"), "found later")?;
    site.agent.start_again()?;
    site.wait_uploaded(2)?;
    assert_eq!(fs::read_to_string(site.path("out/x/while-down"))?, "found later");
    fs::write(site.path("in/a"), "another content")?;
    site.wait_uploaded(3)?;
    assert_eq!(fs::read_to_string(site.path("out/x/a"))?, "another content");
    // The state is lost: the bucket itself tells that nothing has to be sent.
    site.agent.kill9()?;
    let before = fs::metadata(site.path("out/x/a"))?.modified()?;
    fs::remove_dir_all(site.agent.state_folder().join("products"))?;
    site.agent.start_again()?;
    site.wait_uploaded(2)?;
    assert_eq!(fs::metadata(site.path("out/x/a"))?.modified()?, before);
    let mut left: Vec<_> =
        fs::read_dir(site.path("out/x"))?.map(|entry| entry.map(|e| e.file_name())).collect::<Result<_, _>>()?;
    left.sort();
    assert_eq!(left, ["a", "while-down"]);
    Ok(())
}

#[test]
fn a_missing_folder_is_waited_for_and_a_key_that_is_taken_is_refused() -> Result<()> {
    let products = "p: {watch: FOLDER/in, bucket: b, key: '{name}', quiet: 100ms}\n  \
                    late: {watch: FOLDER/late, bucket: b, key: '{name}', quiet: 100ms}";
    let site = Site::start("b: 'file://FOLDER/out'", products)?;
    fs::write(site.path("in/same"), "first")?;
    site.wait_uploaded(1)?;
    let why = site.wait_why("late: the folder")?;
    assert!(why.contains("is not there; it is waited for"), "{why}");
    fs::create_dir(site.path("late"))?;
    fs::write(site.path("late/same"), "second")?;
    fs::write(site.path("late/other"), "third")?;
    let why = site.wait_why("its key \"same\" belongs to \"same\" of p")?;
    assert!(!why.contains("is not there"), "{why}");
    eventually("the other file", LIMIT, || {
        fs::read_to_string(site.path("out/other")).is_ok_and(|text| text == "third")
    })?;
    assert_eq!(fs::read_to_string(site.path("out/same"))?, "first");
    Ok(())
}
