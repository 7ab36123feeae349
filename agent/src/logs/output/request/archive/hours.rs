use crate::logs::output::request::batch::Batch;
use hostwright_core::state::{StateError, StateFile};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Under which hour records are stored: that of their time. Those without a time belong to the record before them; where
/// a batch begins with some, to the hour in which they were first read. That is durable before anything of them is
/// stored: when they are read again after a crash, in another hour, they go to the same object.
#[derive(Debug)]
pub struct Hours {
    file: Option<StateFile<Begun>>,
    begun: Begun,
}

/// For each content of the last batch, if that began with records without a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    contents: BTreeMap<u64, Beginning>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Beginning {
    offset: u64,
    /// Since 1970.
    hour: i64,
}

impl Hours {
    /// Reads what an earlier run left at the place, if it is to survive at all.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn open(place: Option<&Path>) -> Result<Self, StateError> {
        let mut file = place.map(|path| StateFile::new(path.to_owned(), 1));
        let begun = file.as_mut().map(StateFile::load).transpose()?.flatten().unwrap_or_default();
        Ok(Self { file, begun })
    }

    /// The hour of each item of a batch, in hours since 1970.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn of(&mut self, batch: &Batch) -> Result<Vec<i64>, StateError> {
        let mut now = Begun::default();
        let mut last = HashMap::new();
        let mut hours = Vec::with_capacity(batch.items.len());
        for item in &batch.items {
            let own = item.time.div_euclid(3_600_000_000_000);
            let hour = match last.get(&item.content) {
                Some(before) if !item.is_dated => *before,
                None if !item.is_dated => {
                    let known = self.begun.contents.get(&item.content).filter(|known| known.offset == item.offset);
                    let beginning = known.copied().unwrap_or(Beginning { offset: item.offset, hour: own });
                    now.contents.insert(item.content, beginning);
                    beginning.hour
                }
                _ => own,
            };
            last.insert(item.content, hour);
            hours.push(hour);
        }
        if now != self.begun {
            if let Some(file) = &mut self.file {
                file.store(&now)?;
            }
            self.begun = now;
        }
        Ok(hours)
    }
}
