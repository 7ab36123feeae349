//! The QEMU processes of an instance, recognised beyond their pid.

use super::qemu::{QEMU, QEMU_IMG};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;

/// Whether this very process is a QEMU, or its disk tool, that works in `folder`.
///
/// A pid alone proves nothing, since the system gives it to another process later; the folder among the arguments of
/// a QEMU does.
pub fn is_qemu_of(folder: &Path, pid: Pid) -> bool {
    let Ok(command_line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut arguments = command_line.split(|byte| *byte == 0);
    let program = arguments.next().unwrap_or_default();
    let mark = [folder.as_os_str().as_encoded_bytes(), b"/"].concat();
    let is_qemu = [QEMU, QEMU_IMG].iter().any(|name| program.ends_with(name.as_bytes()));
    is_qemu && arguments.any(|argument| argument.windows(mark.len()).any(|at| at == mark))
}

/// Every QEMU that works in `folder`: also one whose `up` was killed before it had written its pid file.
pub fn all_qemu_of(folder: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .filter(|pid| is_qemu_of(folder, *pid))
        .collect()
}

/// Whether a QEMU that worked in `folder` has let go of its ports and files.
///
/// A process that ends loses its arguments first, and its ports a little later.
pub fn has_ended(folder: &Path, pid: Pid) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let has_arguments = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| !arguments.is_empty());
    // The state stands behind the name in parentheses, which may hold anything. The first thread may be dead before
    // the others are, and they share the ports.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let is_dead = threads <= 1 && stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X']));
    is_dead || has_arguments && !is_qemu_of(folder, pid)
}
