//! The Basegun scenario around its VM: registry with the two images, bucket, log receiver, and the user-data that
//! names them all.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::engines::docker::unique;
use crate::engines::{Docker, Registry, Rsyslog, Swift};
use crate::process::binary;
use crate::scenario::render;

/// The bucket that products go to.
pub const BUCKET: &str = "basegun-preprod";
/// How QEMU's user networking shows this machine's loopback to its guest.
const HOST_SEEN_FROM_GUEST: &str = "10.0.2.2";
const NAME: &str = "basegun";

/// The servers that the VM talks to.
#[derive(Debug)]
pub struct Surroundings {
    registry: Registry,
    pub swift: Swift,
    pub rsyslog: Rsyslog,
}

/// How busy the backend is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub lines_per_second: u32,
    pub rotate_seconds: u32,
}

impl Surroundings {
    /// Starts them, makes the bucket, and pushes the images.
    pub fn start() -> Result<Self> {
        let registry = Registry::start()?;
        push_images(&registry)?;
        let swift = Swift::start()?;
        swift.create_bucket(BUCKET)?;
        Ok(Self { registry, swift, rsyslog: Rsyslog::start()? })
    }

    /// `127.0.0.1:PORT` of the registry.
    pub fn registry_host(&self) -> String {
        self.registry.host()
    }

    /// The user-data of a VM that uses them.
    pub fn user_data(&self, pace: Pace, ssh_public_key: &str) -> Result<String> {
        let seen = |port: &str| format!("{HOST_SEEN_FROM_GUEST}:{port}");
        let registry = seen(self.registry.host().rsplit(':').next().unwrap_or_default());
        let endpoint = format!("http://{}", seen(self.swift.endpoint().rsplit(':').next().unwrap_or_default()));
        let receiver = seen(&self.rsyslog.address().port().to_string());
        let (rate, rotate) = (pace.lines_per_second.to_string(), pace.rotate_seconds.to_string());
        let mut values = vec![
            ("workspace", "preprod"),
            ("registry", &registry),
            ("bucket", BUCKET),
            ("bucket_endpoint", &endpoint),
            ("bucket_access_key", "test:tester"),
            ("bucket_secret_key", "testing"),
            ("log_receiver", &receiver),
            ("lines_per_second", &rate),
            ("rotate_seconds", &rotate),
            ("ssh_public_key", ssh_public_key),
        ];
        let compose = render(NAME, "compose.yaml", &values)?;
        let agent = render(NAME, "agent.yaml", &values)?;
        values.extend([("compose", compose.as_str()), ("agent", agent.as_str())]);
        render(NAME, "user-data.yaml", &values)
    }

    /// The log lines that the receiver has, each as (run of the backend, number).
    pub fn received(&self) -> Result<Received> {
        let messages = self.rsyslog.messages()?;
        let numbered: Vec<_> = messages.iter().filter_map(|line| numbered(line)).collect();
        Ok(Received { lines: numbered.len(), distinct: numbered.into_iter().collect() })
    }
}

/// What has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Lines, those that arrived twice counted twice.
    pub lines: usize,
    /// Every line once.
    pub distinct: BTreeSet<(u64, u64)>,
}

/// The (run, number) of a line that the backend wrote.
pub fn numbered(line: &str) -> Option<(u64, u64)> {
    let json: serde_json::Value = serde_json::from_str(line.get(line.find('{')?..)?).ok()?;
    Some((json.get("run")?.as_u64()?, json.get("seq")?.as_u64()?))
}

fn push_images(registry: &Registry) -> Result<()> {
    let docker = Docker::start()?;
    let tree = tempfile::tempdir()?;
    install(&binary("basegun-app")?, tree.path())?;
    for image in ["basegun-backend", "basegun-frontend"] {
        let local = unique(image);
        docker.image_from_tree(&local, tree.path(), &[r#"ENTRYPOINT ["/basegun-app"]"#])?;
        let pushed = registry.push(&docker, &local, &format!("{image}:1.0.0"));
        docker.docker(&["rmi", "--force", &local])?;
        pushed?;
    }
    Ok(())
}

/// A program at the root of an image's tree, with the shared libraries that it asks for.
fn install(program: &Path, tree: &Path) -> Result<()> {
    let name = program.file_name().context("a program has a name")?;
    fs::copy(program, tree.join(name))?;
    let ldd = Command::new("ldd").arg(program).output().context("starting ldd")?;
    ensure!(ldd.status.success(), "ldd {}: {}", program.display(), String::from_utf8_lossy(&ldd.stderr).trim());
    let listed = String::from_utf8_lossy(&ldd.stdout).into_owned();
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let at = tree.join(library.trim_start_matches('/'));
        fs::create_dir_all(at.parent().unwrap_or(tree))?;
        fs::copy(library, &at).with_context(|| format!("copying {library}"))?;
    }
    Ok(())
}
