use super::command::Run;
use super::{Action, Context, Failure, Outcome, accounts, authorized_keys, each, users};
use crate::boot::userdata::boot_section::Member;
use serde::Serialize;

/// People of a team: who is present can log in by his key, who is absent no longer can.
#[derive(Serialize)]
pub struct KeepTeam {
    members: Vec<Member>,
}

impl KeepTeam {
    pub fn new(members: &[Member]) -> Self {
        Self { members: members.to_vec() }
    }
}

impl Action for KeepTeam {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        each(
            &self.members,
            |member| member.user.name.clone(),
            |member| {
                if member.present { users::ensure(context, &member.user) } else { self.send_away(context, member) }
            },
        )?;
        Ok(Outcome::Done)
    }
}

impl KeepTeam {
    /// The account stays with its files, but nobody gets in by it: its keys are taken away and it has ended. A key alone
    /// is taken from an account that others of the team share.
    fn send_away(&self, context: &Context<'_>, member: &Member) -> Result<(), Failure> {
        let Some(account) = accounts::user(context.host, &member.user.name)? else { return Ok(()) };
        authorized_keys::remove(context.host, &account, member.user.keys.as_deref().unwrap_or_default())?;
        let is_shared = self.members.iter().any(|other| other.present && other.user.name == member.user.name);
        if is_shared {
            return Ok(());
        }
        let mut command = context.host.command("usermod");
        command.args(["--lock", "--expiredate", "1", &member.user.name]);
        Run::new("team", command).succeed(context)
    }
}
