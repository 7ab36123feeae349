use super::command::Run;
use super::place::File;
use super::{Action, Context, Failure, Outcome};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// Services answer at once, or are asked not to be waited for.
const DEADLINE: Duration = Duration::from_secs(120);

/// Files of the host's own services, and the commands after which they count. No `Debug`: there may be secrets.
#[derive(Serialize)]
pub struct Configure {
    step: &'static str,
    files: Vec<Wanted>,
    commands: Vec<Then>,
}

#[derive(Serialize)]
struct Wanted {
    path: String,
    content: Vec<u8>,
    mode: u32,
}

/// A command of a [`Configure`].
#[derive(Serialize)]
pub struct Then {
    arguments: Vec<String>,
    input: Option<Vec<u8>>,
    is_optional: bool,
}

impl Then {
    /// A command that must be there and succeed.
    pub fn run(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { arguments, input: None, is_optional: false }
    }

    /// A command that is not missed where it is not installed.
    pub fn if_there(arguments: &[&str]) -> Self {
        Self { is_optional: true, ..Self::run(arguments) }
    }

    /// Gives it something to read.
    pub fn reading(self, input: impl Into<Vec<u8>>) -> Self {
        Self { input: Some(input.into()), ..self }
    }
}

impl Configure {
    /// `step` is its step's name.
    pub fn new(step: &'static str) -> Self {
        Self { step, files: Vec::new(), commands: Vec::new() }
    }

    /// Adds a file of root's.
    pub fn file(mut self, path: impl Into<String>, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.files.push(Wanted { path: path.into(), content: content.into(), mode });
        self
    }

    /// Adds a command.
    pub fn then(mut self, command: Then) -> Self {
        self.commands.push(command);
        self
    }
}

impl Action for Configure {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        for file in &self.files {
            File { path: Path::new(&file.path), content: &file.content, mode: file.mode, owner: (None, None) }
                .place_if_changed(context)?;
        }
        for command in &self.commands {
            execute(context, self.step, command)?;
        }
        Ok(Outcome::Done)
    }
}

/// Runs a command of a step; one for systemd only where it runs.
pub fn execute(context: &Context<'_>, step: &str, then: &Then) -> Result<(), Failure> {
    let Some((program, arguments)) = then.arguments.split_first() else { return Ok(()) };
    let is_there = program.starts_with('/') || context.host.program(program).is_some();
    if (then.is_optional && !is_there) || (program == "systemctl" && !context.host.has_systemd()) {
        return Ok(());
    }
    let mut command = context.host.command(program);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    let run = Run { input: then.input.clone(), deadline: Some(DEADLINE), ..Run::new(step, command) };
    run.succeed(context)
}
