#![expect(unsafe_code, reason = "an ioctl that fills buffers of the sizes that their commands have")]

use hostwright_duty::netlink::number;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::os::fd::{AsRawFd, OwnedFd};

// Commands of linux/ethtool.h, which every user may give.
const ETHTOOL_GSET: u32 = 0x1;
const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETH_SS_STATS: u32 = 1;

/// `struct ethtool_cmd`
const SETTINGS: usize = 44;
/// `struct ethtool_drvinfo`
const DRIVER: usize = 196;
/// Each of a driver's texts.
const TEXT: usize = 32;
const TEXTS: usize = 5;
const STATISTICS_AT: usize = 180;
/// Drivers of many queues have some ten thousand; more is a defect.
const MOST_STATISTICS: u32 = 32_768;
/// The kernel gives as many as there are when it is asked, whatever the buffer was made for: queues may be added since
/// they were counted.
const ROOM_FOR_MORE: usize = 4096;
const LONGEST_NAME: usize = 15;

/// `struct ifreq`
#[repr(C)]
pub struct Request {
    name: [u8; 16],
    data: *mut u8,
    rest: [u8; 16],
}

nix::ioctl_readwrite_bad!(siocethtool, 0x8946, Request);

/// What a port can do and does, as bits of the first 32 link modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub supported: u32,
    pub advertised: u32,
    pub autonegotiates: u8,
}

/// A driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driver {
    texts: [[u8; TEXT]; TEXTS],
    /// How many numbers it counts.
    pub statistics: u32,
}

impl Driver {
    /// Its name, its version, the firmware's, the bus's address of the device, the expansion ROM's version.
    pub fn texts(&self) -> [&[u8]; TEXTS] {
        self.texts.each_ref().map(|text| until_nul(text))
    }
}

/// A socket by which devices are asked.
pub struct Kernel {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Kernel {
    /// Asks nothing yet.
    pub fn open() -> nix::Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, buffer: Vec::new() })
    }

    pub fn settings(&mut self, device: &[u8]) -> nix::Result<Settings> {
        let answer = self.ask(device, SETTINGS, &[ETHTOOL_GSET])?;
        let at = |at| number(answer, at).unwrap_or_default();
        Ok(Settings { supported: at(4), advertised: at(8), autonegotiates: answer[18] })
    }

    pub fn driver(&mut self, device: &[u8]) -> nix::Result<Driver> {
        let answer = self.ask(device, DRIVER, &[ETHTOOL_GDRVINFO])?;
        let mut texts = [[0; TEXT]; TEXTS];
        for (text, bytes) in texts.iter_mut().zip(answer[4..].chunks_exact(TEXT)) {
            text.copy_from_slice(bytes);
        }
        Ok(Driver { texts, statistics: number(answer, STATISTICS_AT).unwrap_or_default().min(MOST_STATISTICS) })
    }

    /// The names of its numbers.
    pub fn names(&mut self, device: &[u8], count: u32) -> nix::Result<impl Iterator<Item = &[u8]>> {
        let size = 12 + (2 * count as usize + ROOM_FOR_MORE) * TEXT;
        let answer = self.ask(device, size, &[ETHTOOL_GSTRINGS, ETH_SS_STATS, count])?;
        let known = number(answer, 8).unwrap_or_default() as usize;
        Ok(answer[12..].chunks_exact(TEXT).take(known).map(until_nul))
    }

    /// Its numbers, in the order of their names.
    pub fn numbers(&mut self, device: &[u8], count: u32) -> nix::Result<impl Iterator<Item = u64>> {
        let size = 8 + (2 * count as usize + ROOM_FOR_MORE) * size_of::<u64>();
        let answer = self.ask(device, size, &[ETHTOOL_GSTATS, count])?;
        let known = number(answer, 4).unwrap_or_default() as usize;
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
        Ok(answer[8..].chunks_exact(size_of::<u64>()).take(known).map(number))
    }

    /// Gives a command with its arguments, whose answer takes their place and so many bytes.
    fn ask(&mut self, device: &[u8], size: usize, command: &[u32]) -> nix::Result<&[u8]> {
        if device.len() > LONGEST_NAME {
            return Err(Errno::ENODEV);
        }
        self.buffer.clear();
        command.iter().for_each(|word| self.buffer.extend_from_slice(&word.to_ne_bytes()));
        self.buffer.resize(size, 0);
        let mut request = Request { name: [0; 16], data: self.buffer.as_mut_ptr(), rest: [0; 16] };
        request.name[..device.len()].copy_from_slice(device);
        // SAFETY: the request is the kernel's struct; its buffer has the size of the command's answer, with room for
        // what a driver may have added since it was asked how much it has. Both live as long as the call.
        unsafe { siocethtool(self.socket.as_raw_fd(), &raw mut request) }?;
        Ok(&self.buffer)
    }
}

fn until_nul(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(0, text).unwrap_or(text.len())]
}
