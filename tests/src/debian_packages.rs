//! Debian's packages for a machine that has no network: fetched here, installed there.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::nspawn::Machine;

/// Fetches a package with what it needs and the machine's root has not, once for a folder.
pub fn fetch(package: &str, folder: &Path) -> Result<()> {
    if folder.join("done").is_file() {
        return Ok(());
    }
    fetch_for(&Machine::new()?, package, folder)
}

/// Fetches a package with what it needs and this machine's root has not, once for a folder.
pub fn fetch_for(machine: &Machine, package: &str, folder: &Path) -> Result<()> {
    if folder.join("done").is_file() {
        return Ok(());
    }
    fs::create_dir_all(folder.join("partial"))?;
    let status = machine.path("/var/lib/dpkg/status");
    let install = || {
        let mut apt = Command::new("apt-get");
        apt.args(["--yes", "--quiet", "--no-install-recommends", "--download-only", "-o", "APT::Sandbox::User=root"])
            .args(["-o", &format!("Dir::State::status={}", status.display())])
            .args(["-o", &format!("Dir::Cache::archives={}", folder.display()), "install", package])
            .stdout(Stdio::null())
            .status()
    };
    // The machine's root may have been made since this one's lists were: what it has is then newer than what they name.
    if !install()?.success() {
        let update = ["/run/lock/hostwright-tests-apt", "apt-get", "update", "--quiet"];
        Command::new("flock").args(update).stdout(Stdio::null()).status()?;
        let fetched = install()?;
        ensure!(fetched.success(), "apt-get cannot fetch {package}: {fetched}");
    }
    Ok(fs::write(folder.join("done"), "")?)
}

/// Installs all packages of a folder.
pub fn install(machine: &Machine, folder: &Path) -> Result<()> {
    let command = ["/bin/sh", "-c", "dpkg --force-depends -i /debs/*.deb"];
    in_container(machine, &[&format!("--bind-ro={}:/debs", folder.display())], &command)
}

/// Takes packages off the image, with their settings and data.
pub fn purge(machine: &Machine, packages: &[&str]) -> Result<()> {
    in_container(machine, &[], &[&["dpkg", "--force-depends", "--purge"], packages].concat())
}

fn in_container(machine: &Machine, options: &[&str], words: &[&str]) -> Result<()> {
    let mut command = Command::new("systemd-nspawn");
    command.args(["--quiet", "--register=no", "--keep-unit", "--private-network", "--pipe", "--directory"]);
    command.arg(machine.path("/")).args(options).args(words);
    command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1").stdin(Stdio::null());
    let output = command.output()?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Puts the packages of a folder where the machine's apt finds them.
pub fn offer(machine: &Machine, folder: &Path) -> Result<()> {
    let repository = machine.path("/srv/repository");
    fs::create_dir_all(&repository)?;
    let mut index = String::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "deb") {
            continue;
        }
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        fs::copy(&path, repository.join(&name))?;
        let control = run(Command::new("dpkg-deb").arg("--field").arg(&path))?;
        let sum = run(Command::new("sha256sum").arg(&path))?;
        let digest = sum.split_whitespace().next().context("no digest")?;
        let size = path.metadata()?.len();
        index.push_str(&format!("{}\nFilename: ./{name}\nSize: {size}\nSHA256: {digest}\n\n", control.trim_end()));
    }
    fs::write(repository.join("Packages"), index)?;
    machine.write("/etc/apt/sources.list.d/offered.list", "deb [trusted=yes] file:/srv/repository ./\n")
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {:?}", command.get_program()))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
