//! Containers' resources with cAdvisor's names, read from their control groups.
//!
//! In: what Docker and Podman keep in their data folders of who runs, the control groups of version 1, 2 or both, and
//! procfs. Out: families with a sample for each container that exists. The engine itself is never asked (its stats take a
//! second), but for the labels that Podman keeps to itself. Files of control groups are kept open; nothing survives a restart.

/// Where a container's control groups are.
mod cgroup;
/// Names of block devices.
mod devices;
/// Where containers are known from.
mod engine;
/// What engines keep of a container.
mod facts;
/// What is told of each container.
mod families;
/// Podman's storage.
mod podman;
/// What Podman's service answers.
mod podman_answer;
/// What only Podman's service tells.
mod podman_labels;
/// A container that runs.
mod running;
/// What the files of control groups say.
mod usage;

use super::encode::Encoder;
use super::sample::{Page, Reader, Roots};
use devices::Devices;
use engine::Engine;
use families::Families;
use running::{Buffers, Running};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

/// The containers of this host.
pub struct Containers {
    engines: Vec<Engine>,
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
    /// Those of the engines with these data folders.
    pub fn new(folders: &[PathBuf], roots: &Roots) -> Self {
        Self {
            engines: folders.iter().flat_map(|folder| Engine::all_of(folder)).collect(),
            roots: roots.clone(),
            all: BTreeMap::new(),
            families: Families::new(roots),
            buffers: Buffers { page: Page::default(), reader: Reader::default(), devices: Devices::new(&roots.sysfs) },
        }
    }

    /// Writes what they use.
    pub fn write(&mut self, out: &mut Encoder) {
        self.refresh();
        let now = Instant::now();
        for running in self.all.values_mut().filter_map(|known| known.running.as_mut()) {
            running.read(now, &mut self.buffers);
        }
        // One that has just ended is not there any more.
        let running = self.all.values().filter_map(|known| known.running.as_ref()).filter(|running| running.is_there);
        self.families.write(&running, out);
    }

    /// Takes in which containers there are, and which of them run.
    fn refresh(&mut self) {
        self.all.values_mut().for_each(|known| known.seen = false);
        for engine in &mut self.engines {
            let all_anew = engine.refresh();
            // No folder, no engine.
            for entry in fs::read_dir(engine.folder()).into_iter().flatten().filter_map(Result::ok) {
                let id = entry.file_name();
                let Some(written) = engine.written(&id) else { continue };
                let known = self.all.entry(id.clone()).or_insert(Known { written: None, running: None, seen: false });
                known.seen = true;
                if all_anew || known.written != Some(written) {
                    let facts = engine.facts(&id);
                    known.running = Running::of(&id.to_string_lossy(), &facts, &self.roots);
                    // One whose control groups are not there yet is looked at again.
                    let is_settled = known.running.is_some() || facts.process.is_none() || !facts.may_come;
                    known.written = is_settled.then_some(written);
                }
            }
        }
        self.all.retain(|_, known| known.seen);
    }
}

#[cfg(test)]
mod tests;
