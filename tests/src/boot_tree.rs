//! A machine that is a folder: the bootstrap boots in it without touching this one.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::Result;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::binary;

/// A tree without anything in it but what firmware says of the machine.
pub struct BootTree {
    folder: TempDir,
}

impl BootTree {
    /// With these strings of DMI.
    pub fn new(dmi: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for name in ["root/etc", "proc/sys/kernel/random", "sys/class/block", "sys/class/net", "sys/class/dmi/id"] {
            fs::create_dir_all(folder.path().join(name))?;
        }
        fs::write(folder.path().join("proc/cmdline"), "quiet\n")?;
        let tree = Self { folder };
        for (name, value) in dmi {
            fs::write(tree.path("sys/class/dmi/id").join(name), value)?;
        }
        Ok(tree)
    }

    /// A path in it: `root/…`, `proc/…`, `sys/…`.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// A stage of the boot with this number, with the metadata service at another place than its own.
    pub fn boot(&self, number: u32, stage: &str, metadata_url: Option<&str>) -> Result<Output> {
        Ok(self.command(number, stage, metadata_url)?.output()?)
    }

    /// The same, while no answer comes that would do.
    pub fn boot_in_vain(&self, number: u32, stage: &str, metadata_url: &str) -> Result<Output> {
        Ok(self.command(number, stage, Some(metadata_url))?.env("HOSTWRIGHT_METADATA_PATIENCE", "1").output()?)
    }

    /// The same, to be run otherwise.
    pub fn command(&self, number: u32, stage: &str, metadata_url: Option<&str>) -> Result<Command> {
        fs::write(self.path("proc/sys/kernel/random/boot_id"), format!("boot-{number}\n"))?;
        let mut command = Command::new(binary("hostwright-bootstrap")?);
        command.args(["boot", "--stage", stage, "--root"]).arg(self.path("root"));
        command.arg("--proc").arg(self.path("proc")).arg("--sys").arg(self.path("sys"));
        if let Some(url) = metadata_url {
            command.args(["--metadata-url", url]);
        }
        // A service that is there may still be slow on a machine that is busy.
        command.env("HOSTWRIGHT_METADATA_PATIENCE", "30");
        Ok(command)
    }

    /// The boot's report.
    pub fn report(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&fs::read(self.path("root/run/hostwright/boot.json"))?)?)
    }

    /// Whether the boot made this file.
    pub fn has(&self, relative: &str) -> bool {
        self.path("root").join(relative).exists()
    }
}

/// What a command printed.
pub fn console(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
