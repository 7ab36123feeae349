use super::userdata::{self, findings::Findings};
use anyhow::Context as _;
use hostwright_core::config::section::Problem;
use hostwright_core::config::{Config, ConfigError};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `hostwright-bootstrap check`
#[derive(clap::Args, Debug)]
pub struct CheckArguments {
    /// A user-data (`#cloud-config`) or an `agent.yaml`.
    pub file: PathBuf,
}

/// More than any cloud hands over; larger files are no user-data.
const MAX_BYTES: u64 = 16 << 20;
/// As in the usage text: a file with problems.
const PROBLEMS: u8 = 2;

/// Reports every problem of a file with line and column, and touches nothing.
///
/// # Errors
/// It cannot be read.
pub fn check(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.file;
    let content =
        super::host::read_bounded(path, MAX_BYTES).with_context(|| format!("cannot read {}", path.display()))?;
    if is_user_data(&content) { Ok(check_user_data(path, &content)) } else { Ok(check_agent(path, &content)) }
}

/// A user-data says so in its first line, or is packed.
fn is_user_data(content: &[u8]) -> bool {
    let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii_start();
    let start = text[..text.len().min(20)].to_ascii_lowercase();
    let head = content[..content.len().min(4096)].to_ascii_lowercase();
    ["#cloud-", "#!", "#include", "#part-handler", "## template:"].iter().any(|word| start.starts_with(word.as_bytes()))
        || content.starts_with(b"\x1f\x8b")
        || head.windows(13).any(|window| window == b"mime-version:")
}

fn check_user_data(path: &Path, content: &[u8]) -> ExitCode {
    let user_data = userdata::read(content);
    if !tell(path, user_data.findings) {
        return ExitCode::from(PROBLEMS);
    }
    let what = if user_data.scripts.is_empty() {
        "a #cloud-config"
    } else {
        "with a script, which is run once for each instance"
    };
    println!("{} is valid: {what}", path.display());
    ExitCode::SUCCESS
}

/// Checks what a new VM shall get as its user-data, and tells what is wrong with it; whether nothing is.
pub fn is_sound_user_data(path: &Path, content: &[u8]) -> bool {
    if !is_user_data(content) {
        eprintln!("{}: this is no user-data; the first line of one is #cloud-config", path.display());
        return false;
    }
    tell(path, userdata::read(content).findings)
}

/// Prints the findings in the file's order; whether there are only warnings.
fn tell(path: &Path, findings: Findings) -> bool {
    let mut problems = [findings.errors, findings.ignored].concat();
    problems.sort_by_key(|problem| problem.place);
    for problem in findings.warnings.iter().chain(&findings.secrets) {
        eprintln!("{}:{}: warning: {}", path.display(), problem.place, without_place(problem));
    }
    for problem in &problems {
        eprintln!("{}:{}: {}", path.display(), problem.place, without_place(problem));
    }
    problems.is_empty()
}

fn without_place(problem: &Problem) -> String {
    if problem.path.is_empty() { problem.message.clone() } else { format!("{}: {}", problem.path, problem.message) }
}

fn check_agent(path: &Path, content: &[u8]) -> ExitCode {
    let name = path.display().to_string();
    match Config::parse(&String::from_utf8_lossy(content), &name) {
        Ok(_) => {
            println!("{name} is valid: a configuration of the agent");
            ExitCode::SUCCESS
        }
        Err(error @ (ConfigError::Invalid { .. } | ConfigError::Read { .. })) => {
            eprintln!("{error}");
            if String::from_utf8_lossy(content).contains("write_files:") {
                eprintln!("{name}: if this shall be a user-data, its first line must be #cloud-config");
            }
            ExitCode::from(PROBLEMS)
        }
    }
}
