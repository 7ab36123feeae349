#[path = "../../agent/metrics/src/sample/devices_file.rs"]
pub mod devices_file;
#[path = "../../agent/metrics/src/sample/pcidevice/names.rs"]
pub mod names;
#[path = "../../agent/metrics/src/containers/podman_answer.rs"]
pub mod podman_answer;
#[path = "../../agent/metrics/src/sample/textfile/text_format/mod.rs"]
pub mod text_format;

/// Why a file gave nothing.
#[derive(Debug)]
pub enum CollectError {
    Malformed { path: std::path::PathBuf, what: String },
    Reading(std::io::Error),
}

impl CollectError {
    pub fn reading(_: &std::path::Path, error: std::io::Error) -> Self {
        Self::Reading(error)
    }
}
