//! Buckets in states that operators leave them in: with versions, with locks, with credentials that may little, with few
//! parts, behind proxies and names that fail. Each time all is there once, and nothing is left over.

/// A bucket of some store behind a front.
mod bucket_site;
/// A folder that is watched by a real agent.
mod product_site;

use std::fs;

use anyhow::{Context as _, Result, ensure};
use bucket_site::{Site, create_bucket, open, reason_of, runtime};
use hostwright_core::bucket::{Put, Reason};
use hostwright_core::config::buckets::{Encryption, ObjectOptions};
use hostwright_core::secret::SecretRef;
use hostwright_tests::curl::curl;
use hostwright_tests::engines::{Rgw, Swift, rgw, swift};

const MIB: u64 = 1 << 20;
const SWIFT: [&str; 2] = [swift::ACCESS_KEY, swift::SECRET_KEY];
const RGW: [&str; 2] = [rgw::ACCESS_KEY, rgw::SECRET_KEY];

/// A request of another's client, signed.
fn signed(arguments: &[&str]) -> Result<String> {
    let user = RGW.join(":");
    let unsigned = "x-amz-content-sha256: UNSIGNED-PAYLOAD";
    let all = [&["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user, "--header", unsigned], arguments].concat();
    let answer = curl(&all)?;
    ensure!(answer.status < 300, "{arguments:?}: {} {}", answer.status, answer.text());
    Ok(answer.text())
}

/// Each upload is one version more; what was there before stays as an older one.
async fn versions_are_kept(site: &Site, versions: &(dyn Fn() -> Result<usize> + Sync)) -> Result<()> {
    let profile = site.prepare().await?;
    ensure!(profile.missing().is_empty(), "{:?}", profile.missing());
    let before = versions()?;
    for size in [1000, 20 * MIB, 5, 21 * MIB] {
        let (content, bytes) = site.content_for(size).await?;
        site.store(Put::new("k", &content)).await?;
        site.holds("k", &bytes).await?;
    }
    let after = versions()?;
    ensure!(after == before + 4, "{before} versions became {after}");
    site.bucket.delete("k").await?;
    site.bucket.delete("k").await?;
    ensure!(site.bucket.head("k").await?.is_none() && site.bucket.list("k", 9).await?.is_empty());
    ensure!(versions()? == after, "a version is gone");
    // Over a marker of a deletion, which conditional writes must not take for an object.
    let (content, bytes) = site.content_for(10).await?;
    site.bucket.put(Put { only_new: site.bucket.writes_conditionally(), ..Put::new("k", &content) }, None).await?;
    site.holds("k", &bytes).await?;
    site.nothing_unfinished().await
}

#[test]
fn a_bucket_of_swift_that_keeps_versions_has_one_more_for_each_upload() -> Result<()> {
    let store = Swift::start()?;
    store.create_bucket("products")?;
    store.keep_versions("products")?;
    let site = Site::s3(&store.endpoint(), SWIFT, false)?;
    runtime()?.block_on(versions_are_kept(&site, &|| store.versions("products")))?;
    // By Swift's own API it is another way to the same.
    let auth = format!("{{auth_url: FRONT/auth/v1.0, user: '{}', key: SECRET}}", swift::ACCESS_KEY);
    let site = Site::swift(&store.endpoint(), &auth, swift::SECRET_KEY)?;
    runtime()?.block_on(versions_are_kept(&site, &|| store.versions("products")))
}

#[test]
fn a_bucket_of_cephs_gateway_that_is_locked_or_encrypted_by_its_customer_keeps_its_promises() -> Result<()> {
    let store = Rgw::start()?;
    let bucket = format!("{}/products", store.endpoint());
    signed(&["--request", "PUT", "--header", "x-amz-bucket-object-lock-enabled: true", &bucket])?;
    let lock = "<ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><ObjectLockEnabled>Enabled\
                </ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>\
                </ObjectLockConfiguration>";
    signed(&["--request", "PUT", "--data-binary", lock, &format!("{bucket}?object-lock=")])?;
    let site = Site::s3(&store.endpoint(), RGW, false)?;
    runtime()?.block_on(async {
        versions_are_kept(&site, &|| Ok(signed(&[&format!("{bucket}?versions=")])?.matches("<Version>").count()))
            .await
            .context("with a lock")?;
        ensure!(site.bucket.profile().is_some_and(|profile| profile.object_lock), "the lock is not known");
        customers_keys(&site).await.context("with a customer's key")
    })?;
    folders_under_a_customers_key(&site)
}

/// Small objects and such in parts, under options that this store has and under such that it has not.
async fn classes_and_acls(site: &Site, (class, unknown): (&str, &str)) -> Result<()> {
    site.prepare().await?;
    let of = |class: &str, acl: &str| ObjectOptions {
        storage_class: Some(class.to_owned()),
        acl: Some(acl.to_owned()),
        ..ObjectOptions::default()
    };
    for (size, key) in [(1000, "small"), (20 * MIB, "large")] {
        let options = of(class, "public-read");
        let content = site.content_under(size, &options).await?;
        site.store(Put { options: &options, ..Put::new(key, &content) }).await.with_context(|| key)?;
        let head = site.front()?.endpoint() + "/products/" + key;
        let told = curl(&["--head", &head])?;
        ensure!(told.status == 200, "{key}: whoever has no keys is told {}", told.status);
        ensure!(told.header("x-amz-storage-class") == Some(class), "{key}: {:?}", told.headers);
        let private = of(class, "private");
        site.store(Put { options: &private, ..Put::new(key, &content) }).await?;
        ensure!(curl(&["--head", &head])?.status == 403, "{key} is private");
        let refused = of(unknown, "private");
        let refusal = site.store(Put { options: &refused, ..Put::new("unknown", &content) }).await;
        let refusal = refusal.err().context("it is taken")?.to_string();
        ensure!(refusal.contains("InvalidArgument") && refusal.contains("`object`"), "{refusal}");
        ensure!(site.bucket.head("unknown").await?.is_none(), "an object of a class that is not lies there");
    }
    site.nothing_unfinished().await
}

#[test]
fn a_gateway_with_a_second_storage_class_stores_objects_in_it_under_the_acl_that_is_asked_for() -> Result<()> {
    let store = Rgw::start_with_storage_class("COLD")?;
    create_bucket(&store.endpoint(), RGW)?;
    let site = Site::s3(&store.endpoint(), RGW, false)?;
    runtime()?.block_on(classes_and_acls(&site, ("COLD", "FROZEN")))
}

/// The manifest is under the key too: it is read by who has lost his state, and by who verifies.
fn folders_under_a_customers_key(site: &Site) -> Result<()> {
    let product = format!(
        "p: {{watch: FOLDER/in, bucket: b, product: folder, quiet: 200ms, object: {{encryption: {{customer_key: {{file: \
         {}}}}}}}}}",
        site.path("customer").display()
    );
    let mut watched = product_site::Site::start(&format!("b: {}", site.settings), &product)?;
    fs::create_dir(watched.path("in/f"))?;
    product_site::produce(&watched.path("in/f/a"), 1000)?;
    product_site::produce(&watched.path("in/f/b"), 20 << 20)?;
    watched.wait_uploaded(1)?;
    watched.agent.kill9()?;
    fs::remove_dir_all(watched.agent.state_folder().join("products"))?;
    product_site::produce(&watched.path("in/f/a"), 2000)?;
    watched.agent.start_again()?;
    watched.wait_uploaded(1)?;
    let (text, well) = watched.products(&["verify", "--deep", "f/"])?;
    ensure!(well && text.contains("2 files of 1 manifests"), "{text}");
    Ok(())
}

/// SSE-C: whoever has no key reads nothing, and whoever has it everything.
async fn customers_keys(site: &Site) -> Result<()> {
    fs::write(site.path("customer"), "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n")?;
    let key = Encryption::Customer(SecretRef::File(site.path("customer")));
    let options = ObjectOptions { encryption: Some(key.clone()), ..ObjectOptions::default() };
    for size in [1000, 20 * MIB] {
        let content = site.content_under(size, &options).await?;
        let put = Put { options: &options, ..Put::new("secret", &content) };
        site.store(put).await?;
        let there = site.bucket.head_encrypted("secret", Some(&key)).await?.context("it is there")?;
        ensure!(there.size == size && there.sha256.as_deref() == content.sha256(), "{there:?}");
        ensure!(Some(site.bucket.reread(&there, Some(&key)).await?.as_str()) == content.sha256());
        ensure!(site.bucket.get("secret", 1 << 30).await.is_err(), "it is read without the key");
    }
    site.nothing_unfinished().await
}

/// What the configuration of a Swift allows is what is used, be it ever so little.
#[test]
fn a_swift_that_takes_four_parts_gets_four_at_most_and_small_objects_leave_no_segments() -> Result<()> {
    let store = Swift::start_with_most_parts(4)?;
    store.create_bucket("products")?;
    let auth = format!("{{auth_url: FRONT/auth/v1.0, user: '{}', key: SECRET}}", swift::ACCESS_KEY);
    let (own, s3) =
        (Site::swift(&store.endpoint(), &auth, swift::SECRET_KEY)?, Site::s3(&store.endpoint(), SWIFT, false)?);
    runtime()?.block_on(async {
        for (site, segments) in [(&own, "products_segments"), (&s3, "products+segments")] {
            ensure!(site.prepare().await?.most_parts == 4);
            let (content, bytes) = site.content_for(45 * MIB).await?;
            ensure!(content.parts() == 4, "{} parts", content.parts());
            site.store(Put::new("large", &content)).await?;
            site.holds("large", &bytes).await?;
            let parts =
                || Ok::<_, anyhow::Error>(store.keys(segments)?.iter().filter(|key| key.starts_with("large")).count());
            ensure!(parts()? == 4);
            // A small one takes its place.
            let (small, bytes) = site.content_for(100).await?;
            site.store(Put::new("large", &small)).await?;
            site.holds("large", &bytes).await?;
            // Swift's S3 API keeps them, and has no way to them.
            ensure!(site.settings.contains("endpoint") || parts()? == 0, "{} segments are left", parts()?);
            site.bucket.delete("large").await?;
        }
        Ok(())
    })
}

/// One that may use a container, and none beside it.
#[test]
fn a_credential_that_is_restricted_to_a_container_uploads_and_what_it_lacks_is_said() -> Result<()> {
    let store = Swift::start_with_keystone()?;
    let keystone = store.keystone()?;
    let keys = keystone.ec2_credentials()?;
    create_bucket(&store.endpoint(), [&keys.id, &keys.secret])?;
    let site_of = |containers: &[&str]| {
        let credential = keystone.credential_for(containers)?;
        let auth = format!(
            "{{auth_url: {}, region: RegionOne, application_credential: {{id: {}, secret: SECRET}}}}",
            keystone.url(),
            credential.id
        );
        Site::swift(&store.endpoint(), &auth, &credential.secret)
    };
    let (narrow, wide) = (site_of(&["products"])?, site_of(&["products", "products_segments"])?);
    runtime()?.block_on(async {
        narrow.prepare().await?;
        let (small, bytes) = narrow.content_for(1000).await?;
        narrow.store(Put::new("small", &small)).await?;
        narrow.holds("small", &bytes).await?;
        let (large, _) = narrow.content_for(20 * MIB).await?;
        let refused = reason_of(
            narrow
                .store(Put::new("large", &large))
                .await
                .map_err(|error| error.downcast::<hostwright_core::bucket::BucketError>().expect("of the bucket")),
        )?;
        ensure!(refused.is_permanent() && refused.to_string().contains("products_segments"), "{refused}");
        ensure!(narrow.bucket.head("large").await?.is_none());
        wide.prepare().await?;
        let (large, bytes) = wide.content_for(20 * MIB).await?;
        wide.store(Put::new("large", &large)).await?;
        wide.holds("large", &bytes).await?;
        let other = open(&wide.settings.replace("bucket: products", "bucket: others"))?;
        let refused = reason_of(other.check().await)?;
        ensure!(refused.is_permanent(), "{refused}");
        ensure!(!matches!(refused.reason(), Reason::NoSuchBucket), "it was looked at: {refused}");
        Ok(())
    })
}
