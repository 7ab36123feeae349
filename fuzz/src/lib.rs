//! The agent's modules that make records of bytes, as the agent has them.
#![allow(dead_code, reason = "the agent uses the rest")]

// The bootstrap's modules find the core's by its name, and the agent's those that duties share.
extern crate self as hostwright_core;
extern crate self as hostwright_duty;

pub mod bucket;
#[path = "../../agent/src/containers/compose/model/mod.rs"]
pub mod compose;
pub mod config;
pub mod datasource;
#[path = "../../agent/core/src/hex.rs"]
pub mod hex;
pub mod http;
pub mod logs;
pub mod metrics;
pub mod network;
#[path = "../../agent/duty/src/protobuf.rs"]
pub mod protobuf;
#[path = "../../agent/core/src/terminal.rs"]
pub mod terminal;
pub mod userdata;
#[path = "../../agent/core/src/yaml/mod.rs"]
pub mod yaml;

/// Where secrets are, of which there are none here.
pub mod secret {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SecretRef;
}

/// A host of which nothing is known.
pub mod boot {
    pub mod host {
        pub struct Host;

        impl Host {
            pub fn path(&self, path: &str) -> std::path::PathBuf {
                path.into()
            }

            pub fn proc(&self, path: &str) -> std::path::PathBuf {
                path.into()
            }
        }
    }
}

use logs::source::joining::Joining;
use logs::source::lines::{Following, Line, Piece, split};

/// The events of a file that is read as a cursor reads it, up to one end after the other.
///
/// # Panics
/// A byte is not done with at the end, or an event is said to be held when nothing can follow.
pub fn read(bytes: &[u8], joining: &Joining, limit: usize, ends: &[usize]) -> Vec<(Vec<u8>, u64, usize, bool)> {
    let (mut found, mut done, mut inside_cut_line) = (Vec::new(), 0, false);
    for end in ends.iter().copied().filter(|end| *end < bytes.len()).chain([bytes.len()]) {
        if end < done {
            continue;
        }
        let following = if end == bytes.len() { Following::Nothing } else { Following::Perhaps };
        let piece = Piece { bytes: &bytes[done..end], offset: done as u64, limit, following, borrowed: &[] };
        let split = split(piece, joining, &mut inside_cut_line, |line: Line<'_>| {
            found.push((line.bytes.to_vec(), line.offset, line.length, line.cut));
        });
        assert!(split.bytes <= end - done);
        done += split.bytes;
        assert!(following == Following::Perhaps || !split.holds_event);
    }
    assert_eq!(done, bytes.len());
    found
}

/// Events are the same whatever pieces they came in, and no byte belongs to two of them.
///
/// # Panics
/// They are not.
pub fn check(bytes: &[u8], joining: &Joining, limit: usize, ends: &mut [usize]) -> Vec<(Vec<u8>, u64, usize, bool)> {
    ends.sort_unstable();
    let events = read(bytes, joining, limit, &[]);
    assert_eq!(read(bytes, joining, limit, ends), events);
    let taken: usize = events.iter().map(|(_, _, length, _)| length).sum();
    // What is beyond the limit and a hole of NULs are no lines.
    let is_any_cut = events.iter().any(|(.., is_cut)| *is_cut);
    let is_any_hole = bytes.windows(16).any(|window| window == [0; 16]);
    assert!(taken == bytes.len() || taken < bytes.len() && (is_any_cut || is_any_hole));
    events
}
