//! What is remembered of an instance: `record.json` in its folder.

use super::accel::Accelerator;
use super::forward::Forward;
use hostwright_core::state::{StateError, StateFile};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::Path;

const VERSION: u32 = 1;

/// A local instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id, as the VM reads it from its seed.
    pub instance_id: String,
    /// The image that its disk stands on.
    pub image: String,
    /// What runs its processors.
    pub accelerator: Accelerator,
    /// Its memory in MiB.
    pub memory: u32,
    /// Its processors.
    pub cpus: u16,
    /// The ports that lead into it; a host port 0 is not chosen yet.
    pub forwards: Vec<Forward>,
    /// When it was started.
    pub started: Timestamp,
}

impl Record {
    /// Reads the record; nothing when `up` did not get that far.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(folder: &Path) -> Result<Option<Self>, StateError> {
        state_file(folder).load()
    }

    /// Writes the record.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn store(&self, folder: &Path) -> Result<(), StateError> {
        state_file(folder).store(self)
    }
}

fn state_file(folder: &Path) -> StateFile<Record> {
    StateFile::new(folder.join("record.json"), VERSION)
}
