use super::command::Run;
use super::place::File;
use super::{Action, Context, Failure, Outcome};
use crate::boot::userdata::users::User;
use serde::Serialize;

const PATH: &str = "/etc/sudoers.d/90-hostwright-users";

/// What users may do by sudo.
#[derive(Serialize)]
pub struct SudoRules {
    content: String,
}

impl SudoRules {
    pub fn new(users: &[User]) -> Self {
        let mut content = "# Written by hostwright-bootstrap from the user-data.\n".to_owned();
        for user in users {
            for rule in &user.sudo {
                content.push_str(&format!("{} {rule}\n", user.name));
            }
        }
        Self { content }
    }
}

impl Action for SudoRules {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        // sudo refuses everything while one of its files is wrong.
        if context.host.program("visudo").is_some() {
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
