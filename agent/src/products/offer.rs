use super::found::Found;
use std::sync::Arc;

/// A finished product with its keys.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) found: Found,
    pub(super) key: Arc<str>,
    pub(super) asked: Arc<str>,
    /// Whether an object with its content may be in the bucket already.
    pub(super) may_be_there: bool,
    /// Whether an operator asked for it.
    pub(super) at_once: bool,
}
