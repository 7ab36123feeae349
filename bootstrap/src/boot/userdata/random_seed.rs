use super::Findings;
use super::unpack::bounded_gunzip;
use super::values::{Flag, Text};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hostwright_core::config::section::Section;
use serde::Serialize;

/// `random_seed:`. No `Debug`: it is a secret.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct RandomSeed {
    /// Where it goes.
    pub path: String,
    /// What goes there.
    pub data: Vec<u8>,
    /// A command that brings more.
    pub command: Vec<String>,
    /// Whether that the command is not there is a failure.
    pub command_required: bool,
}

const MAX_SEED: u64 = 1 << 20;

impl RandomSeed {
    /// Reads the top-level key.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Option<Self> {
        findings.whole(root.node("random_seed")?, "random_seed", |section, _| random_seed(section))
    }
}

fn random_seed(mut section: Section<'_>) -> Option<RandomSeed> {
    let path = section.or("file", Text("/dev/urandom".into())).0;
    let data = section.or("data", Text(String::new())).0;
    let encoding = section.or("encoding", Text("raw".into())).0.to_ascii_lowercase();
    let unbase64 = |data: &str| {
        let packed: String = data.split_whitespace().collect();
        BASE64_STANDARD.decode(packed).map_err(|error| format!("this is not base64: {error}"))
    };
    let data = match encoding.as_str() {
        "raw" | "" => Ok(data.into_bytes()),
        "base64" | "b64" => unbase64(&data),
        "gzip" | "gz" => unbase64(&data).and_then(|data| bounded_gunzip(&data, MAX_SEED)),
        _ => Err(format!("{encoding:?} is no encoding: use raw, base64 or gzip")),
    };
    let data = data.map_err(|message| section.problem_with("data", &message)).ok();
    let command: Vec<String> = section.list("command").unwrap_or_default();
    let command_required = section.or("command_required", Flag(false)).0;
    if command_required && command.is_empty() {
        section.problem(section.place(), "command_required: true needs a command");
    }
    if !path.starts_with('/') {
        section.problem_with("file", "expected an absolute path such as /dev/urandom");
    }
    section.finish();
    Some(RandomSeed { path, data: data?, command, command_required })
}
