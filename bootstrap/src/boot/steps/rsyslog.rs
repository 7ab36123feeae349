use super::configure::{Then, execute};
use super::packages::install_for;
use super::place::File;
use super::{Action, Context, Failure, Outcome};
use crate::boot::userdata::rsyslog::Rsyslog;
use crate::boot::userdata::secrets::secret_in;
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
            // It is read as root, before rsyslogd becomes anybody else.
            let mode = if secret_in(content).is_some() { 0o600 } else { 0o644 };
            File::new(path, content.as_bytes(), mode).place_if_changed(context)?;
        }
        let own: Vec<_> = self.rsyslog.reload.iter().flatten().map(String::as_str).collect();
        let restart = ["systemctl", "--no-block", "try-restart", "rsyslog.service"];
        let then = if own.is_empty() { Then::if_there(&restart) } else { Then::run(&own) };
        execute(context, "rsyslog", &then)?;
        Ok(Outcome::Done)
    }
}
