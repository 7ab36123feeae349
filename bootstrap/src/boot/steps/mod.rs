//! What is done to the host, step by step.
//!
//! In: the seed and its user-data. [`plan::plan`] makes the list of steps from them, pure; [`run::run`] carries it out,
//! side by side where [`order`] finds that none waits for another, and records each step in the [`journal::Journal`] before and after. What survives a restart is that journal: a step
//! is done once for each instance id (or at each boot), one that was cut off is done again, one that failed is tried
//! again at the next boot; an operator's command that was cut off twice is given up, since it may be a `reboot`. A further module of cloud-config is a file here and a line in the plan.

/// `/etc/passwd` and `/etc/group`, read.
mod accounts;
/// The agent's program, unit and configuration put in place.
mod agent_install;
/// The agent started and waited for.
mod agent_start;
/// `apt`
mod apt;
/// `~/.ssh/authorized_keys`
mod authorized_keys;
/// `hostwright: {boot: {files: …, bundles: …}}`
mod bundles;
/// A program run to its end, with its output kept.
mod command;
/// Files of the host's own services, and the commands after which they count.
mod configure;
/// `disk_setup` and `fs_setup`
mod disks;
/// `hostwright: {boot: {engine: …, hardening: …}}`
mod engine;
/// Files from elsewhere, verified.
pub mod fetch;
/// `write_files`
mod files;
/// A folder reached without anybody else's links.
mod folder;
/// `groups`
mod groups;
/// `growpart` and `resize_rootfs`
mod growth;
/// The SSH server's keys and switches.
mod host_keys;
/// The host's name and `/etc/hosts`.
mod host_name;
/// What useradd and its kin leave of a power cut.
mod interrupted_accounts;
/// What has been done, on disk.
pub mod journal;
/// `mounts` and `swap`
mod mounts;
/// `ntp`
mod ntp;
/// Which steps wait for which.
pub mod order;
/// The mirrors that the image has.
mod own_mirrors;
/// `packages`
mod packages;
/// `chpasswd` and `password`
mod passwords;
/// Who shall be on the host, put together from everything that is said of users.
mod people;
/// `phone_home`
mod phone_home;
/// A file put in its place.
mod place;
/// The steps of an instance.
pub mod plan;
/// `power_state`
mod power;
/// `random_seed`
mod random_seed;
/// Requests over HTTP.
pub mod request;
/// `rsyslog`
mod rsyslog;
/// The steps carried out.
pub mod run;
/// `locale`, `keyboard`, `ca_certs`, `resolv_conf`, `yum_repos`
mod services;
/// `runcmd`, `bootcmd` and `#!` scripts
mod shell;
/// Key pairs of SSH.
mod ssh_key;
/// The keys of the SSH server on the console.
mod ssh_keys_told;
/// What the SSH server's own configuration says.
mod sshd_config;
/// What devices are called and what is on them.
mod storage;
/// `sudo:` rules of users
mod sudo;
/// `hostwright: {boot: {team: …}}`
mod team;
/// `timezone`
mod timezone;
/// `users`
pub(in crate::boot) mod users;
/// What is wrong in the user-data, as a step that fails.
mod validity;
/// A program of the step of a volume.
mod volume_command;
/// Volumes whose key a TPM has.
mod volume_seal;
/// The programs that volumes need.
mod volume_tools;
/// `hostwright: {boot: {volumes: …}}`
mod volumes;

use super::host::Host;
use hostwright_core::hex::hex;
use order::Part;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;

/// When in the boot a step has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Before the network, the SSH server and every ordinary service.
    Early,
    /// When the network is up.
    Final,
}

/// How often a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frequency {
    /// Once for an instance id, and again when its input changes: doing it twice is as good as once.
    Instance,
    /// Once for an instance id, whatever becomes of its input.
    InstanceOnly,
    /// At each boot.
    Boot,
}

/// One thing that is done to the host.
pub struct Step {
    /// Unique among the steps of an instance, and the same at each boot.
    pub name: String,
    /// Its place in the boot.
    pub stage: Stage,
    /// How often it is done.
    pub frequency: Frequency,
    /// What of the host it works on, which decides what it waits for.
    pub part: Part,
    /// Steps that must have succeeded before.
    pub needs: Vec<&'static str>,
    /// Whether it can end the boot itself, as a `reboot` does: then it is given up after being cut off twice.
    pub can_end_the_boot: bool,
    /// A digest of everything that it is told to do.
    pub input: String,
    /// How it is done.
    pub action: Box<dyn Action>,
}

impl Step {
    /// A step that is done once for an instance, early in the boot, and needs no other.
    pub fn new(name: impl Into<String>, action: impl Action + Serialize + 'static) -> Self {
        // Nothing that is serialised here has keys that are no strings, so there is no error to lose.
        let input = hex(&Sha256::digest(serde_json::to_vec(&action).unwrap_or_default()));
        let (stage, frequency) = (Stage::Early, Frequency::Instance);
        let (name, needs, can_end_the_boot) = (name.into(), Vec::new(), false);
        let part = Part::of(&name);
        Self { name, stage, frequency, part, needs, can_end_the_boot, input, action: Box::new(action) }
    }

    /// Puts it into the final stage.
    pub fn in_the_final_stage(mut self) -> Self {
        self.stage = Stage::Final;
        self
    }

    /// Changes how often it is done.
    pub fn with_frequency(mut self, frequency: Frequency) -> Self {
        self.frequency = frequency;
        self
    }

    /// Makes it an operator's command, done once for an instance, which may be a `reboot`.
    pub fn of_a_command(mut self) -> Self {
        self.can_end_the_boot = true;
        self.with_frequency(Frequency::InstanceOnly)
    }

    /// Names steps that must have succeeded before.
    pub fn needing(mut self, needs: &[&'static str]) -> Self {
        self.needs = needs.to_vec();
        self
    }
}

/// How a step is done. Doing it again, after it was cut off at any point, must end as doing it once.
pub trait Action: Send + Sync {
    /// Does it.
    ///
    /// # Errors
    /// Why it failed and what to do.
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure>;
}

/// What an action may know.
#[derive(Clone)]
pub struct Context<'a> {
    /// The host that is worked on.
    pub host: &'a Host,
    /// The instance's id.
    pub instance_id: &'a str,
    /// The instance's own folder: root's alone.
    pub folder: PathBuf,
    /// Whether the step was tried before and has not succeeded: it was cut off, or it failed.
    pub resumed: bool,
}

/// How a step ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it should be.
    Done,
    /// There was nothing to do, or it cannot be done here; the sentence says which.
    Skipped(String),
    /// An earlier one stands in its way, which is to be mended first.
    NotRun {
        /// How it does.
        why: String,
        /// The step to look at.
        see: String,
    },
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub why: String,
    /// What an operator can do.
    pub remedy: String,
}

impl Failure {
    /// A failure with its remedy.
    pub fn new(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { why: why.into(), remedy: remedy.into() }
    }

    /// The operating system refused something.
    pub fn io(doing: impl Into<String>, error: &std::io::Error) -> Self {
        let remedy = match error.kind() {
            std::io::ErrorKind::ReadOnlyFilesystem => {
                "mount the file system writable, then start this step again by a reboot"
            }
            std::io::ErrorKind::StorageFull => "free some space on the disk; the next boot tries again",
            std::io::ErrorKind::PermissionDenied => "run hostwright-bootstrap as root",
            _ => "see that the folder exists and is writable; the next boot tries again",
        };
        Self::new(format!("cannot {}: {error}", doing.into()), remedy)
    }
}

/// Several things of one kind, each tried whatever becomes of the others.
pub fn each<T>(
    items: &[T],
    name: impl Fn(&T) -> String,
    mut act: impl FnMut(&T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failures: Vec<_> = items.iter().filter_map(|item| Some((name(item), act(item).err()?))).collect();
    let Some((_, first)) = failures.first() else { return Ok(()) };
    let told: Vec<_> = failures.iter().map(|(name, failure)| format!("{name}: {}", failure.why)).collect();
    Err(Failure::new(
        format!("failed {} of {}: {}", failures.len(), items.len(), told.join("; ")),
        first.remedy.clone(),
    ))
}
