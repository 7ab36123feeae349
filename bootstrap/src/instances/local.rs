//! The provider `local`: VMs on this machine, each a QEMU of its own.

use super::accel::{self, AccelChoice, Accelerator};
use super::console::{self, Console, Verdict};
use super::file::{self, PlannedFile};
use super::name::{InstanceName, new_instance_id};
use super::plan::{Kernel, Order, Plan, plan};
use super::process::{all_qemu_of, has_ended};
use super::qemu::{self, QEMU, QEMU_IMG, SWTPM};
use super::qmp::Qmp;
use super::record::Record;
use super::store::{FolderLock, InstanceFolder, Store};
use super::{Sizes, UpArguments, seed};
use anyhow::{Context as _, bail};
use hostwright_core::atomic_file;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// What a VM that was asked to power down gets for it, before its QEMU is told to end: an emulated one takes half of
/// it to stop its services, and the agent to ship its last lines.
pub const GRACE: Duration = Duration::from_secs(60);
/// QEMU ends on SIGTERM as soon as its disk is flushed.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a console or a process is looked at.
const PAUSE: Duration = Duration::from_millis(100);
/// The disk of a VM whose image is smaller.
const DISK_BYTES: u64 = 4 << 30;

/// A VM that was started.
#[derive(Debug)]
pub struct Started {
    /// Its folder.
    pub folder: InstanceFolder,
    /// What is remembered of it.
    pub record: Record,
    /// Its QEMU.
    pub pid: Pid,
    /// Why it is emulated although KVM was wanted.
    pub why_no_kvm: Option<String>,
}

/// Creates and starts a VM. What fails leaves nothing behind.
///
/// # Errors
/// There is such an instance already, or a file, tool or port that it needs is not to be had.
pub fn create(store: &Store, arguments: &UpArguments, user_data: Vec<u8>) -> anyhow::Result<Started> {
    // Before the folder is made: what the operator got wrong needs no cleaning up.
    let order = order(arguments, user_data)?;
    let (folder, lock) = store.create(&order.name)?;
    start(folder, &order, arguments.accel).or_else(|error| {
        let folder = store.find(&order.name)?;
        clear(&folder, &lock, Duration::ZERO)?;
        Err(error)
    })
}

fn order(arguments: &UpArguments, user_data: Vec<u8>) -> anyhow::Result<Order> {
    let image = absolute(&arguments.image)?;
    let info = qemu::image_info(&image)?;
    let disk_bytes = arguments.sizes.disk.unwrap_or(info.virtual_size.max(DISK_BYTES));
    if disk_bytes < info.virtual_size {
        let least = info.virtual_size.div_ceil(1 << 20);
        bail!("--disk is smaller than the image {image}, which needs {least} MiB");
    }
    let name = if arguments.random_name { InstanceName::random()? } else { arguments.name.clone() };
    let Sizes { memory, cpus, .. } = arguments.sizes;
    Ok(Order {
        name,
        instance_id: new_instance_id()?,
        image,
        image_format: info.format,
        disk_bytes,
        volumes: arguments.volume.clone(),
        tpm: arguments.tpm,
        memory,
        cpus,
        forwards: arguments.forward.clone(),
        user_data,
        kernel: kernel(arguments)?,
    })
}

fn kernel(arguments: &UpArguments) -> anyhow::Result<Option<Kernel>> {
    let Some(path) = &arguments.kernel else { return Ok(None) };
    let initrd = arguments.initrd.as_deref().map(absolute).transpose()?;
    Ok(Some(Kernel { path: absolute(path)?, initrd, command_line: arguments.append.clone().unwrap_or_default() }))
}

/// QEMU gets paths inside JSON, which is text.
fn absolute(path: &Path) -> anyhow::Result<String> {
    let absolute = path.canonicalize().with_context(|| format!("cannot use {}", path.display()))?;
    let text = absolute.into_os_string().into_string();
    text.map_err(|path| anyhow::anyhow!("the path {} is not UTF-8; rename it", path.display()))
}

fn start(folder: InstanceFolder, order: &Order, accel: AccelChoice) -> anyhow::Result<Started> {
    let (accelerator, why_no_kvm) = accel::decide(accel, &folder.path)?;
    let mut record = Record {
        instance_id: order.instance_id.clone(),
        image: order.image.clone(),
        accelerator,
        memory: order.memory,
        cpus: order.cpus,
        forwards: order.forwards.clone(),
        started: Timestamp::now(),
    };
    // Written before anything runs, so that an interrupted start can still be shown and removed.
    record.store(&folder.path)?;
    apply(&plan(order, accelerator, &absolute(&folder.path)?), &folder.path)?;
    let pid = folder.running().context("QEMU ended right after its start")?;
    if !record.forwards.is_empty() {
        record.forwards = Qmp::connect(&folder.path)?.forwards()?;
        record.store(&folder.path)?;
    }
    Ok(Started { folder, record, pid, why_no_kvm })
}

fn apply(plan: &Plan, folder: &Path) -> anyhow::Result<()> {
    let seed = folder.join(seed::FOLDER);
    DirBuilder::new().mode(0o700).create(&seed).with_context(|| format!("cannot make {}", seed.display()))?;
    for PlannedFile { path, content } in &plan.files {
        let path = folder.join(path);
        atomic_file::replace(&path, content, 0o600).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for arguments in &plan.qemu_img {
        qemu::run(QEMU_IMG, arguments, folder).context("cannot make the VM's disks")?;
    }
    if let Some(arguments) = &plan.swtpm {
        let state = folder.join(file::TPM);
        DirBuilder::new().mode(0o700).create(&state).with_context(|| format!("cannot make {}", state.display()))?;
        qemu::run(SWTPM, arguments, folder).context("cannot give the VM a TPM")?;
    }
    qemu::run(QEMU, &plan.qemu, folder).context("cannot start the VM")?;
    Ok(())
}

/// Follows the console until the bootstrap reports the end of the boot.
///
/// # Errors
/// The instance failed, ended, or was not configured in time; the VM is left as it is.
pub fn wait_until_configured(started: &Started, timeout: Duration, show_all: bool) -> anyhow::Result<Duration> {
    let (start, name) = (Instant::now(), &started.folder.name);
    let where_to_look = format!("its console: {}", started.folder.console().display());
    let mut console = Console::open(&started.folder.console())?;
    loop {
        // Asked before the console is read: what a VM that ended wrote last is then read, too.
        let alive = started.folder.running().is_some();
        let lines = console.lines()?;
        console::print(&lines, show_all)?;
        match lines.iter().find_map(|line| console::verdict(line)) {
            Some(Verdict::Configured) => return Ok(start.elapsed()),
            Some(Verdict::Failed) => bail!("{name} runs, but its configuration failed; {where_to_look}"),
            None if !alive => bail!("{name} ended before it was configured; {where_to_look}"),
            None if start.elapsed() >= timeout => {
                bail!("{name} was not configured within {} s; it still runs; {where_to_look}", timeout.as_secs())
            }
            None => {}
        }
        refuse_a_stuck_vm(started, &where_to_look)?;
        thread::sleep(PAUSE);
    }
}

/// A VM that KVM gave up on does not end: it stands still.
fn refuse_a_stuck_vm(started: &Started, where_to_look: &str) -> anyhow::Result<()> {
    if started.record.accelerator != Accelerator::Kvm {
        return Ok(());
    }
    // Another client may hold the socket, or QEMU is just ending: no answer proves nothing.
    let status = Qmp::connect(&started.folder.path).and_then(|mut qmp| qmp.status());
    match status.as_deref() {
        Ok("internal-error") => {
            let name = &started.folder.name;
            bail!("KVM cannot run {name}: remove it and use --accel tcg, which emulates; {where_to_look}")
        }
        _ => Ok(()),
    }
}

/// Shows the console until the VM ends.
///
/// # Errors
/// The console cannot be read, or standard output is closed.
pub fn follow(started: &Started) -> anyhow::Result<()> {
    let mut console = Console::open(&started.folder.console())?;
    loop {
        let alive = started.folder.running().is_some();
        console::print(&console.lines()?, true)?;
        if !alive {
            console::print(&[console.rest()], true)?;
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
}

/// Stops an instance's VM, if it runs, and removes all that there is of it.
///
/// # Errors
/// It does not end, or its folder cannot be removed.
pub fn remove(folder: &InstanceFolder, grace: Duration) -> anyhow::Result<()> {
    clear(folder, &folder.lock()?, grace)
}

/// Ends what runs in the folder and removes the folder; more than once, since a program that an `up` had started
/// right before it was killed may still put files in.
fn clear(folder: &InstanceFolder, lock: &FolderLock, grace: Duration) -> anyhow::Result<()> {
    stop(folder, grace)?;
    for _ in 0..5 {
        if folder.remove(lock).is_ok() {
            break;
        }
        thread::sleep(PAUSE);
        stop(folder, Duration::ZERO)?;
    }
    folder.remove(lock)?;
    stop(folder, Duration::ZERO)
}

/// Power button, SIGTERM, SIGKILL: each only if the one before was not enough.
fn stop(folder: &InstanceFolder, grace: Duration) -> anyhow::Result<()> {
    let pids = all_qemu_of(&folder.path);
    if folder.running().is_some() && !grace.is_zero() {
        match Qmp::connect(&folder.path).and_then(|mut qmp| qmp.power_down()) {
            Ok(()) if end(folder, &pids, grace) => {}
            Ok(()) => log::warn!("{} did not power down within {} s: ending it", folder.name, grace.as_secs()),
            Err(error) => log::warn!("{} cannot be asked to power down ({error:#}): ending it", folder.name),
        }
    }
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGKILL] {
        // Looked for again each time: one that was just being started detaches itself as a new process.
        let pids = all_qemu_of(&folder.path);
        if pids.is_empty() {
            return Ok(());
        }
        for pid in &pids {
            match kill(*pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot end QEMU {pid} of {}", folder.name)),
            }
        }
        end(folder, &pids, TERMINATE_TIMEOUT);
    }
    if all_qemu_of(&folder.path).is_empty() {
        return Ok(());
    }
    bail!("the QEMU of {} does not end, even after SIGKILL; it waits for a disk or a device", folder.name)
}

/// Waits for the processes to end; whether all did.
fn end(folder: &InstanceFolder, pids: &[Pid], timeout: Duration) -> bool {
    let start = Instant::now();
    while !pids.iter().all(|pid| has_ended(&folder.path, *pid)) {
        if start.elapsed() >= timeout {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}
