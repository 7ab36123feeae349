use super::command::Run;
use super::{Context, Failure};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(300);

/// A program of the step of a volume.
pub fn run(context: &Context<'_>, volume: &str, words: &[&str], input: Option<Vec<u8>>) -> Result<(), Failure> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = context.host.command(program);
    command.args(arguments);
    Run { input, deadline: Some(DEADLINE), ..Run::new(&format!("volume {volume}"), command) }.succeed(context)
}
