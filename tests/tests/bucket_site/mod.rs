//! A bucket of some store behind a front, as both files of tests about buckets use it.

#![allow(dead_code, reason = "each of the files uses a part of it")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use hostwright_core::bucket::{Bucket, BucketError, Content, Profile, Proof, Put};
use hostwright_core::config::Config;
use hostwright_core::config::buckets::ObjectOptions;
use hostwright_tests::certificates::Certificates;
use hostwright_tests::front::Front;
use tempfile::TempDir;

/// A bucket of some store behind a front, and a folder for this side.
pub struct Site {
    pub bucket: Bucket,
    pub settings: String,
    pub front: Option<Front>,
    pub folder: TempDir,
}

impl Site {
    /// A bucket of an S3 API, whose keys are in a file.
    pub fn s3(endpoint: &str, keys: [&str; 2], tls: bool) -> Result<Self> {
        let folder = tempfile::tempdir_in("/var/tmp")?;
        let keys_file = folder.path().join("keys");
        fs::write(&keys_file, format!("ACCESS_KEY={}\nSECRET_KEY={}\n", keys[0], keys[1]))?;
        let certificates = if tls { Some(Certificates::make()?) } else { None };
        let front = Front::start(endpoint, certificates.as_ref())?;
        let trusted = match &certificates {
            Some(made) => {
                fs::copy(made.path("ca.pem"), folder.path().join("ca.pem"))?;
                format!(", tls: {{ca: {}}}", folder.path().join("ca.pem").display())
            }
            None => String::new(),
        };
        let settings = format!(
            "{{endpoint: '{}', bucket: products, credentials: {{file: {}}}{trusted}}}",
            front.endpoint(),
            keys_file.display()
        );
        Ok(Self { bucket: open(&settings)?, settings, front: Some(front), folder })
    }

    /// A container of Swift's own API; `auth` is the content of `swift:`, in which FRONT and SECRET stand for the URL of
    /// a front and for a reference to the secret.
    pub fn swift(store: &str, auth: &str, secret: &str) -> Result<Self> {
        let folder = tempfile::tempdir_in("/var/tmp")?;
        fs::write(folder.path().join("secret"), secret)?;
        let front = Front::start(store, None)?;
        let reference = format!("{{file: {}}}", folder.path().join("secret").display());
        let auth = auth.replace("FRONT", &front.endpoint()).replace("SECRET", &reference);
        let settings = format!("{{swift: {auth}, bucket: products}}");
        Ok(Self { bucket: open(&settings)?, settings, front: Some(front), folder })
    }

    pub fn in_folder() -> Result<Self> {
        let folder = tempfile::tempdir_in("/var/tmp")?;
        let settings = format!("file://{}/store", folder.path().display());
        Ok(Self { bucket: open(&settings)?, settings, front: None, folder })
    }

    pub fn front(&self) -> Result<&Front> {
        self.front.as_ref().context("a folder has no front")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Content that no part of it repeats.
    pub async fn content(&self, size: u64) -> Result<(Content, Vec<u8>)> {
        self.read(size, Proof::Md5).await
    }

    /// The same as the bucket wants to have it.
    pub async fn content_for(&self, size: u64) -> Result<(Content, Vec<u8>)> {
        let bytes = random(size)?;
        Ok((self.content_of(&bytes).await?, bytes))
    }

    /// What another process would make of the same file: nothing of it is read yet, where the bucket wants it so.
    pub async fn content_of(&self, bytes: &[u8]) -> Result<Content> {
        Ok(self.bucket.content(self.file(bytes)?, bytes.len() as u64, &ObjectOptions::default()).await?)
    }

    /// As the bucket wants it under these options.
    pub async fn content_under(&self, size: u64, options: &ObjectOptions) -> Result<Content> {
        Ok(self.bucket.content(self.file(&random(size)?)?, size, options).await?)
    }

    async fn read(&self, size: u64, proof: Proof) -> Result<(Content, Vec<u8>)> {
        let bytes = random(size)?;
        Ok((Content::read_for(self.file(&bytes)?, size, proof).await?, bytes))
    }

    fn file(&self, bytes: &[u8]) -> Result<File> {
        let mut file = tempfile::tempfile_in(self.folder.path())?;
        file.write_all(bytes)?;
        Ok(file)
    }

    pub async fn prepare(&self) -> Result<Profile> {
        let state = self.path("state");
        fs::create_dir_all(&state)?;
        Ok(self.bucket.prepare(&state).await?)
    }

    /// The whole of an upload.
    pub async fn store(&self, put: Put<'_>) -> Result<()> {
        let upload = self.bucket.begin(put).await?;
        self.bucket.put(put, upload.as_deref()).await?;
        Ok(())
    }

    pub async fn holds(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let held = self.bucket.get(key, 1 << 30).await?;
        ensure!(held == bytes, "{key:?} holds {} bytes that are not the {} expected", held.len(), bytes.len());
        Ok(())
    }

    pub async fn nothing_unfinished(&self) -> Result<()> {
        let unfinished = self.bucket.unfinished("", jiff::Timestamp::MAX).await?;
        ensure!(unfinished.is_empty(), "{unfinished:?}");
        Ok(())
    }
}

fn random(size: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open("/dev/urandom")?.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub fn open(settings: &str) -> Result<Bucket> {
    let config = Config::parse(&format!("buckets:\n  b: {settings}\n"), "agent.yaml")?;
    Ok(Bucket::open("b", &config.buckets["b"])?)
}

pub fn reason_of<T>(result: Result<T, BucketError>) -> Result<BucketError> {
    match result {
        Ok(_) => bail!("it succeeded"),
        Err(error) => Ok(error),
    }
}

pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// rclone is another's client, so that our own need not be able to make buckets.
pub fn create_bucket(endpoint: &str, [access, secret]: [&str; 2]) -> Result<()> {
    let remote =
        format!(":s3,provider=Ceph,access_key_id={access},secret_access_key={secret},endpoint='{endpoint}':products");
    let made = std::process::Command::new("rclone")
        .args(["mkdir", &remote, "--config", "/dev/null"])
        .env_remove("AWS_CA_BUNDLE")
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}
