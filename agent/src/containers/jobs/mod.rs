//! Jobs: services that run to their end, once for each reason.
//!
//! In: the services that the configuration names as jobs, times of schedules, files that appear, operators' orders. Out:
//! a container for each attempt of a run, the run's outputs folder with a note of how it ended, and the history. What
//! survives a restart: each run from before its container is made until it leaves the history, and which times and
//! files have had their run. A container's name is its run's, so the engine itself refuses to make one twice.

/// One attempt of a run.
mod attempt;
/// What is known of runs.
mod book;
/// What calls for runs: times and files.
mod calls;
/// The folder in which a run leaves its outputs.
mod outputs;
/// How an attempt's end is noted.
mod record;
/// Starts runs and watches them.
mod runner;
/// How the jobs are, for the status.
mod shown;

pub use runner::{Jobs, Surroundings};
