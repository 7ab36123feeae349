//! A guest of a kernel, busybox and one script, to try `up` with: under emulation it boots in a few seconds.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File, Permissions};
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Below the modules' `kernel/`, in the order in which they are loaded.
const MODULES: [&str; 15] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "drivers/block/virtio_blk",
    "fs/nls/nls_cp437",
    "fs/nls/nls_ascii",
    "fs/fat/fat",
    "fs/fat/vfat",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/acpi/button",
    "drivers/input/evdev",
];

/// What `up` needs to boot it.
#[derive(Debug)]
pub struct TinyGuest {
    folder: PathBuf,
    kernel: PathBuf,
}

impl TinyGuest {
    /// Builds it from the image's kernel and this machine's busybox, unless it is there already.
    pub fn build() -> Result<Self> {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/image");
        let kernel = images.join("vmlinuz");
        let base = base(&images)?;
        let folder = images.join(format!("tiny-guest-{:016x}", recipe(&base)?));
        let lock = File::create(images.join("tiny-guest.lock"))?;
        lock.lock()?;
        if !folder.is_dir() {
            let work = tempfile::tempdir_in(&images)?;
            make(&base, work.path())?;
            fs::rename(work.keep(), &folder)?;
        }
        Ok(Self { folder, kernel })
    }

    /// The options of `up` that boot it; `word` tells it how to end.
    pub fn options(&self, word: &str) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut options: Vec<String> = ["--memory", "192", "--cpus", "1", "--disk", "64M"].map(str::to_owned).into();
        options.extend(["--image".to_owned(), path(&self.folder.join("disk.qcow2"))]);
        options.extend(["--kernel".to_owned(), path(&self.kernel)]);
        options.extend(["--initrd".to_owned(), path(&self.folder.join("initrd"))]);
        options.extend(["--append".to_owned(), format!("console=ttyS0 quiet panic=-1 {word}")]);
        options
    }

    /// Its disk image, which is empty.
    pub fn image(&self) -> PathBuf {
        self.folder.join("disk.qcow2")
    }
}

/// The layer of the image that still has the kernel's modules.
fn base(images: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(images).with_context(|| format!("reading {}: run `make image`", images.display()))?;
    let is_base = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("base-"));
    let found = entries.filter_map(|entry| Some(entry.ok()?.path())).find(is_base);
    found.with_context(|| format!("no base-*.tar.zst in {}: run `make image`", images.display()))
}

fn init() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tiny-guest/init")
}

/// Another script or another kernel makes another guest.
fn recipe(base: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    (base.file_name(), fs::read(init())?, MODULES).hash(&mut hasher);
    Ok(hasher.finish())
}

fn make(base: &Path, folder: &Path) -> Result<()> {
    let root = folder.join("root");
    for below in ["bin", "modules", "proc", "sys", "dev", "mnt", "etc/acpi"] {
        fs::create_dir_all(root.join(below))?;
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).context("copying busybox: run tests/setup.sh")?;
    fs::copy(init(), root.join("init"))?;
    fs::write(root.join("etc/acpid.conf"), "PWRF power-button\n")?;
    fs::write(root.join("etc/acpi/power-button"), "#!/bin/sh\npoweroff -f\n")?;
    for script in ["init", "etc/acpi/power-button"] {
        fs::set_permissions(root.join(script), Permissions::from_mode(0o755))?;
    }
    modules(base, &root)?;
    run(Command::new("sh").current_dir(&root).args(["-c", "find . | busybox cpio -o -H newc | gzip -1 > ../initrd"]))?;
    run(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(folder.join("disk.qcow2")).arg("64M"))?;
    Ok(fs::remove_dir_all(root)?)
}

fn modules(base: &Path, root: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--zstd", "--wildcards", "--transform", "s|.*/||", "-C"]).arg(root.join("modules")).arg("-xf").arg(base);
    run(tar.args(MODULES.map(|module| format!("./usr/lib/modules/*/kernel/{module}.ko"))))?;
    let order: String = MODULES.iter().filter_map(|module| Some(format!("{}\n", module.rsplit('/').next()?))).collect();
    Ok(fs::write(root.join("modules/order"), order)?)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
