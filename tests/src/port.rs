//! TCP ports that no other test takes.
//!
//! Servers that cannot report the port they were given need one chosen for them. A port here is below the range that
//! the kernel hands out, and held by a file lock, so it stays free while its server is down and starts again.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;

use anyhow::{Context, Result, bail};

/// Below Linux's default `ip_local_port_range`, above the ports of well-known services.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port on 127.0.0.1, reserved until it is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    pub fn reserve() -> Result<Self> {
        let folder = std::env::temp_dir().join("hostwright-test-ports");
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        // Start at a place of this process's own, so that parallel tests seldom meet.
        let width = RANGE.end - RANGE.start;
        let offset = u16::try_from(process::id().wrapping_mul(37) % u32::from(width))?;
        for step in 0..width {
            let number = RANGE.start + (offset + step) % width;
            let lock = File::options().create(true).append(true).open(folder.join(number.to_string()))?;
            let free = lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
            if free {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("no free port on 127.0.0.1 between {} and {}", RANGE.start, RANGE.end)
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}
