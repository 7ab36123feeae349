//! What the tests of products share: a folder that is watched by a real agent, and producers.

#![expect(dead_code, reason = "each file of tests takes what it needs")]

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::engines::Swift;
use hostwright_tests::engines::swift::{ACCESS_KEY, OTHER_ACCESS_KEY, OTHER_SECRET_KEY, SECRET_KEY};
use hostwright_tests::process::{AgentProcess, binary};
use hostwright_tests::wait::eventually;
use serde_json::Value;
use tempfile::TempDir;

pub const LIMIT: Duration = Duration::from_secs(60);
const KEYS: [(&str, &str); 4] = [
    ("TEST_ACCESS_KEY", ACCESS_KEY),
    ("TEST_SECRET_KEY", SECRET_KEY),
    ("OTHER_ACCESS_KEY", OTHER_ACCESS_KEY),
    ("OTHER_SECRET_KEY", OTHER_SECRET_KEY),
];

/// A folder that is watched, and an agent that uploads it; folders with names of their own inside it are made by tests.
pub struct Site {
    pub folder: TempDir,
    pub agent: AgentProcess,
}

impl Site {
    /// `buckets` and `products` are lines of the configuration, in which FOLDER stands for the site's folder.
    pub fn start(buckets: &str, products: &str) -> Result<Self> {
        let folder = tempfile::tempdir_in("/var/tmp")?;
        fs::create_dir(folder.path().join("in"))?;
        let config = format!("host: {{labels: {{role: camera}}}}\nbuckets:\n  {buckets}\nproducts:\n  {products}\n");
        let config = config.replace("FOLDER", &folder.path().display().to_string());
        let agent = AgentProcess::start_with_env(&config, &KEYS)?;
        Ok(Self { folder, agent })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until the status' details of the product `p` are as wanted.
    pub fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let status =
            self.agent.wait_status(what, LIMIT, |status| wanted(&status["duties"]["products"]["details"]["p"]))?;
        Ok(status["duties"]["products"]["details"]["p"].clone())
    }

    pub fn wait_uploaded(&self, number: u64) -> Result<Value> {
        self.wait(&format!("{number} uploads"), |p| p["uploaded"] == number && p["waiting"] == 0)
    }

    /// Waits until the duty is degraded and says this.
    pub fn wait_why(&self, words: &str) -> Result<String> {
        let says = |status: &Value| status["duties"]["products"]["why"].as_str().unwrap_or_default().to_owned();
        let status = self.agent.wait_status(words, LIMIT, |status| says(status).contains(words))?;
        Ok(says(&status))
    }

    /// `hostwright-agent products …`: its output, and whether it said that all is well.
    pub fn products(&self, arguments: &[&str]) -> Result<(String, bool)> {
        let mut command = Command::new(binary("hostwright-agent")?);
        let output = command.arg("products").args(arguments).arg("--socket").arg(self.agent.socket()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ok((text, output.status.success()))
    }

    /// Waits until a file of a bucket that is a folder has this content.
    pub fn wait_file(&self, name: &str, content: &[u8]) -> Result<()> {
        eventually(name, LIMIT, || {
            ensure!(fs::read(self.path(name))? == content, "{name} differs");
            Ok(())
        })
    }

    pub fn uploads_logged(&self) -> usize {
        self.agent.output().matches(": uploaded \"").count()
    }
}

pub fn swift_bucket(swift: &Swift, name: &str) -> Result<String> {
    swift.create_bucket(name)?;
    Ok(format!("b: {{endpoint: '{}', bucket: {name}, credentials: {{env_prefix: TEST}}}}", swift.endpoint()))
}

/// Content that no part of it repeats, written under a temporary name and renamed into place.
pub fn produce(path: &Path, size: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open("/dev/urandom")?.take(size).read_to_end(&mut content)?;
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, &content)?;
    fs::rename(&temporary, path)?;
    Ok(content)
}
