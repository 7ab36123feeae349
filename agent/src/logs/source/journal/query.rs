use hostwright_core::config::logs::journal::{Journal, Since};
use std::process::Stdio;
use tokio::process::Command;

/// What journalctl is asked for.
pub(super) struct Query<'a> {
    pub settings: &'a Journal,
    /// Where to begin, inclusive: whether the entry is still there tells whether entries may be missing.
    pub cursor: Option<&'a str>,
}

impl Query<'_> {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("journalctl");
        command.args(self.arguments()).env("LC_ALL", "C").env("SYSTEMD_LOG_LEVEL", "warning").env("SYSTEMD_PAGER", "");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    fn arguments(&self) -> Vec<String> {
        // --all: without it values of more than 4 KiB are left out. --quiet: no hints for people.
        let mut arguments: Vec<String> =
            ["--follow", "--output=json", "--all", "--quiet", "--no-pager"].map(str::to_owned).into();
        // Without --merge, --follow leaves out earlier boots, and with them what was logged last before a reboot. It
        // goes neither with --boot nor is it needed with --directory.
        let is_of_this_boot = self.cursor.is_none() && self.settings.since == Since::Boot;
        if !is_of_this_boot && self.settings.directory.is_none() {
            arguments.push("--merge".into());
        }
        match (self.cursor, self.settings.since) {
            (Some(cursor), _) => arguments.extend(["--no-tail".into(), format!("--cursor={cursor}")]),
            (None, Since::Boot) => arguments.extend(["--no-tail".into(), "--boot".into()]),
            (None, Since::Beginning) => arguments.push("--no-tail".into()),
            (None, Since::Now) => arguments.push("--lines=0".into()),
        }
        if let Some(directory) = &self.settings.directory {
            arguments.push(format!("--directory={}", directory.display()));
        }
        if let Some(priority) = self.settings.priority {
            arguments.push(format!("--priority={priority}"));
        }
        arguments.extend(self.settings.units.iter().map(|unit| format!("--unit={unit}")));
        arguments.push("--".into());
        arguments.extend(self.settings.matches.iter().cloned());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::Query;
    use hostwright_core::config::logs::journal::{Journal, Since};
    use hostwright_core::config::logs::source::Spooled;
    use hostwright_core::config::values::ByteSize;

    #[test]
    fn journalctl_is_asked_for_what_the_source_takes() {
        let settings = Journal {
            units: vec!["ssh.service".into()],
            matches: vec!["_TRANSPORT=kernel".into()],
            priority: Some(4),
            since: Since::Boot,
            directory: None,
            spooled: Spooled { limit: ByteSize(4 << 20) },
        };
        let arguments = Query { settings: &settings, cursor: None }.arguments().join(" ");
        assert!(arguments.ends_with("--no-tail --boot --priority=4 --unit=ssh.service -- _TRANSPORT=kernel"));
        assert!(!arguments.contains("--merge"), "{arguments}");
        let arguments = Query { settings: &settings, cursor: Some("s=1;i=2") }.arguments().join(" ");
        assert!(
            arguments.contains("--merge --no-tail --cursor=s=1;i=2") && !arguments.contains("--boot"),
            "{arguments}"
        );
    }
}
