#[path = "../../agent/src/metrics/sample/textfile/text_format/mod.rs"]
pub mod text_format;
