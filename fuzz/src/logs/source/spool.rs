#[path = "../../../../agent/src/logs/source/spool/entry.rs"]
pub mod entry;
