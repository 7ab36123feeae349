//! Python with the packages that some receivers and decoders are made of.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

const PACKAGES: [&str; 2] = ["moto[server]==5.2.5", "opentelemetry-proto==1.45.2"];

/// The interpreter of a virtual environment beside the tests' own programs, which is made once.
pub fn python() -> Result<PathBuf> {
    let own = env::current_exe()?;
    // The executable of a test is in `target/release/deps`.
    let target = own.ancestors().nth(3).context("the tests' own folder has no target folder above it")?;
    let root = target.join("engines");
    fs::create_dir_all(&root)?;
    let (folder, ready) = (root.join("python"), root.join("python/ready"));
    let interpreter = folder.join("bin/python");
    // Whoever comes second waits for the first.
    let lock = File::options().create(true).append(true).open(root.join("python.lock"))?;
    lock.lock()?;
    if fs::read_to_string(&ready).is_ok_and(|packages| packages == PACKAGES.join("\n")) {
        return Ok(interpreter);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(&interpreter)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(PACKAGES))?;
    fs::write(&ready, PACKAGES.join("\n"))?;
    Ok(interpreter)
}

fn run(command: &mut Command) -> Result<()> {
    let output =
        command.output().with_context(|| format!("running {command:?} (tests/setup.sh installs python3-venv)"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
