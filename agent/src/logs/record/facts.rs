use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is the same for all lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The source's name.
    pub source: String,
    /// The path that the file had while it was written.
    pub file: String,
    /// What else is known, such as a container's name: further fields of every record.
    pub fields: BTreeMap<String, String>,
}
