//! The containers duty: updates under load, rounds that change nothing, and what goes through a published port;
//! docker-compose and the engine's own publishing beside it in the same run.

/// docker-compose, which does the same by hand.
mod compose;
/// What goes through a published port.
mod port;
/// A round in which nothing is to be done.
mod reconcile;
/// An update under load.
mod update;

use crate::Settings;
use crate::table::Table;

/// Measures all of it.
pub fn run(_: &Settings, table: &mut Table) {
    update::run(table);
    reconcile::run(table);
    port::run(table);
}

fn told(error: &anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}
