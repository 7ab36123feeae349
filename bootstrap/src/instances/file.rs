//! The files in an instance's folder: their names, and those that are planned.

/// The VM's own disk: what it changed of the image.
pub const DISK: &str = "disk.qcow2";
/// Everything that the VM wrote on its serial console.
pub const CONSOLE: &str = "console.log";
/// QEMU's process id; QEMU removes it when it ends by itself.
pub const PID: &str = "qemu.pid";
/// What QEMU itself complains about.
pub const QEMU_LOG: &str = "qemu.log";
/// QEMU's control socket (QMP).
pub const QMP: &str = "qmp.sock";
/// What the emulated TPM remembers.
pub const TPM: &str = "tpm";
/// Where QEMU reaches the emulated TPM.
pub const TPM_SOCKET: &str = "tpm.sock";

/// A file in the instance's folder.
pub struct PlannedFile {
    /// Relative to the instance's folder.
    pub path: String,
    /// May hold secrets.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for PlannedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.path, self.content.len())
    }
}
