use super::command::Run;
use super::{Action, Context, Failure, Outcome, accounts, each};
use crate::boot::userdata::groups::Group;
use serde::Serialize;

/// Groups that shall exist.
#[derive(Serialize)]
pub struct CreateGroups {
    names: Vec<String>,
}

impl CreateGroups {
    pub fn new(groups: &[Group]) -> Self {
        Self { names: groups.iter().map(|group| group.name.clone()).collect() }
    }
}

impl Action for CreateGroups {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        each(&self.names, Clone::clone, |name| create(context, "groups", name, false))?;
        Ok(Outcome::Done)
    }
}

/// Creates the group unless it is there.
pub fn create(context: &Context<'_>, step: &str, name: &str, system: bool) -> Result<(), Failure> {
    if accounts::group(context.host, name)?.is_some() {
        return Ok(());
    }
    let mut command = context.host.command("groupadd");
    if system {
        command.arg("--system");
    }
    command.arg(name);
    Run::new(step, command).succeed(context)
}

/// Users that shall belong to groups.
#[derive(Serialize)]
pub struct JoinGroups {
    members: Vec<(String, String)>,
}

impl JoinGroups {
    pub fn new(groups: &[Group]) -> Self {
        let pairs =
            |group: &Group| group.members.iter().map(|user| (user.clone(), group.name.clone())).collect::<Vec<_>>();
        Self { members: groups.iter().flat_map(pairs).collect() }
    }
}

impl Action for JoinGroups {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        each(
            &self.members,
            |(user, group)| format!("{user} into {group}"),
            |(user, group)| {
                let there = accounts::group(context.host, group)?;
                if there.is_some_and(|(_, members)| members.contains(user)) {
                    return Ok(());
                }
                let mut command = context.host.command("usermod");
                command.args(["--append", "--groups", group, user]);
                Run::new("group members", command).succeed(context)
            },
        )?;
        Ok(Outcome::Done)
    }
}
