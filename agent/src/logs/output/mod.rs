//! Where lines go: each output on its own, at its own pace, with its own positions.
//!
//! In: the open files of the sources. Out: encoded records over a transport. An output reads the files itself, so a
//! file is the only buffer there is, and an output that is down holds back nobody. Positions move on acknowledgement
//! and survive a restart; at most `flight::BATCH` bytes of a source are sent again after a crash.

/// TCP and TLS.
mod connection;
/// Records that a platform does not take.
mod dead_letters;
/// Records to bytes, for each kind of output.
mod encode;
/// What is on its way.
pub mod flight;
/// An output's place among the files: which to read next.
mod lanes;
/// What is to go out.
mod outgoing;
/// One line, to see what a platform says.
pub mod probe;
/// Dead letters that are sent again.
mod replay;
/// Platforms that answer each batch.
mod request;
/// Reads, sends, settles, stores: the loop of one output.
pub mod shipping;
/// Platforms that take a stream of bytes.
mod stream;

use std::collections::BTreeMap;

/// Where lines come from, as the receiver is told.
#[derive(Clone, Debug)]
pub struct Origin {
    pub host: String,
    pub labels: BTreeMap<String, String>,
}
