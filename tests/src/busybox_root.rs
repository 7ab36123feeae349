//! A small root file system with busybox for a shell, beside a `/proc` that says which boot this is.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::binary;
use crate::wait::eventually;

/// Within it a boot comes to any of its steps.
const LIMIT: Duration = Duration::from_secs(60);

/// The tree; it goes with this value.
#[derive(Debug)]
pub struct BusyboxRoot {
    folder: TempDir,
}

impl BusyboxRoot {
    /// Makes it, with a NoCloud seed of the instance `i-1`.
    pub fn new(user_data: &str) -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "commands of a tree run in a chroot: run the tests as root");
        let tree = Self { folder: tempfile::tempdir()? };
        let root = tree.root();
        for folder in ["bin", "etc", "opt", "dev", "run", "usr/bin", "var/lib/cloud/seed/nocloud"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).context("tests/setup.sh installs busybox-static")?;
        for applet in ["sh", "sleep", "mv", "kill", "touch", "mkfifo"] {
            symlink("busybox", root.join("bin").join(applet))?;
        }
        fs::write(root.join("etc/fstab"), "# fstab\n")?;
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n")?;
        fs::write(root.join("usr/bin/hostwright-agent"), "")?;
        fs::set_permissions(root.join("usr/bin/hostwright-agent"), fs::Permissions::from_mode(0o755))?;
        for folder in ["proc/sys/kernel/random", "sys/class/block"] {
            fs::create_dir_all(tree.path().join(folder))?;
        }
        fs::write(tree.path().join("proc/cmdline"), "quiet\n")?;
        tree.seed("i-1", user_data)?;
        Ok(tree)
    }

    /// The folder of the tree and of what belongs to it.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// Says who the instance is and what it shall be.
    pub fn seed(&self, instance_id: &str, user_data: &str) -> Result<()> {
        let seed = self.root().join("var/lib/cloud/seed/nocloud");
        fs::write(seed.join("meta-data"), format!("instance-id: {instance_id}\n"))?;
        Ok(fs::write(seed.join("user-data"), user_data)?)
    }

    /// The words that run `boot` as the boot of this number.
    pub fn words(&self, number: u32) -> Result<Vec<String>> {
        let proc = self.path().join("proc");
        fs::write(proc.join("sys/kernel/random/boot_id"), format!("boot-{number}\n"))?;
        let program = binary("hostwright-bootstrap")?;
        let paths = [&program, &self.root(), &proc, &self.path().join("sys")].map(|path| path.display().to_string());
        let [program, root, proc, sys] = paths;
        Ok([&program, "boot", "--root", &root, "--proc", &proc, "--sys", &sys].map(str::to_owned).to_vec())
    }

    /// `boot` in a process namespace, of which the first process takes the others with it.
    fn command(&self, number: u32) -> Result<Command> {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child=KILL", "--"]).args(self.words(number)?);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(command)
    }

    /// Runs `boot`; after `cut` everything that it started is killed at once, as by a power cut.
    pub fn boot(&self, number: u32, cut: Option<Duration>) -> Result<ExitStatus> {
        let mut child = self.command(number)?.spawn()?;
        if let Some(cut) = cut {
            // The moment is what is varied here, so there is no condition to wait for.
            std::thread::sleep(cut);
            child.kill()?;
        }
        ended(child).map(|(status, _)| status)
    }

    /// Runs `boot` until `has_come`; then everything that it started is killed at once.
    pub fn boot_until(&self, number: u32, what: &str, has_come: impl Fn() -> bool) -> Result<ExitStatus> {
        let mut child = self.command(number)?.spawn()?;
        let came = eventually(what, LIMIT, has_come);
        child.kill()?;
        let status = ended(child)?.0;
        came.map(|()| status)
    }

    /// Runs `boot` to its end; its status and what it wrote to the console.
    pub fn boot_console(&self, number: u32) -> Result<(ExitStatus, String)> {
        ended(self.command(number)?.spawn()?)
    }

    /// Every file with mode, owner and content, without what bootstrap keeps for itself.
    pub fn snapshot(&self) -> Result<BTreeMap<String, String>> {
        let mut found = snapshot_of(&self.root())?;
        found.retain(|path, _| !path.starts_with("var/lib/hostwright") && !path.starts_with("run/"));
        Ok(found)
    }

    /// A file of the instance's own folder, or nothing where there is none.
    pub fn kept(&self, instance_id: &str, name: &str) -> String {
        let path = self.root().join("var/lib/hostwright/bootstrap").join(instance_id).join(name);
        fs::read_to_string(path).unwrap_or_default()
    }

    /// The report of the instance's last boot.
    pub fn report(&self, instance_id: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.kept(instance_id, "report.json"))?)
    }
}

/// Its end, with all that came to its console: unshare's own end comes a little before.
fn ended(mut child: Child) -> Result<(ExitStatus, String)> {
    let mut console = String::new();
    child.stdout.take().context("piped above")?.read_to_string(&mut console)?;
    Ok((child.wait()?, console))
}

/// `[  0.1s] files            done     0.05 s`
pub fn is_of_a_step(line: &str) -> bool {
    line.starts_with('[') && [" done ", " skipped", " failed ", " not run"].iter().any(|state| line.contains(state))
}

/// Every file below a folder with mode, owner and content.
pub fn snapshot_of(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    collect(root, root, &mut found)?;
    Ok(found)
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let metadata = path.symlink_metadata()?;
        let name = path.strip_prefix(root)?.display().to_string();
        let content = match () {
            () if metadata.is_symlink() => fs::read_link(&path)?.display().to_string(),
            () if !metadata.is_file() => String::new(),
            () if name == "bin/busybox" => String::new(),
            () => String::from_utf8_lossy(&fs::read(&path)?).into_owned(),
        };
        found.insert(name, format!("{:o} {}:{} {content}", metadata.mode(), metadata.uid(), metadata.gid()));
        if metadata.is_dir() {
            collect(root, &path, found)?;
        }
    }
    Ok(())
}

/// Names of steps with how they ended and in which boot.
pub fn outcomes(report: &Value) -> Vec<(String, String, u64)> {
    let steps = report["steps"].as_array().cloned().unwrap_or_default();
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    steps.iter().map(|step| (text(step, "name"), text(step, "outcome"), step["boot"].as_u64().unwrap_or(0))).collect()
}
