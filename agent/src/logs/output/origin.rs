use std::collections::BTreeMap;

/// Where lines come from, as the receiver is told.
#[derive(Clone, Debug)]
pub struct Origin {
    pub host: String,
    pub labels: BTreeMap<String, String>,
}
