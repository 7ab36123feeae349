use crate::logs::record::Tally;
use serde::{Deserialize, Serialize};

/// What became of the bytes of a file up to its position: all that are not counted here were acknowledged. Together
/// with what is pending behind the position they are the file's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Left out as configured: filtered lines, and what is beyond the line limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// Refused by the platform and kept as dead letters.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dead: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Ledger {
    pub fn add(&mut self, tally: &Tally) {
        self.skipped += tally.skipped_bytes;
        self.dead += tally.dead_bytes;
    }

    /// Of bytes that will be acknowledged a second time.
    pub fn subtract(&mut self, tally: &Tally) {
        self.skipped = self.skipped.saturating_sub(tally.skipped_bytes);
        self.dead = self.dead.saturating_sub(tally.dead_bytes);
    }
}
