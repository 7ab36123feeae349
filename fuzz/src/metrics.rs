#[path = "../../agent/src/metrics/sample/textfile/text_format.rs"]
pub mod text_format;
