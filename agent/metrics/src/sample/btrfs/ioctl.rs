#![expect(unsafe_code, reason = "ioctls that fill structs of the sizes that are in their numbers, given by reference")]

use std::fs::File;
use std::os::fd::AsRawFd;

/// How many device numbers are asked for at most; file systems have far fewer.
const MOST_DEVICES: u64 = 4096;
/// Kinds of errors, in the order of the kernel's.
pub const ERRORS: usize = 5;
const NUMBER: u8 = 0x94;

/// `struct btrfs_ioctl_fs_info_args`
#[repr(C)]
pub struct FsInfo {
    highest: u64,
    devices: u64,
    id: [u8; 16],
    rest: [u8; 992],
}

/// `struct btrfs_ioctl_dev_info_args`
#[repr(C)]
pub struct DevInfo {
    number: u64,
    id: [u8; 16],
    used: u64,
    size: u64,
    rest: [u64; 379],
    path: [u8; 1024],
}

/// `struct btrfs_ioctl_get_dev_stats`
#[repr(C)]
pub struct DevStats {
    number: u64,
    items: u64,
    flags: u64,
    values: [u64; ERRORS],
    rest: [u64; 121],
}

nix::ioctl_read!(fs_info, NUMBER, 31, FsInfo);
nix::ioctl_readwrite!(dev_info, NUMBER, 30, DevInfo);
nix::ioctl_readwrite!(dev_stats, NUMBER, 52, DevStats);

/// A device of a mounted file system.
pub struct Answer {
    pub id: [u8; 16],
    pub path: Vec<u8>,
    pub size: u64,
    pub used: u64,
    pub errors: [u64; ERRORS],
}

/// The file system's identity.
pub fn identity(folder: &File) -> nix::Result<[u8; 16]> {
    Ok(ask(folder)?.id)
}

fn ask(folder: &File) -> nix::Result<FsInfo> {
    let mut info = FsInfo { highest: 0, devices: 0, id: [0; 16], rest: [0; 992] };
    // SAFETY: the struct is the kernel's, and lives as long as the call.
    unsafe { fs_info(folder.as_raw_fd(), &raw mut info) }?;
    Ok(info)
}

/// Every device of it. Numbers of devices that were taken away are free.
pub fn devices(folder: &File) -> nix::Result<Vec<Answer>> {
    let info = ask(folder)?;
    let mut answers = Vec::new();
    for number in 0..=info.highest.min(MOST_DEVICES) {
        if answers.len() as u64 == info.devices {
            break;
        }
        match device(folder, number) {
            Ok(answer) => answers.push(answer),
            Err(nix::errno::Errno::ENODEV) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

fn device(folder: &File, number: u64) -> nix::Result<Answer> {
    let mut info = DevInfo { number, id: [0; 16], used: 0, size: 0, rest: [0; 379], path: [0; 1024] };
    let mut stats = DevStats { number, items: ERRORS as u64, flags: 0, values: [0; ERRORS], rest: [0; 121] };
    // SAFETY: the structs are the kernel's, and live as long as the calls.
    unsafe {
        dev_info(folder.as_raw_fd(), &raw mut info)?;
        dev_stats(folder.as_raw_fd(), &raw mut stats)?;
    }
    let end = memchr::memchr(0, &info.path).unwrap_or(info.path.len());
    Ok(Answer { id: info.id, path: info.path[..end].to_vec(), size: info.size, used: info.used, errors: stats.values })
}
