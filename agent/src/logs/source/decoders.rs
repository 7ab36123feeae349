use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What all decoders together may take, beside the first of each output: an output that waits for its platform keeps
/// what it has, and is to hold back no other.
const MOST_BYTES: u64 = 4 << 20;

/// The decoders that are in use.
#[derive(Debug)]
struct Pool {
    bytes: u64,
    /// How many each output has.
    of: BTreeMap<String, usize>,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { bytes: 0, of: BTreeMap::new() });

/// What allows a decoder to be in use.
#[derive(Debug)]
pub struct Permit {
    output: String,
    bytes: u64,
}

impl Permit {
    /// For a decoder that takes so much memory; none while too many are in use.
    pub fn get(output: &str, bytes: u64) -> Option<Self> {
        let mut pool = pool();
        if pool.of.contains_key(output) && pool.bytes + bytes > MOST_BYTES {
            return None;
        }
        pool.bytes += bytes;
        *pool.of.entry(output.to_owned()).or_default() += 1;
        Some(Self { output: output.to_owned(), bytes })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut pool = pool();
        pool.bytes -= self.bytes;
        if let Some(count) = pool.of.get_mut(&self.output) {
            *count -= 1;
            if *count == 0 {
                pool.of.remove(&self.output);
            }
        }
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{MOST_BYTES, Permit};

    #[test]
    fn decoders_take_no_more_than_their_share_and_each_output_may_have_one_whatever_others_have() {
        let all: Vec<_> = std::iter::from_fn(|| Permit::get("greedy", MOST_BYTES / 4)).collect();
        assert!((1..=4).contains(&all.len()), "{}", all.len());
        let large = Permit::get("other", 2 * MOST_BYTES).expect("its first");
        assert!(Permit::get("other", 1).is_none() && Permit::get("greedy", 1).is_none());
        drop((all, large));
        assert!(Permit::get("greedy", 2 * MOST_BYTES).is_some(), "given back");
    }
}
