use super::command::Run;
use super::place::File;
use super::{Action, Context, Failure, Outcome};
use crate::boot::userdata::users::User;
use serde::Serialize;

/// cloud-init's own: commands of user-data change it or take it away.
const PATH: &str = "/etc/sudoers.d/90-cloud-init-users";

/// What users may do by sudo.
#[derive(Serialize)]
pub struct SudoRules {
    content: String,
    /// Nothing in it can be wrong.
    is_plain: bool,
}

/// What nearly everybody writes.
const PLAIN: [&str; 4] =
    ["ALL=(ALL) NOPASSWD:ALL", "ALL=(ALL) NOPASSWD: ALL", "ALL=(ALL:ALL) NOPASSWD:ALL", "ALL=(ALL:ALL) ALL"];

impl SudoRules {
    pub fn new(users: &[User]) -> Self {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let is_plain = users.iter().filter(|user| user.sudo.is_some()).all(|user| {
            let begins = user.name.starts_with(|c: char| c.is_ascii_lowercase());
            begins
                && user.name.chars().all(is_name)
                && user.sudo.iter().flatten().all(|rule| PLAIN.contains(&rule.as_str()))
        });
        let mut content = "# Written by hostwright-bootstrap from the user-data.\n".to_owned();
        for user in users {
            for rule in user.sudo.iter().flatten() {
                content.push_str(&format!("{} {rule}\n", user.name));
            }
        }
        Self { content, is_plain }
    }
}

impl Action for SudoRules {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        // sudo refuses everything while one of its files is wrong.
        if !self.is_plain && context.host.program("visudo").is_some() {
            let mut command = context.host.command("visudo");
            command.args(["--check", "--quiet", "--file", "-"]);
            let input = Some(self.content.clone().into_bytes());
            Run { input, ..Run::new("sudo", command) }.succeed(context).map_err(|failure| {
                Failure::new(failure.why, "correct the sudo: rules of the user-data; nothing was written")
            })?;
        }
        File::new(PATH, self.content.as_bytes(), 0o440).place(context)?;
        Ok(Outcome::Done)
    }
}

/// What users may do by doas.
#[derive(Serialize)]
pub struct DoasRules {
    rules: Vec<String>,
}

const DOAS: &str = "/etc/doas.conf";

impl DoasRules {
    pub fn new(users: &[User]) -> Self {
        Self { rules: users.iter().flat_map(|user| user.doas.iter().flatten().cloned()).collect() }
    }
}

impl Action for DoasRules {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let before = std::fs::read_to_string(context.host.path(DOAS)).unwrap_or_default();
        let missing = self.rules.iter().filter(|rule| !before.lines().any(|line| line == **rule));
        let added: String = missing.map(|rule| format!("{rule}\n")).collect();
        let between = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        File::new(DOAS, format!("{before}{between}{added}").as_bytes(), 0o440).place_if_changed(context)?;
        Ok(Outcome::Done)
    }
}
