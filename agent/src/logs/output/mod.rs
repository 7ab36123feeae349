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
/// Where lines come from.
mod origin;
/// What is to go out.
mod outgoing;
/// One line, to see what a platform says.
pub mod probe;
/// Dead letters that are sent again.
mod replay;
/// Platforms that answer each batch.
mod request;
/// Orders to send something again.
pub mod resend;
/// Reads, sends, settles, stores: the loop of one output.
pub mod shipping;
/// Where lines of a time begin.
mod since;
/// Platforms that take a stream of bytes.
mod stream;

pub use origin::Origin;
