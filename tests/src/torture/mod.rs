//! Torture of the logs duty as a black box: what was written is compared with what arrived, whatever happened between.
//!
//! In: a seed and a duration. Applications write numbered lines into files and rotate them in every way; the agent is
//! killed and stopped, receivers stall and break, disks are full. Out: what was lost, came twice or out of order at
//! each output, and a story of all that happened, with times.
//!
//! What is spared is exactly what nobody can keep:
//! - Bytes that the application itself truncates away are gone: it truncates what has arrived everywhere.
//! - A deleted (or replaced) file lives in open descriptors alone: it is deleted while the agent has it open, and the
//!   agent is not ended until its lines have arrived.
//! - What is written between copy and truncation is in neither: the application is quiet between the two.
//! - What is written into a file after its compression began is in no file: late lines come before.
//! - A copy, or a compressed generation, is looked for where its original was: a log that is moved into another folder
//!   that is followed too is neither copied nor compressed there. (The agent's guide names this limit.)
//! - A target that a symlink left before the agent ever saw it is any file: the link is switched when the target is
//!   known.
//! - The last line of a rotated file without its newline is complete as it is after two quiet seconds: nobody leaves
//!   half a line for as long.
//! - A stream without acknowledgement of its own (syslog, GELF over TCP) may break with bytes that its receiver's kernel took and the
//!   receiver never read: as much as a receive buffer (of Linux' default, 6 MiB with overhead) and ten seconds are sent
//!   again, so no receiver here has more or is deaf for longer before it resets. And what a reset took along is known
//!   to the agent alone until its positions are durable: for two seconds after a reset the agent is not ended, and what
//!   an ended agent left in a connection is read.
//! - A platform that takes some records of a batch and not others has the later ones first: order is asked of those
//!   that take all or nothing.

/// An application that writes lines and rotates its files.
pub mod application;
/// The file that an output appends to, as somebody reads and rotates it.
pub mod archive;
/// What arrived at an output.
pub mod arrivals;
/// A platform with the bulk API that misbehaves.
pub mod bulk;
/// When the storm is over.
pub mod calm;
/// File systems that can be full.
pub mod disk;
/// Who may end the agent when.
pub mod gate;
/// Numbered lines that can be checked byte for byte.
pub mod line;
/// A platform that takes lines with a POST and misbehaves.
pub mod lines;
/// A receiver of Lumberjack that misbehaves.
pub mod lumberjack;
/// A platform that answers, one of several kinds.
pub mod platform;
/// A receiver of syslog or GELF over TCP that misbehaves.
pub mod receiver;
/// How rotated files are named, and where they are.
pub mod rotated;
/// The run as a whole.
pub mod run;
/// What happened when.
pub mod story;
/// What all of them share.
pub mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Locks, also after a panic elsewhere: the first failure is the one to be told.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets time pass between the acts of somebody outside the agent: nothing is awaited here.
fn idle(rng: &mut fastrand::Rng, milliseconds: std::ops::Range<u64>) {
    thread::sleep(Duration::from_millis(rng.u64(milliseconds)));
}
