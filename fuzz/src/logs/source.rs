#[path = "../../../agent/src/logs/source/joining/mod.rs"]
pub mod joining;
pub mod journal;
#[path = "../../../agent/src/logs/source/lines.rs"]
pub mod lines;
pub mod listener;
pub mod spool;
