use super::configure::{Then, execute};
use super::packages::install_for;
use super::place::File;
use super::{Action, Context, Failure, Outcome};
use crate::boot::userdata::rsyslog::Rsyslog;
use serde::Serialize;

/// rsyslog's files, with itself where it is wanted and missing.
#[derive(Serialize)]
pub struct ConfigureRsyslog {
    rsyslog: Rsyslog,
}

impl ConfigureRsyslog {
    pub fn new(rsyslog: &Rsyslog) -> Self {
        Self { rsyslog: rsyslog.clone() }
    }
}

impl Action for ConfigureRsyslog {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        if let Some((program, packages)) = &self.rsyslog.install {
            install_for(context, program, packages)?;
        }
        for (path, content) in &self.rsyslog.files {
            File::new(path, content.as_bytes(), 0o644).place_if_changed(context)?;
        }
        let own: Vec<_> = self.rsyslog.reload.iter().flatten().map(String::as_str).collect();
        let restart = ["systemctl", "--no-block", "try-restart", "rsyslog.service"];
        let then = if own.is_empty() { Then::if_there(&restart) } else { Then::run(&own) };
        execute(context, "rsyslog", &then)?;
        Ok(Outcome::Done)
    }
}
