//! What runs a VM's processors: KVM where a guest really runs under it, else emulation.

use super::qemu::{self, QEMU};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What the operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AccelChoice {
    /// KVM where a guest runs under it, else emulation.
    Auto,
    /// KVM, untried.
    Kvm,
    /// Emulation, which works everywhere and is many times slower.
    Tcg,
}

/// What the VM gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The kernel's virtual machines.
    Kvm,
    /// QEMU's emulation.
    Tcg,
}

/// x86-64-v2 and AES, which is what distributions' images ask for, and nothing that is slow to emulate: AVX and five
/// levels of page tables make a boot cost 40 % more, and so does page table isolation, which an Intel would get.
const EMULATED: &str = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq,-svm";

impl Accelerator {
    /// QEMU's options for it.
    pub fn qemu_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => &["-accel", "tcg,thread=multi,tb-size=512", "-cpu", EMULATED],
        }
    }

    /// As the options call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// Decides, and says why KVM is not used where it was wanted. The trial leaves nothing in `folder`.
///
/// # Errors
/// The trial could not be made.
pub fn decide(choice: AccelChoice, folder: &Path) -> anyhow::Result<(Accelerator, Option<String>)> {
    match choice {
        AccelChoice::Kvm => Ok((Accelerator::Kvm, None)),
        AccelChoice::Tcg => Ok((Accelerator::Tcg, None)),
        AccelChoice::Auto => Ok(match why_kvm_does_not_work(folder)? {
            None => (Accelerator::Kvm, None),
            why => (Accelerator::Tcg, why),
        }),
    }
}

/// A boot sector that enters 64-bit mode with paging, as every kernel does, and then writes 0x10 to port 0xf4, which
/// makes QEMU's isa-debug-exit device end QEMU with `EXIT_OF_THE_TRIAL`.
///
/// An open /dev/kvm proves little: some nested hypervisors offer it and then run real mode and page table changes of
/// an ordinary guest at a crawl or not at all.
#[rustfmt::skip]
const TRIAL: [u8; 0x8e] = [
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0,       // cli; ds = es = ss = 0
    0x66, 0xbf, 0x00, 0x10, 0x00, 0x00, 0x0f, 0x22, 0xdf,       // edi = 0x1000; cr3 = edi
    0x66, 0xb9, 0x00, 0x0c, 0x00, 0x00, 0x66, 0x31, 0xc0, 0xfc, // ecx = 0xc00; eax = 0; cld
    0x67, 0x66, 0xf3, 0xab,                                     // rep stosl: three empty tables
    0x66, 0xc7, 0x06, 0x00, 0x10, 0x03, 0x20, 0x00, 0x00,       // [0x1000] = 0x2003: level 4 -> level 3
    0x66, 0xc7, 0x06, 0x00, 0x20, 0x03, 0x30, 0x00, 0x00,       // [0x2000] = 0x3003: level 3 -> level 2
    0x66, 0xc7, 0x06, 0x00, 0x30, 0x83, 0x00, 0x00, 0x00,       // [0x3000] = 0x83: one page of 2 MiB at 0
    0x66, 0xb8, 0x20, 0x00, 0x00, 0x00, 0x0f, 0x22, 0xe0,       // cr4 = PAE
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32,             // rdmsr EFER
    0x66, 0x0d, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30,             // EFER |= LME; wrmsr
    0x0f, 0x20, 0xc0, 0x66, 0x0d, 0x01, 0x00, 0x00, 0x80,       // eax = cr0 | PG | PE
    0x0f, 0x22, 0xc0,                                           // cr0 = eax
    0x0f, 0x01, 0x16, 0x88, 0x7c,                               // lgdt [0x7c88]
    0xea, 0x6a, 0x7c, 0x08, 0x00,                               // ljmp 8:0x7c6a, which is 64-bit:
    0xb0, 0x10, 0xe6, 0xf4, 0xf4, 0xeb, 0xf9,                   // out 0x10 to 0xf4; hlt; again
    0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00,                   // (alignment)
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,             // descriptors: null,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x9a, 0x20, 0x00,             // 64-bit code
    0x0f, 0x00, 0x78, 0x7c, 0x00, 0x00,                         // their limit and address
];
/// isa-debug-exit ends QEMU with (value << 1) | 1.
const EXIT_OF_THE_TRIAL: i32 = 0x10 << 1 | 1;
/// Firmware and boot sector take less than 0.1 s even under emulation.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(3);

fn why_kvm_does_not_work(folder: &Path) -> anyhow::Result<Option<String>> {
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        return Ok(Some(format!("/dev/kvm: {error}")));
    }
    let disk = folder.join("kvm-trial.img");
    let outcome = write_trial(&disk).and_then(|()| try_guest(&disk, Accelerator::Kvm));
    std::fs::remove_file(&disk).with_context(|| format!("cannot remove {}", disk.display()))?;
    outcome
}

fn write_trial(disk: &Path) -> anyhow::Result<()> {
    let mut sector = [0; 512];
    sector[..TRIAL.len()].copy_from_slice(&TRIAL);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let write = || {
        let mut file = File::create(disk)?;
        file.write_all(&sector)?;
        // Firmware reads no disk that is shorter than a cylinder.
        file.set_len(1 << 20)
    };
    write().with_context(|| format!("cannot write {}", disk.display()))
}

/// Why the trial's guest does not run; `None` when it does.
fn try_guest(disk: &Path, accelerator: Accelerator) -> anyhow::Result<Option<String>> {
    let disk = serde_json::json!({"driver": "file", "node-name": "disk", "filename": disk, "read-only": true});
    let mut child = Command::new(QEMU)
        .args(["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "64"])
        .args(accelerator.qemu_arguments())
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-blockdev", &disk.to_string()])
        .args(["-device", "virtio-blk-pci,drive=disk,bootindex=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| qemu::not_started(QEMU, error))?;
    match wait(&mut child, TRIAL_TIMEOUT)? {
        Some(status) if status.code() == Some(EXIT_OF_THE_TRIAL) => Ok(None),
        Some(status) => {
            let mut said = Vec::new();
            // A few sentences at most; without them the exit status has to do.
            let _ = child.stderr.take().map(|stderr| stderr.take(64 << 10).read_to_end(&mut said));
            Ok(Some(qemu::complaint(&said).unwrap_or_else(|| format!("QEMU ended: {status}"))))
        }
        None => Ok(Some(format!("a guest did not run within {} s", TRIAL_TIMEOUT.as_secs()))),
    }
}

/// The child's end, or nothing after it had to be killed.
fn wait(child: &mut Child, timeout: Duration) -> anyhow::Result<Option<ExitStatus>> {
    let start = Instant::now();
    while start.elapsed() < timeout {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{AccelChoice, Accelerator, decide, try_guest, write_trial};

    #[test]
    fn the_trial_s_guest_runs_where_the_accelerator_works() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let disk = folder.path().join("disk");
        write_trial(&disk).expect("written");
        assert_eq!(try_guest(&disk, Accelerator::Tcg).expect("tried"), None);
    }

    #[test]
    fn the_decision_leaves_nothing_behind_and_gives_a_reason_for_emulation() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (accelerator, why) = decide(AccelChoice::Auto, folder.path()).expect("decided");
        assert_eq!(accelerator == Accelerator::Tcg, why.is_some());
        assert_eq!(folder.path().read_dir().expect("list").count(), 0);
    }
}
