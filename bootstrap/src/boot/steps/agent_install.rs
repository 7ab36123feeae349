use super::command::Run;
use super::fetch::{Buckets, fetch};
use super::place::File;
use super::{Action, Context, Failure, Outcome, groups};
use crate::boot::userdata::boot_section::Fetched;
use hostwright_core::secret::CREDENTIALS;
use serde::Serialize;
use std::os::unix::fs::DirBuilderExt as _;

pub const PROGRAM: &str = "/usr/bin/hostwright-agent";
pub const UNIT: &str = "hostwright-agent.service";
const CONFIG: &str = "/etc/hostwright/agent.yaml";
/// Several times the program's size.
const MAX_PROGRAM: u64 = 512 << 20;

/// The agent's program, from where the user-data says.
#[derive(Serialize)]
pub struct InstallProgram {
    program: Fetched,
    #[serde(skip)]
    buckets: Buckets,
}

impl InstallProgram {
    pub fn new(program: Fetched, buckets: Buckets) -> Self {
        Self { program, buckets }
    }
}

impl Action for InstallProgram {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let content = fetch(context, &self.program, &self.buckets, MAX_PROGRAM)
            .map_err(|failure| Failure::new(format!("{}: it is not installed", failure.why), failure.remedy))?;
        if !File::new(PROGRAM, &content, 0o755).place_if_changed(context)? {
            return Ok(Outcome::Done);
        }
        systemctl(context, "agent program", &["--no-block", "try-restart", UNIT])?;
        Ok(Outcome::Done)
    }
}

/// The agent's unit, where the image has none.
#[derive(Serialize)]
pub struct InstallUnit {
    unit: &'static str,
}

/// The first line of a unit that is ours to replace.
const MARK: &str = "# Installed by hostwright-bootstrap.\n";

impl InstallUnit {
    pub fn new() -> Self {
        Self { unit: include_str!("../../../../systemd/hostwright-agent.service") }
    }
}

impl Action for InstallUnit {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let folders = ["/usr/lib/systemd/system", "/lib/systemd/system"];
        if folders.iter().any(|folder| context.host.path(folder).join(UNIT).exists()) {
            return Ok(Outcome::Skipped("the image has one".into()));
        }
        make_what_the_unit_needs(context)?;
        let place = context.host.path("/etc/systemd/system").join(UNIT);
        let content = format!("{MARK}{}", self.unit);
        match std::fs::read_to_string(&place) {
            Ok(before) if before == content => return Ok(Outcome::Done),
            Ok(before) if !before.starts_with(MARK) => return Ok(Outcome::Skipped("the image has one".into())),
            _ => {}
        }
        File::new(&format!("/etc/systemd/system/{UNIT}"), content.as_bytes(), 0o644).place(context)?;
        systemctl(context, "agent unit", &["daemon-reload"])?;
        Ok(Outcome::Done)
    }
}

/// What a package brings beside the unit: the folder that it loads credentials from, and the socket's group.
fn make_what_the_unit_needs(context: &Context<'_>) -> Result<(), Failure> {
    let made = || {
        std::fs::create_dir_all(context.host.path("/etc/hostwright"))?;
        match std::fs::DirBuilder::new().mode(0o700).create(context.host.path(CREDENTIALS)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    };
    made().map_err(|error| Failure::io(format!("make {CREDENTIALS}"), &error))?;
    if context.host.program("groupadd").is_none() {
        log::warn!("there is no groupadd: the agent's socket stays root's alone");
        return Ok(());
    }
    groups::create(context, "agent unit", "hostwright", true)
}

/// The agent's configuration: the user-data's `hostwright:` section.
#[derive(Serialize)]
pub struct InstallConfiguration {
    text: String,
}

impl InstallConfiguration {
    pub fn new(text: String) -> Self {
        Self { text }
    }
}

impl Action for InstallConfiguration {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let content = format!(
            "# Written by hostwright-bootstrap from the section `hostwright:` of the user-data of instance {}.\n{}",
            context.instance_id, self.text
        );
        if !File::new(CONFIG, content.as_bytes(), 0o640).place_if_changed(context)? {
            return Ok(Outcome::Done);
        }
        // An agent that does not run yet is started by a later step.
        systemctl(context, "agent config", &["--no-block", "try-reload-or-restart", UNIT])?;
        Ok(Outcome::Done)
    }
}

/// Nothing where systemd does not run.
pub fn systemctl(context: &Context<'_>, step: &str, arguments: &[&str]) -> Result<(), Failure> {
    if !context.host.has_systemd() {
        return Ok(());
    }
    let mut command = context.host.command("systemctl");
    command.args(arguments);
    Run { deadline: Some(std::time::Duration::from_secs(120)), ..Run::new(step, command) }.succeed(context)
}

#[cfg(test)]
mod tests {
    use super::super::{Action as _, Context, Outcome};
    use super::{InstallConfiguration, InstallProgram, InstallUnit};
    use crate::boot::host::Host;
    use crate::boot::userdata::boot_section::Fetched;
    use hostwright_core::hex::hex;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn program_unit_and_configuration_are_put_in_place_in_a_tree_without_systemd() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: tree.path().to_owned(), resumed: false };
        std::fs::write(tree.path().join("agent"), "program").expect("written");
        let program = |sha256: &str| {
            InstallProgram::new(
                Fetched { from: "/agent".into(), sha256: Some(sha256.into()), signed_by: None },
                Default::default(),
            )
        };
        let wrong = program(&"0".repeat(64)).run(&context).expect_err("refused");
        assert!(wrong.why.contains("is not installed") && !tree.path().join("usr/bin/hostwright-agent").exists());
        program(&hex(&Sha256::digest("program"))).run(&context).expect("installed");
        assert_eq!(std::fs::read_to_string(tree.path().join("usr/bin/hostwright-agent")).expect("read"), "program");
        InstallConfiguration::new("metrics: {}\n".into()).run(&context).expect("written");
        let text = std::fs::read_to_string(tree.path().join("etc/hostwright/agent.yaml")).expect("read");
        assert!(text.starts_with('#') && text.ends_with("\nmetrics: {}\n"), "{text}");
        assert_eq!(InstallUnit::new().run(&context), Ok(Outcome::Done));
        let unit = tree.path().join("etc/systemd/system/hostwright-agent.service");
        assert!(std::fs::read_to_string(&unit).expect("read").contains("Type=notify"));
        let credentials = tree.path().join("etc/hostwright/credentials").metadata().expect("made for the unit");
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&credentials.permissions()) & 0o777, 0o700);
        std::fs::write(&unit, "[Unit]\n").expect("an operator's own");
        assert!(matches!(InstallUnit::new().run(&context), Ok(Outcome::Skipped(_))));
    }
}
