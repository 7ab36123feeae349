//! What a bucket promises holds on each store: OpenStack Swift (with its own users and with Keystone's), Ceph's RADOS
//! Gateway, s3s-fs and a folder, in plain and over TLS, and through networks and stores that fail.

/// A bucket of some store behind a front.
mod bucket_site;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, bail, ensure};
use bucket_site::{Site, create_bucket, open, reason_of, runtime};
use hostwright_core::bucket::{Download, Progress, Put, Reason, Verified};
use hostwright_core::config::buckets::{Encryption, ObjectOptions};
use hostwright_tests::engines::{Rgw, S3sFs, Swift, keystone, rgw, s3s, swift};

const MIB: u64 = 1 << 20;

/// What is expected of a store.
#[derive(Clone, Copy, Debug)]
struct Expected {
    conditional_writes: bool,
    tags: bool,
    lists_uploads: bool,
    batch_delete: bool,
    sha256: bool,
    most_parts: u32,
    /// Whether the ETags of parts are told.
    tells_parts: bool,
}

const OLD_SWIFT: Expected = Expected {
    conditional_writes: false,
    tags: false,
    lists_uploads: true,
    batch_delete: false,
    sha256: false,
    most_parts: 1000,
    tells_parts: true,
};
const RGW: Expected = Expected {
    conditional_writes: true,
    tags: true,
    lists_uploads: true,
    batch_delete: true,
    sha256: false,
    most_parts: 10_000,
    tells_parts: true,
};
const S3S: Expected = Expected {
    conditional_writes: true,
    tags: false,
    lists_uploads: false,
    batch_delete: true,
    sha256: true,
    most_parts: 10_000,
    tells_parts: false,
};

/// All that a bucket is asked to do, but for what fails.
async fn exercise(site: &Site, tells_parts: bool) -> Result<()> {
    small_objects(site).await.context("small objects")?;
    parts_are_resumed(site, tells_parts).await.context("an upload in parts")?;
    downloads_go_on(site).await.context("a download")
}

async fn small_objects(site: &Site) -> Result<()> {
    let (content, bytes) = site.content(1000).await?;
    let (empty, _) = site.content(0).await?;
    let options = ObjectOptions { metadata: [("project".into(), "snow".into())].into(), ..ObjectOptions::default() };
    let progress = Progress::default();
    let odd = "2026/a b+c%20\u{e9}&=.json";
    site.store(Put { options: &options, progress: Some(&progress), ..Put::new(odd, &content) }).await?;
    ensure!(progress.done() == 1000, "{progress:?}");
    site.store(Put::new("2026/empty", &empty)).await?;
    site.holds(odd, &bytes).await?;
    let head = site.bucket.head(odd).await?.context("there")?;
    ensure!(head.size == 1000 && head.sha256.as_deref() == content.sha256(), "{head:?}");
    let keys: Vec<_> = site.bucket.list("2026/", 100).await?.into_iter().map(|object| object.key).collect();
    ensure!(keys == [odd, "2026/empty"], "{keys:?}");
    for key in &keys {
        site.bucket.delete(key).await?;
        site.bucket.delete(key).await?;
    }
    let left = site.bucket.list("", 100).await?;
    ensure!(left.is_empty() && site.bucket.head(odd).await?.is_none(), "{left:?}");
    ensure!(matches!(reason_of(site.bucket.get(odd, 1).await)?.reason(), Reason::NoSuchObject));
    Ok(())
}

/// An upload that ends in its middle goes on from the parts that the store has.
async fn parts_are_resumed(site: &Site, tells_parts: bool) -> Result<()> {
    let (content, bytes) = site.content_for(45 * MIB + 17).await?;
    ensure!(content.sha256().is_none(), "it was read before it is sent");
    let key = "large/object.tif";
    let put = Put::new(key, &content);
    let upload = site.bucket.begin(put).await?;
    let Some(upload) = upload else {
        // A folder.
        site.bucket.put(put, None).await?;
        return site.holds(key, &bytes).await;
    };
    site.front()?.requests();
    {
        let progress = Progress::default();
        let watched = Put { progress: Some(&progress), ..put };
        // So slow that it is seen before it is done.
        let slow = open(&site.settings.replacen('{', "{bandwidth: 30MiB, ", 1))?;
        let sending = Box::pin(slow.put(watched, Some(&upload)));
        // Of four parts of 6 MiB at once one must be through by then.
        tokio::select! {
            done = sending => bail!("it was done before it was cut off: {done:?}"),
            () = async { while progress.done() < 25 * MIB { tokio::task::yield_now().await } } => {}
        }
    }
    ensure!(site.bucket.head(key).await?.is_none(), "a part of an object is seen");
    site.front()?.requests();
    let progress = Progress::default();
    let stored = site.bucket.resume(Put { progress: Some(&progress), ..put }, &upload).await?;
    ensure!(stored.sha256.is_some() && stored.sha256.as_deref() == content.sha256(), "{stored:?}");
    let requests = site.front()?.requests();
    let sent = requests.iter().filter(|line| is_part(line)).count();
    let most = if tells_parts { 7 } else { 8 };
    ensure!((1..=most).contains(&sent), "{sent} parts were sent after the resumption, of 8: {requests:?}");
    ensure!(progress.done() == content.size(), "{progress:?}");
    site.holds(key, &bytes).await?;
    // Once more, and by a process that has read nothing of it: all is there.
    site.bucket.resume(put, &upload).await?;
    let unread = site.content_of(&bytes).await?;
    site.front()?.requests();
    site.bucket.resume(Put::new(key, &unread), &upload).await?;
    let sent = site.front()?.requests().iter().filter(|line| is_part(line) && line.starts_with("PUT ")).count();
    ensure!(sent == 0 && unread.sha256() == content.sha256(), "{sent} parts were sent although all is there");
    if !tells_parts || site.settings.contains("swift:") {
        // s3s-fs answers to what it does not know as if it were forbidden; Swift's own API knows no uploads.
        return Ok(());
    }
    let other = site.bucket.begin(Put::new("large/other", &content)).await?.context("an upload")?;
    site.bucket.abort("large/other", &other).await?;
    site.bucket.abort("large/other", &other).await?;
    let gone = reason_of(site.bucket.resume(Put::new("large/other", &content), &other).await)?;
    ensure!(matches!(gone.reason(), Reason::NoSuchUpload), "{gone}");
    ensure!(site.bucket.head("large/other").await?.is_none());
    Ok(())
}

fn is_part(line: &str) -> bool {
    line.contains("partNumber=") || line.starts_with("PUT ") && line.contains("_segments/")
}

async fn downloads_go_on(site: &Site) -> Result<()> {
    let key = "large/object.tif";
    let to = site.path("fetched.tif");
    let down = Download { mode: 0o640, ..Download::new(key, &to) };
    {
        let progress = Progress::default();
        let fetching = Box::pin(site.bucket.download(Download { progress: Some(&progress), ..down }));
        tokio::select! {
            done = fetching => bail!("it was done before it was cut off: {done:?}"),
            () = async { while progress.done() < 5 * MIB { tokio::task::yield_now().await } } => {}
        }
    }
    ensure!(!to.exists(), "half a file has the name");
    let progress = Progress::default();
    let fetched = site.bucket.download(Download { progress: Some(&progress), ..down }).await?;
    // An S3 API is told the metadata before the content is read.
    let by = if site.settings.contains("endpoint:") { Verified::PartMd5s } else { Verified::Sha256 };
    ensure!(fetched.verified == by, "{fetched:?}");
    ensure!(fs::read(&to)? == site.bucket.get(key, 1 << 30).await?);
    ensure!(to.metadata()?.permissions().mode() & 0o777 == 0o640);
    // A folder's object has no ETag, so that nobody knows whether it is still the same.
    ensure!(site.front.is_none() || progress.done() <= fetched.object.size - 5 * MIB, "{progress:?}");
    let left: Vec<_> = fs::read_dir(site.folder.path())?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(!left.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{left:?}");
    let wrong = "0".repeat(64);
    let refused = reason_of(site.bucket.download(Download { sha256: Some(&wrong), ..down }).await)?;
    ensure!(matches!(refused.reason(), Reason::Fetched { .. }), "{refused}");
    let missing = reason_of(site.bucket.download(Download { key: "nothing", ..down }).await)?;
    ensure!(matches!(missing.reason(), Reason::NoSuchObject), "{missing}");
    site.bucket.delete(key).await?;
    Ok(())
}

/// What was found of the store is what is known of it, and what it cannot do is refused by name.
async fn profile_is(site: &Site, expected: Expected) -> Result<()> {
    let profile = site.prepare().await?;
    ensure!(profile.missing().is_empty(), "{:?}", profile.missing());
    let found = (profile.conditional_writes, profile.tags, profile.lists_uploads, profile.batch_delete);
    let wanted = (expected.conditional_writes, expected.tags, expected.lists_uploads, expected.batch_delete);
    ensure!(found == wanted, "{profile:?}, not {expected:?}");
    ensure!((profile.checks.md5, profile.checks.sha256) == (true, expected.sha256), "{profile:?}");
    ensure!(profile.most_parts == expected.most_parts, "{profile:?}");
    ensure!((profile.etag_is_md5, profile.tells_sha256) == (true, expected.sha256), "{profile:?}");
    // None of them checks it on parts.
    let by_crc64nvme = (profile.tells_crc64nvme, profile.parts_by_crc64nvme);
    ensure!(by_crc64nvme == (profile.checks.crc64nvme, false), "{profile:?}");
    ensure!(site.bucket.list("", 10).await?.is_empty(), "the probe leaves objects");
    if expected.lists_uploads {
        site.nothing_unfinished().await?;
    }
    site.front()?.requests();
    // Another process reads what was kept.
    let again = open(&site.settings)?.prepare(&site.path("state")).await?;
    ensure!(again == profile && site.front()?.requests().len() == 1, "it was tried out again");
    let (content, _) = site.content(10).await?;
    let tags = ObjectOptions { tags: [("a".into(), "b".into())].into(), ..ObjectOptions::default() };
    let tagged = site.bucket.put(Put { options: &tags, ..Put::new("tagged", &content) }, None).await;
    if expected.tags {
        tagged?;
        site.bucket.delete("tagged").await?;
    } else {
        let refused = reason_of(tagged)?;
        ensure!(refused.is_permanent() && refused.to_string().contains("does not support tags"), "{refused}");
    }
    let encrypted = ObjectOptions { encryption: Some(Encryption::Store), ..ObjectOptions::default() };
    match site.bucket.put(Put { options: &encrypted, ..Put::new("encrypted", &content) }, None).await {
        Ok(_) => site.bucket.delete("encrypted").await?,
        Err(refused) => {
            ensure!(refused.is_permanent(), "{refused}");
            ensure!(site.bucket.head("encrypted").await?.is_none(), "it lies there without encryption");
        }
    }
    Ok(())
}

/// Whoever tells the checksum of what it has is not asked again; and what is there stays where that is wanted.
async fn one_request_is_enough(site: &Site) -> Result<()> {
    let key = "quick/a b+\u{e9}%2F";
    for size in [0, 10, 300_000] {
        let (content, bytes) = site.content_for(size).await?;
        site.front()?.requests();
        site.bucket.put(Put::new(key, &content), None).await?;
        let requests = site.front()?.requests();
        ensure!(requests.len() == 1 && requests[0].starts_with("PUT "), "{requests:?}");
        site.holds(key, &bytes).await?;
        let held = site.bucket.head(key).await?.context("it is there")?;
        ensure!(held.sha256.as_deref() == content.sha256(), "{held:?}");
        if site.bucket.writes_conditionally() {
            let (other, _) = site.content_for(20).await?;
            let put = Put { only_new: true, ..Put::new(key, &other) };
            let refused = reason_of(site.bucket.put(put, None).await)?;
            ensure!(matches!(refused.reason(), Reason::Exists), "{refused}");
            site.holds(key, &bytes).await?;
        }
    }
    let object = site.bucket.head(key).await?.context("it is there")?;
    ensure!(Some(site.bucket.reread(&object, None).await?) == object.sha256, "{object:?}");
    Ok(site.bucket.delete(key).await?)
}

fn stores_do(endpoint: &str, keys: [&str; 2], expected: Expected) -> Result<()> {
    for tls in [false, true] {
        let site = Site::s3(endpoint, keys, tls)?;
        runtime()?.block_on(async {
            profile_is(&site, expected).await.context("the profile")?;
            one_request_is_enough(&site).await.context("small objects")?;
            exercise(&site, expected.tells_parts).await
        })?;
    }
    Ok(())
}

#[test]
fn a_bucket_of_swift_keeps_its_promises() -> Result<()> {
    let store = Swift::start()?;
    store.create_bucket("products")?;
    stores_do(&store.endpoint(), [swift::ACCESS_KEY, swift::SECRET_KEY], OLD_SWIFT)
}

/// Swift's own API, with Swift's own users: what it sends goes through the front.
#[test]
fn a_container_of_swift_keeps_its_promises() -> Result<()> {
    let store = Swift::start()?;
    store.create_bucket("products")?;
    let auth = format!("{{auth_url: FRONT/auth/v1.0, user: '{}', key: SECRET}}", swift::ACCESS_KEY);
    let site = Site::swift(&store.endpoint(), &auth, swift::SECRET_KEY)?;
    runtime()?.block_on(async {
        swift_does(&site).await?;
        exercise(&site, true).await?;
        let (content, _) = site.content(20 * MIB).await?;
        site.store(Put::new("a/large", &content)).await?;
        site.store(Put::new("a/large", &content)).await?;
        // The segments of the object that was replaced are gone, and never those of the one that is there.
        site.nothing_unfinished().await?;
        let segments = store.keys("products_segments")?.iter().filter(|key| key.starts_with("a/")).count();
        ensure!(segments == content.parts(), "{segments} segments of {} parts", content.parts());
        ensure!(site.bucket.get("a/large", 1 << 30).await?.len() as u64 == content.size());
        site.bucket.delete("a/large").await?;
        ensure!(store.keys("products_segments")?.iter().all(|key| !key.starts_with("a/")), "segments are left");
        Ok(())
    })
}

async fn swift_does(site: &Site) -> Result<()> {
    let profile = site.prepare().await?;
    ensure!(profile.missing().is_empty() && profile.checks.md5 && profile.conditional_writes, "{profile:?}");
    ensure!(profile.most_parts == 1000 && !profile.tags, "{profile:?}");
    let (content, _) = site.content(10).await?;
    let tags = ObjectOptions { tags: [("a".into(), "b".into())].into(), ..ObjectOptions::default() };
    let refused = reason_of(site.bucket.put(Put { options: &tags, ..Put::new("tagged", &content) }, None).await)?;
    ensure!(refused.is_permanent() && refused.to_string().contains("tags"), "{refused}");
    Ok(())
}

/// Keystone's users: keys for the S3 API, a password, and an application credential by a clouds.yaml.
#[test]
fn containers_of_keystones_users_keep_their_promises_and_a_token_that_ends_is_renewed() -> Result<()> {
    let store = Swift::start_with_keystone()?;
    let keystone = store.keystone()?;
    let keys = keystone.ec2_credentials()?;
    create_bucket(&store.endpoint(), [&keys.id, &keys.secret])?;
    stores_do(&store.endpoint(), [&keys.id, &keys.secret], OLD_SWIFT)?;
    let url = keystone.url();
    let auth =
        format!("{{auth_url: {url}, user: {}, project: {}, password: SECRET}}", keystone::USER, keystone::PROJECT);
    let by_password = Site::swift(&store.endpoint(), &auth, keystone::PASSWORD)?;
    let credential = keystone.application_credential()?;
    let by_credential = Site::in_folder()?;
    let clouds = by_credential.path("clouds.yaml");
    let cloud = format!(
        "clouds:\n  ours:\n    auth_type: v3applicationcredential\n    region_name: RegionOne\n    auth: {{auth_url: '{url}', \
         application_credential_id: {}, application_credential_secret: '{}'}}\n",
        credential.id, credential.secret
    );
    fs::write(&clouds, cloud)?;
    let of_cloud = open(&format!("{{swift: {{cloud: ours, clouds_file: {}}}, bucket: products}}", clouds.display()))?;
    let wrong = Site::swift(&store.endpoint(), &auth, "wrong")?;
    let elsewhere =
        format!("{{swift: {{cloud: ours, clouds_file: {}, region: X}}, bucket: products}}", clouds.display());
    runtime()?.block_on(async {
        swift_does(&by_password).await?;
        let (content, bytes) = by_password.content(30 * MIB).await?;
        by_password.store(Put::new("large", &content)).await?;
        ensure!(of_cloud.get("large", 1 << 30).await? == bytes);
        let refused = reason_of(wrong.bucket.check().await)?;
        ensure!(matches!(refused.reason(), Reason::BadCredentials { .. }) && !refused.to_string().contains("wrong"));
        let nowhere = reason_of(open(&elsewhere)?.check().await)?;
        ensure!(nowhere.is_permanent() && nowhere.to_string().contains("it has RegionOne"), "{nowhere}");
        // All tokens of the user end, as when somebody has changed the password back and forth.
        keystone.end_tokens()?;
        by_password.store(Put::new("large", &content)).await?;
        by_password.holds("large", &bytes).await
    })
}

#[test]
fn a_bucket_of_cephs_gateway_keeps_its_promises() -> Result<()> {
    let store = Rgw::start()?;
    create_bucket(&store.endpoint(), [rgw::ACCESS_KEY, rgw::SECRET_KEY])?;
    stores_do(&store.endpoint(), [rgw::ACCESS_KEY, rgw::SECRET_KEY], RGW)
}

#[test]
fn a_bucket_with_the_semantics_of_aws_keeps_its_promises() -> Result<()> {
    let store = S3sFs::start()?;
    store.create_bucket("products")?;
    stores_do(&store.endpoint(), [s3s::ACCESS_KEY, s3s::SECRET_KEY], S3S)
}

#[test]
fn a_folder_keeps_its_promises() -> Result<()> {
    let site = Site::in_folder()?;
    runtime()?.block_on(async {
        site.prepare().await?;
        exercise(&site, true).await
    })
}
