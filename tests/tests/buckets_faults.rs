//! Networks and stores that fail: afterwards the bucket holds each object whole once, and nothing unfinished.

/// A bucket of some store behind a front.
mod bucket_site;

use std::time::Duration;

use anyhow::{Result, ensure};
use bucket_site::{Site, create_bucket, open, reason_of, runtime};
use hostwright_core::bucket::{Put, Reason};
use hostwright_tests::engines::{Rgw, S3sFs, Swift, rgw, s3s, swift};
use hostwright_tests::front::Fault::{Busy, Corrupt, Cut, NoAnswer, Swallow};
use hostwright_tests::process::AgentProcess;

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(60);
const SWIFT: [&str; 2] = [swift::ACCESS_KEY, swift::SECRET_KEY];

/// Stores objects through every fault of the front.
async fn faults_are_overcome(site: &Site, lists_uploads: bool) -> Result<()> {
    let front = site.front()?;
    // What is known of a store lets large files be read while they are sent.
    site.prepare().await?;
    let (large, bytes) = site.content_for(40 * MIB).await?;
    ensure!(large.sha256().is_none(), "it was read before it is sent");
    front.fail(&[Cut(3 * MIB), Busy, Corrupt, NoAnswer, Busy, Cut(MIB)]);
    site.store(Put::new("through-faults", &large)).await?;
    ensure!(front.left() == 0, "{} faults were not met", front.left());
    site.holds("through-faults", &bytes).await?;
    front.fail_completions(&[NoAnswer]);
    let large = site.content_of(&bytes).await?;
    site.store(Put::new("answer-lost", &large)).await?;
    site.holds("answer-lost", &bytes).await?;
    front.fail_completions(&[Busy]);
    site.store(Put::new("completed-late", &large)).await?;
    site.holds("completed-late", &bytes).await?;
    if lists_uploads {
        // s3s-fs forgets an upload that cannot be completed.
        front.fail(&[Swallow]);
        let large = site.content_of(&bytes).await?;
        site.store(Put::new("part-lost", &large)).await?;
        site.holds("part-lost", &bytes).await?;
    }
    ensure!(front.left() == 0, "{} faults were not met", front.left());
    if lists_uploads {
        site.nothing_unfinished().await?;
    }
    // One request alone: what does not arrive whole is not there.
    let (small, bytes) = site.content(2 * MIB).await?;
    front.fail(&[Corrupt]);
    site.store(Put::new("small", &small)).await?;
    site.holds("small", &bytes).await?;
    site.bucket.delete("small").await?;
    front.fail(&[Swallow]);
    // Nothing is known of what its answers are worth.
    let unknown = open(&site.settings)?;
    let lost = reason_of(unknown.put(Put::new("small", &small), None).await)?;
    ensure!(matches!(lost.reason(), Reason::Damaged { .. }) && !lost.is_permanent(), "{lost}");
    front.fail(&[Cut(MIB), Busy]);
    site.store(Put::new("small", &small)).await?;
    site.holds("small", &bytes).await
}

#[test]
fn faults_before_swift_are_overcome() -> Result<()> {
    let store = Swift::start()?;
    store.create_bucket("products")?;
    let site = Site::s3(&store.endpoint(), SWIFT, false)?;
    runtime()?.block_on(faults_are_overcome(&site, true))
}

#[test]
fn faults_before_swifts_own_api_are_overcome() -> Result<()> {
    let store = Swift::start()?;
    store.create_bucket("products")?;
    let auth = format!("{{auth_url: FRONT/auth/v1.0, user: '{}', key: SECRET}}", swift::ACCESS_KEY);
    let site = Site::swift(&store.endpoint(), &auth, swift::SECRET_KEY)?;
    runtime()?.block_on(faults_are_overcome(&site, true))
}

#[test]
fn faults_before_cephs_gateway_are_overcome_and_a_quota_is_called_one() -> Result<()> {
    let store = Rgw::start()?;
    let keys = [rgw::ACCESS_KEY, rgw::SECRET_KEY];
    create_bucket(&store.endpoint(), keys)?;
    let site = Site::s3(&store.endpoint(), keys, true)?;
    runtime()?.block_on(faults_are_overcome(&site, true))?;
    store.set_quota(1)?;
    runtime()?.block_on(async {
        let (small, _) = site.content(MIB).await?;
        let full = reason_of(site.bucket.put(Put::new("more", &small), None).await)?;
        ensure!(matches!(full.reason(), Reason::Full { .. }) && !full.is_permanent(), "{full}");
        ensure!(full.concerns_bucket() && full.to_string().contains("quota"), "{full}");
        Ok(())
    })
}

#[test]
fn faults_before_a_store_like_aws_are_overcome() -> Result<()> {
    let store = S3sFs::start()?;
    store.create_bucket("products")?;
    let site = Site::s3(&store.endpoint(), [s3s::ACCESS_KEY, s3s::SECRET_KEY], false)?;
    runtime()?.block_on(faults_are_overcome(&site, false))
}

#[test]
fn a_clock_that_is_wrong_is_corrected_and_said() -> Result<()> {
    let store = Swift::start_with_clock("+2h")?;
    let site = Site::s3(&store.endpoint(), SWIFT, false)?;
    runtime()?.block_on(async {
        // Without the bucket: another answer than that about the time.
        let missing = reason_of(site.bucket.check().await)?;
        ensure!(matches!(missing.reason(), Reason::NoSuchBucket), "{missing}");
        let ahead = Duration::from_secs(site.bucket.clock_ahead().unsigned_abs());
        ensure!(ahead > Duration::from_secs(7_100) && ahead < Duration::from_secs(7_300), "{ahead:?}");
        Ok(())
    })
}

/// Each bucket has its own credentials; none is taken from where an SDK would look.
#[test]
fn credentials_are_used_for_their_own_bucket_alone_and_none_is_found_elsewhere() -> Result<()> {
    let store = Swift::start()?;
    store.create_bucket("products")?;
    store.other_account("PUT", "products")?;
    let ours = Site::s3(&store.endpoint(), SWIFT, false)?;
    let theirs = Site::s3(&store.endpoint(), [swift::OTHER_ACCESS_KEY, swift::OTHER_SECRET_KEY], false)?;
    runtime()?.block_on(async {
        let (content, bytes) = ours.content(100).await?;
        let (other, other_bytes) = ours.content(100).await?;
        for _ in 0..3 {
            ours.store(Put::new("k", &content)).await?;
            theirs.store(Put::new("k", &other)).await?;
        }
        ours.holds("k", &bytes).await?;
        theirs.holds("k", &other_bytes).await?;
        // A bucket that everybody could read is asked without a signature, whatever lies about.
        let anonymous = format!("{{endpoint: '{}', bucket: products, credentials: anonymous}}", store.endpoint());
        let refused = reason_of(open(&anonymous)?.check().await)?;
        ensure!(refused.is_permanent(), "{refused}");
        let none =
            format!("{{endpoint: '{}', bucket: products, credentials: {{env_prefix: NOBODYS}}}}", store.endpoint());
        let missing = open(&none).expect_err("it opens");
        ensure!(missing.to_string().contains("NOBODYS_ACCESS_KEY"), "{missing}");
        Ok(())
    })?;
    nothing_is_found_where_an_sdk_looks(&store.endpoint())
}

/// Valid keys in the environment and in a home's files, and buckets that are not configured to take them.
fn nothing_is_found_where_an_sdk_looks(endpoint: &str) -> Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::create_dir(home.path().join(".aws"))?;
    let file = format!("[default]\naws_access_key_id={}\naws_secret_access_key={}\n", SWIFT[0], SWIFT[1]);
    std::fs::write(home.path().join(".aws/credentials"), file)?;
    std::fs::create_dir(home.path().join("in"))?;
    std::fs::write(home.path().join("in/product"), "x")?;
    let home = home.path().display().to_string();
    let environment = [
        ("AWS_ACCESS_KEY_ID", SWIFT[0]),
        ("AWS_SECRET_ACCESS_KEY", SWIFT[1]),
        ("AWS_PROFILE", "default"),
        ("HOME", &home),
    ];
    for (credentials, why) in [
        ("anonymous", "cannot use"),
        ("{env_prefix: NOBODYS}", "NOBODYS_ACCESS_KEY"),
        ("container_role", "container's role"),
    ] {
        let config = format!(
            "buckets: {{b: {{endpoint: '{endpoint}', bucket: products, credentials: {credentials}}}}}\n\
             products: {{p: {{watch: {home}/in, bucket: b, key: '{{path}}', quiet: 0s}}}}\n"
        );
        let agent = AgentProcess::start_with_env(&config, &environment)?;
        agent.wait_status(why, LIMIT, |status| status["duties"]["products"].to_string().contains(why))?;
    }
    Ok(())
}
