//! `hostwright-agent logs`: how far sources are at outputs, and what operators can do about it.

mod table;
mod verify;

use super::agent::{duty, order};
use super::since::since_when;
use hostwright_core::terminal::plain;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Logs {
    /// Check each file's ledger: acknowledged + pending + skipped + dead letters = size, and that the file still has the
    /// content that was read. Reads positions and files; the agent need not run. Exit code 1 if anything does not hold.
    Verify {
        /// The agent's state folder.
        #[arg(long, default_value = "/var/lib/hostwright/agent")]
        state: PathBuf,
    },
    /// Send again what was written since a time, as far as the files are still there; or the dead letters.
    #[command(group(clap::ArgGroup::new("what").required(true).args(["since", "dead_letters"])))]
    Resend {
        /// An RFC 3339 time (2026-11-20T10:00:00Z), or how long ago (90m, 2h, 1d).
        #[arg(long)]
        since: Option<String>,
        /// The lines that the platform refused, after whatever was wrong is mended.
        #[arg(long, conflicts_with = "source")]
        dead_letters: bool,
        /// To this output alone.
        #[arg(long)]
        output: Option<String>,
        /// Of this source alone.
        #[arg(long)]
        source: Option<String>,
    },
    /// Send one line to an output and show what its platform says.
    Test {
        /// The output's name.
        output: String,
        /// The line.
        #[arg(long, default_value = "a test of hostwright-agent")]
        line: String,
    },
}

/// Does it, or shows how far each source is at each output.
///
/// # Errors
/// No agent answers, or it says no.
pub fn logs(what: Option<Logs>, socket: &Path) -> anyhow::Result<ExitCode> {
    match what {
        None => show(socket),
        Some(Logs::Verify { state }) => verify::verify(&state.join("logs")),
        Some(Logs::Resend { since, dead_letters, output, source }) => {
            let since = since.map(|since| since_when(&since)).transpose()?;
            let what = json!({"since": since, "dead_letters": dead_letters, "output": output, "source": source});
            let answer = order(socket, "logs", "resend", &what)?;
            for (output, resent) in answer.as_object().into_iter().flatten() {
                println!("{output}: {}", told(resent, dead_letters));
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Logs::Test { output, line }) => {
            let answer = order(socket, "logs", "test", &json!({"output": output, "line": line}))?;
            println!("{output}: {}", answer.as_str().unwrap_or_default());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What an order to send again came to at an output.
fn told(resent: &Value, dead_letters: bool) -> String {
    let (bytes, files) = (&resent["bytes"], &resent["files"]);
    match (bytes == 0, dead_letters) {
        (true, true) => "there are no dead letters".into(),
        (true, false) => "nothing of that time is still there and acknowledged".into(),
        (false, true) => format!("{bytes} bytes of dead letters are sent again"),
        (false, false) => format!("{bytes} bytes of {files} file{} are sent again", if files == 1 { "" } else { "s" }),
    }
}

fn show(socket: &Path) -> anyhow::Result<ExitCode> {
    print!("{}", plain(&table::table(&duty(socket, "logs")?.details)));
    Ok(ExitCode::SUCCESS)
}
