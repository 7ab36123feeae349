//! Names that others choose: whoever may write into a folder may call a file by any bytes, and link to any file.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::process::Command;

use anyhow::{Result, ensure};
use hostwright_tests::log_host::{Host, SOON};
use hostwright_tests::process::binary;
use hostwright_tests::wait::eventually;

#[test]
fn a_log_whose_name_is_not_utf_8_is_shipped_kept_in_mind_and_shown_and_hinders_no_other() -> Result<()> {
    let mut host = Host::new()?;
    let named = |name: &[u8]| host.log("").join(OsStr::from_bytes(name));
    let (odd, rotated) = (named(b"caf\xe9.json"), named(b"caf\xe9.json.1"));
    // Nothing is pinned, so that what is unread of a rotated file is noted.
    let mut agent = host.agent("*.json", ", pin: 0B")?;
    host.write("log.json", 100)?;
    host.write_to(&mut File::create(&odd)?, 100)?;
    host.wait_complete()?;
    let shown = Command::new(binary("hostwright-agent")?).args(["logs", "--socket"]).arg(agent.socket()).output()?;
    ensure!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));

    host.receiver.stop()?;
    host.write_to(&mut File::options().append(true).open(&odd)?, 3000)?;
    fs::rename(&odd, &rotated)?;
    host.write_to(&mut File::create(&odd)?, 100)?;
    host.wait_archived()?;
    let note = agent.state_folder().join("logs/held-backend.json");
    eventually("it is noted", SOON, || fs::read_to_string(&note).is_ok_and(|note| note.contains("636166e9")))?;
    agent.kill9()?;
    agent.start_again()?;
    host.receiver.start_again()?;
    host.wait_complete()?;
    agent.wait_status("nothing hinders", SOON, |status| status["duties"]["logs"]["state"] == "ok")?;
    ensure!(!agent.output().contains("invalid UTF-8"), "{}", agent.output());
    Ok(())
}

#[test]
fn a_link_that_somebody_planted_to_a_file_that_is_not_for_him_is_told_and_not_shipped() -> Result<()> {
    let mut host = Host::new()?;
    let secret = tempfile::NamedTempFile::new()?;
    fs::write(secret.path(), "root:hunter2\n")?;
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o600))?;
    let planted = host.log("planted.json");
    symlink(secret.path(), &planted)?;
    lchown(&planted, Some(61_001), None)?;
    let agent = host.agent("*.json", "")?;
    host.write("log.json", 100)?;
    host.wait_complete()?;
    let status = agent.wait_status("it is told", SOON, |status| status["duties"]["logs"]["state"] == "degraded")?;
    let why = status["duties"]["logs"]["why"].as_str().unwrap_or_default();
    ensure!(why.contains("planted.json of user 61001") && why.contains("chown -h root"), "{why}");
    // The operator wants it.
    lchown(&planted, Some(0), None)?;
    agent.wait_status("nothing hinders", SOON, |status| status["duties"]["logs"]["state"] == "ok")?;
    Ok(())
}
