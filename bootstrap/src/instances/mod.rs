//! VMs from a shell: arguments → plan (pure) → apply, at a provider.
//!
//! Enters: an image, a user-data and sizes. Leaves: a VM that configures itself from that user-data. Survives the
//! command: a folder for each instance with its record, disk, seed and console, which `show` and `down` work from.

mod accel;
mod console;
mod file;
mod forward;
mod local;
mod name;
mod plan;
mod process;
mod qemu;
mod qmp;
mod record;
mod seed;
mod show;
mod store;

use crate::boot::is_sound_user_data;
use accel::AccelChoice;
use anyhow::{Context as _, bail};
use forward::Forward;
use hostwright_core::config::values::{ByteSize, FromNode, parse_duration, parse_size};
use jiff::Timestamp;
use local::Started;
use name::InstanceName;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use store::{InstanceFolder, Store};

/// Where VMs are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Provider {
    /// On this machine, with QEMU.
    Local,
}

/// `hostwright-bootstrap up`
#[derive(clap::Args, Debug)]
pub struct UpArguments {
    /// Where to make the VM.
    #[arg(long, value_enum, default_value = "local")]
    provider: Provider,
    /// The image to boot; it stays unchanged.
    #[arg(long, value_name = "IMAGE")]
    image: PathBuf,
    /// The user-data that the VM configures itself from.
    #[arg(long, value_name = "FILE")]
    user_data: PathBuf,
    /// The instance's name, which is also its first host name.
    #[arg(long, default_value = "hostwright")]
    name: InstanceName,
    /// A name that no other instance has.
    #[arg(long, conflicts_with = "name")]
    random_name: bool,
    #[command(flatten)]
    sizes: Sizes,
    /// Attach an empty disk of this size, as /dev/vdc and so on. May be repeated.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    volume: Vec<u64>,
    /// Give it a TPM 2.0, emulated by swtpm.
    #[arg(long)]
    tpm: bool,
    /// Let a port of 127.0.0.1 lead into the VM; HOST 0 takes a free one, which `show` tells. May be repeated.
    #[arg(long, value_name = "HOST:GUEST")]
    forward: Vec<Forward>,
    /// What runs the VM's processors.
    #[arg(long, value_enum, default_value = "auto")]
    accel: AccelChoice,
    /// Wait until the instance is configured, and show the steps of its boot.
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this time.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration, requires = "wait")]
    timeout: Duration,
    /// Show the VM's serial console: until it is configured with --wait, else until it ends.
    #[arg(long)]
    console: bool,
    /// Boot this kernel instead of the image's boot loader.
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The kernel's initramfs.
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// The kernel's command line.
    #[arg(long, value_name = "TEXT", requires = "kernel", allow_hyphen_values = true)]
    append: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// How large a VM is.
#[derive(Clone, Copy, clap::Args, Debug)]
struct Sizes {
    /// Memory in MiB.
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = clap::value_parser!(u32).range(64..))]
    memory: u32,
    /// Processors.
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u16).range(1..=255))]
    cpus: u16,
    /// Size of the VM's disk; 4G, or the image's size if that is more.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    disk: Option<u64>,
}

/// Where the instances' state is.
#[derive(clap::Args, Debug)]
struct Place {
    /// The folder of the instances [default: $XDG_STATE_HOME/hostwright/instances].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// `hostwright-bootstrap show`
#[derive(clap::Args, Debug)]
pub struct ShowArguments {
    /// This instance alone.
    name: Option<InstanceName>,
    /// How to print.
    #[arg(long, value_enum, default_value = "table")]
    format: show::Format,
    #[command(flatten)]
    place: Place,
}

/// `hostwright-bootstrap down`
#[derive(clap::Args, Debug)]
pub struct DownArguments {
    /// The instances to remove, disks included.
    #[arg(required_unless_present = "all")]
    names: Vec<InstanceName>,
    /// All instances.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Do not give the VMs time to power down by themselves.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    place: Place,
}

/// As in the usage text: a file with problems.
const PROBLEMS: u8 = 2;
/// No user-data of any provider comes near this; it keeps a wrong file name from filling the memory.
const USER_DATA_LIMIT: u64 = 16 << 20;

/// Creates a VM.
///
/// # Errors
/// It could not be created, or was not configured in time.
pub fn up(arguments: &UpArguments) -> anyhow::Result<ExitCode> {
    let user_data = read_user_data(&arguments.user_data)?;
    if !is_sound_user_data(&arguments.user_data, &user_data) {
        return Ok(ExitCode::from(PROBLEMS));
    }
    let store = Store::open(arguments.place.state_dir.as_deref())?;
    let started = match arguments.provider {
        Provider::Local => local::create(&store, arguments, user_data)?,
    };
    announce(&started)?;
    if arguments.wait {
        let took = local::wait_until_configured(&started, arguments.timeout, arguments.console)?;
        say(&format!("{} is configured after {:.1} s", started.folder.name, took.as_secs_f32()))?;
    } else if arguments.console {
        local::follow(&started)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists VMs.
///
/// # Errors
/// Their state cannot be read, or there is none of that name.
pub fn show(arguments: &ShowArguments) -> anyhow::Result<ExitCode> {
    let store = Store::open(arguments.place.state_dir.as_deref())?;
    let folders = match &arguments.name {
        Some(name) => vec![store.find(name)?],
        None => store.list()?,
    };
    let rows = folders.iter().map(show::Row::read).collect::<anyhow::Result<Vec<_>>>()?;
    std::io::stdout().write_all(show::render(&rows, arguments.format, Timestamp::now()).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Removes VMs.
///
/// # Errors
/// One could not be removed, or does not exist; the others are removed all the same.
pub fn down(arguments: &DownArguments) -> anyhow::Result<ExitCode> {
    let store = Store::open(arguments.place.state_dir.as_deref())?;
    let grace = if arguments.now { Duration::ZERO } else { local::GRACE };
    let folders = if arguments.all {
        store.list()?.into_iter().map(Ok).collect()
    } else {
        arguments.names.iter().map(|name| store.find(name)).collect::<Vec<_>>()
    };
    let total = folders.len();
    let mut failed = 0;
    for folder in folders {
        match folder.and_then(|folder| take_down(folder, grace)) {
            Ok(folder) => say(&format!("{} is removed", folder.name))?,
            Err(error) => {
                failed += 1;
                log::error!("{error:#}");
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {total} instances could not be removed");
    }
    Ok(ExitCode::SUCCESS)
}

fn take_down(folder: InstanceFolder, grace: Duration) -> anyhow::Result<InstanceFolder> {
    if !grace.is_zero() && folder.running().is_some() {
        let seconds = grace.as_secs();
        say(&format!("{} is asked to power down, for up to {seconds} s (--now does not wait)", folder.name))?;
    }
    local::remove(&folder, grace)?;
    Ok(folder)
}

fn read_user_data(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    let read = || {
        let size = path.metadata()?.len();
        anyhow::ensure!(size <= USER_DATA_LIMIT, "it has {size} bytes, and {USER_DATA_LIMIT} are the limit");
        Ok(std::fs::read(path)?)
    };
    read().with_context(|| format!("cannot use the user-data {}", path.display()))
}

fn announce(started: &Started) -> anyhow::Result<()> {
    let Started { folder, record, pid, why_no_kvm } = started;
    let accelerator = record.accelerator.as_str();
    say(&format!("{} runs: instance {}, process {pid}, {accelerator}", folder.name, record.instance_id))?;
    if let Some(why) = why_no_kvm {
        say(&format!("  KVM does not work here ({why}): emulating, expect a boot of half a minute or more"))?;
    }
    say(&format!("  console  {}", folder.console().display()))?;
    for Forward { host, guest } in &record.forwards {
        say(&format!("  forward  127.0.0.1:{host} -> port {guest}"))?;
    }
    Ok(())
}

/// A closed standard output is an error like any other, not a panic.
fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("expected {}", Duration::EXPECTED))
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| format!("expected {}", ByteSize::EXPECTED))
}
