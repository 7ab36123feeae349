use super::admission::Candidate;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// What a look at some folders came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    /// Files came or went.
    pub list: bool,
    /// Outputs should look at files.
    pub files: bool,
}

impl Changes {
    pub fn and(self, other: Self) -> Self {
        Self { list: self.list || other.list, files: self.files || other.files }
    }
}

/// What is found on the way through some folders.
#[derive(Debug, Default)]
pub struct Round {
    /// Files that may be worth following.
    pub candidates: Vec<Candidate>,
    /// New names of followed files.
    pub arrived: HashMap<u64, (Arc<Path>, bool)>,
    /// Names under which followed files are no more.
    pub vanished: Vec<(u64, Arc<Path>)>,
    /// Folders to look into yet.
    pub to_list: Vec<Arc<Path>>,
    /// A followed file was written.
    pub changed: bool,
}
