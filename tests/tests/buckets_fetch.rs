//! Objects are kept as files: whole, verified, with their owner and mode, through changes, faults and kills.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::engines::Swift;
use hostwright_tests::engines::swift::{ACCESS_KEY, SECRET_KEY};
use hostwright_tests::process::{AgentProcess, binary};
use hostwright_tests::wait::eventually;

const LIMIT: Duration = Duration::from_secs(60);
const KEYS: [(&str, &str); 2] = [("TEST_ACCESS_KEY", ACCESS_KEY), ("TEST_SECRET_KEY", SECRET_KEY)];

fn holds(path: &Path, content: &[u8]) -> Result<()> {
    let found = fs::read(path)?;
    ensure!(
        found == content,
        "{} has {} bytes that are not the {} expected",
        path.display(),
        found.len(),
        content.len()
    );
    Ok(())
}

/// `hostwright-agent products fetch`.
fn fetch_now(agent: &AgentProcess) -> Result<(bool, String)> {
    let socket = agent.socket();
    let output =
        Command::new(binary("hostwright-agent")?).args(["products", "fetch", "--socket"]).arg(socket).output()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok((output.status.success(), text))
}

#[test]
fn objects_become_files_and_follow_the_bucket_through_a_kill() -> Result<()> {
    let store = Swift::start()?;
    store.create_bucket("infra")?;
    store.put_object("infra", "config/envoy.yaml", b"one")?;
    store.put_object("infra", "aux/dem/n45.tif", &vec![7; 3 << 20])?;
    store.put_object("infra", "aux/a%20b.txt", b"text")?;
    let folder = tempfile::tempdir_in("/var/tmp")?;
    let to = folder.path().display();
    let config = format!(
        "buckets:\n  b:\n    endpoint: '{}'\n    bucket: infra\n    credentials: {{env_prefix: TEST}}\n    fetch:\n      \
         - {{key: config/envoy.yaml, to: {to}/etc/envoy.yaml, every: 1s, mode: '0600', group: daemon}}\n      \
         - {{prefix: aux/, to: {to}/aux, every: 1h, delete: true}}\n      \
         - {{key: missing, to: {to}/missing, every: 1h}}\n",
        store.endpoint()
    );
    let mut agent = AgentProcess::start_with_env(&config, &KEYS)?;
    let envoy = folder.path().join("etc/envoy.yaml");
    eventually("all is there", LIMIT, || {
        holds(&envoy, b"one")?;
        holds(&folder.path().join("aux/a b.txt"), b"text")?;
        holds(&folder.path().join("aux/dem/n45.tif"), &vec![7; 3 << 20])
    })?;
    let metadata = envoy.metadata()?;
    ensure!(metadata.permissions().mode() & 0o777 == 0o600 && metadata.gid() == 1, "{metadata:?}");
    agent.wait_status("what is missing is said", LIMIT, |status| {
        let why = status["duties"]["fetch"]["why"].as_str().unwrap_or_default();
        why.contains("missing") && why.contains("no such object")
    })?;
    // At the interval.
    store.put_object("infra", "config/envoy.yaml", b"two")?;
    eventually("the new content", LIMIT, || holds(&envoy, b"two"))?;
    // When an operator asks, after a kill, with the least that there is to be done.
    agent.kill9()?;
    store.put_object("infra", "missing", b"here")?;
    store.put_object("infra", "aux/a%20b.txt", b"other")?;
    let before = folder.path().join("aux/dem/n45.tif").metadata()?.ino();
    agent.start_again()?;
    let (well, told) =
        eventually("the agent takes orders", LIMIT, || fetch_now(&agent).ok().filter(|(well, _)| *well))?;
    ensure!(well && told.contains("b/aux/*"), "{told}");
    holds(&folder.path().join("missing"), b"here")?;
    holds(&folder.path().join("aux/a b.txt"), b"other")?;
    ensure!(folder.path().join("aux/dem/n45.tif").metadata()?.ino() == before, "what was there was fetched again");
    Ok(())
}
