#[path = "../../../agent/src/logs/source/joining/mod.rs"]
pub mod joining;
#[path = "../../../agent/src/logs/source/lines.rs"]
pub mod lines;
