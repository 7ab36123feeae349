use std::time::Duration;

/// An item that the platform answered for by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// Its index in the selection.
    pub index: usize,
    /// The platform will never take it; otherwise it may take it later.
    pub refused: bool,
    /// A sentence: what the platform said.
    pub why: String,
}

/// Why a selection was not delivered as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// The platform or the way to it has trouble (no connection, 429, 5xx), or does not know us (401, 404): the same
    /// again, after a while.
    Again {
        /// A sentence with the address, the reason and the remedy.
        why: String,
        /// How long the platform asks to wait (Retry-After, RFC 9110, 10.2.3).
        after: Option<Duration>,
        /// So many of the first items were acknowledged all the same.
        taken: usize,
    },
    /// Nobody answered as the platform does: the connection broke, or somebody else answered. The way has trouble, or
    /// somebody on it dislikes something in it.
    Unanswered {
        why: String,
        /// So many of the first items were acknowledged all the same.
        taken: usize,
    },
    /// Either we may not write there, or somebody on the way (a firewall for the web) dislikes something in it: if
    /// others are taken, that is found by halving.
    Forbidden {
        why: String,
        /// What to do if it is for all of them.
        remedy: &'static str,
        after: Option<Duration>,
    },
    /// It is too much at once: smaller portions, or for a single item never.
    TooLarge(String),
    /// Something in it is not acceptable, and the platform did not say which item: found by halving.
    Refused(String),
}

impl Undelivered {
    /// Of a single record, when others are taken.
    pub fn why(self) -> String {
        match self {
            Self::Forbidden { why, .. } => format!(
                "{why}; others are taken, so it is for what this line says, perhaps by a firewall on the way: let that one pass it, or leave such lines out with a filter"
            ),
            Self::Again { why, .. } | Self::Unanswered { why, .. } | Self::TooLarge(why) | Self::Refused(why) => why,
        }
    }
}
