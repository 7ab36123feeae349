//! Containers' resources with cAdvisor's names, read from their control groups.
//!
//! In: what the Docker Engine keeps in its data folder of who runs, the control groups of version 1, 2 or both, and
//! procfs. Out: families with a sample for each container that exists. The engine itself is never asked: its stats take
//! a second. Files of control groups are kept open; nothing survives a restart.

/// Where a container's control groups are.
mod cgroup;
/// Names of block devices.
mod devices;
/// What is told of each container.
mod families;
/// A container that runs.
mod running;
/// What the files of control groups say.
mod usage;

use super::encode::Encoder;
use super::sample::{Page, Reader, Roots};
use crate::docker_root::{self, Description};
use devices::Devices;
use families::Families;
use running::{Buffers, Running};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The containers of this host.
pub struct Containers {
    folder: PathBuf,
    roots: Roots,
    all: BTreeMap<OsString, Known>,
    families: Families,
    buffers: Buffers,
}

/// A folder of the engine's, one for each container.
struct Known {
    /// When what the engine keeps of it was last written.
    written: Option<SystemTime>,
    running: Option<Running>,
    seen: bool,
}

impl Containers {
    /// Those of the engine with this data folder.
    pub fn new(engine: &Path, roots: &Roots) -> Self {
        Self {
            folder: engine.join("containers"),
            roots: roots.clone(),
            all: BTreeMap::new(),
            families: Families::new(roots),
            buffers: Buffers { page: Page::default(), reader: Reader::default(), devices: Devices::new(&roots.sysfs) },
        }
    }

    /// Writes what they use.
    pub fn write(&mut self, out: &mut Encoder) {
        self.refresh();
        for running in self.all.values_mut().filter_map(|known| known.running.as_mut()) {
            running.read(&mut self.buffers);
        }
        // One that has just ended is not there any more.
        let running = self.all.values().filter_map(|known| known.running.as_ref()).filter(|running| running.is_there);
        self.families.write(&running, out);
    }

    /// Takes in which containers there are, and which of them run.
    fn refresh(&mut self) {
        self.all.values_mut().for_each(|known| known.seen = false);
        // No folder, no engine.
        for entry in fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok) {
            let known =
                self.all.entry(entry.file_name()).or_insert(Known { written: None, running: None, seen: false });
            known.seen = true;
            let written = entry.path().join(docker_root::FILE).metadata().and_then(|file| file.modified()).ok();
            if written.is_none() || written != known.written {
                let description = Description::of(&entry.path());
                let id = entry.file_name().to_string_lossy().into_owned();
                known.running = Running::of(&id, &description, &self.roots);
                // One whose control groups are not there yet is looked at again.
                known.written = written.filter(|_| known.running.is_some() || description.pid().is_none());
            }
        }
        self.all.retain(|_, known| known.seen);
    }
}

#[cfg(test)]
mod tests;
