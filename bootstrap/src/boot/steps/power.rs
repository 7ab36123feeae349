use super::command::Run;
use super::{Action, Context, Failure, Outcome};
use crate::boot::userdata::power::{Mode, Power};
use serde::Serialize;
use std::time::Duration;

/// The host is switched off or starts again, once everything is done and reported.
#[derive(Serialize)]
pub struct ChangePower {
    power: Power,
}

impl ChangePower {
    pub fn new(power: &Power) -> Self {
        Self { power: power.clone() }
    }

    /// shutdown(8)'s arguments.
    fn command(&self) -> Vec<String> {
        let mode = match self.power.mode {
            Mode::Reboot => "-r",
            Mode::PowerOff => "-P",
            Mode::Halt => "-H",
        };
        let when = self.power.delay.map_or_else(|| "now".to_owned(), |minutes| format!("+{minutes}"));
        let command = ["shutdown".to_owned(), mode.to_owned(), when];
        command.into_iter().chain(self.power.message.clone()).collect()
    }
}

impl Action for ChangePower {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        if let Some(line) = &self.power.condition {
            let mut command = context.host.command("/bin/sh");
            command.args(["-c", line]);
            let run = Run { deadline: Some(Duration::from_secs(600)), ..Run::new("power state", command) };
            if run.succeed(context).is_err() {
                return Ok(Outcome::Skipped("its condition does not hold".into()));
            }
        }
        if !context.host.is_this_machine() {
            return Ok(Outcome::Skipped("this is a tree and no machine".into()));
        }
        context.host.run_last(self.command());
        Ok(Outcome::Done)
    }
}
