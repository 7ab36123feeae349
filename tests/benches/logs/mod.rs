//! The logs duty: CPU time and memory of shipping, lag, many files; rsyslog's imfile beside it in the same run.

/// Lines of an access log.
mod input;
/// Ten thousand files.
mod many;
/// The programs that ship.
mod shipper;
/// Receivers that count.
mod sink;
/// Steady rates, and none.
mod steady;
/// An input shipped whole.
mod throughput;

use crate::Settings;
use crate::table::{Goal, Table};
use input::Input;

/// Measures all of it.
pub fn run(settings: &Settings, table: &mut Table) {
    match Input::of(&settings.folder, settings.size) {
        Ok(input) => throughput::run(&input, table),
        Err(error) => table.add(("an input", "MB"), Goal::None, Err(error), None),
    }
    steady::run(table);
    many::run(table);
}
