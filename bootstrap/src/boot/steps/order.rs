use super::{Stage, Step};
use serde::Serialize;

/// What of the host a step works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Part {
    /// Anything: an operator's commands, and what must see all that came before.
    Everything,
    /// Disks and what is mounted of them, on which files and homes may lie.
    Disks,
    /// Users and groups, whom files may belong to.
    Accounts,
    /// Files of the operator's.
    Files,
    /// The SSH server.
    Ssh,
    /// Packages and where they come from.
    Packages,
    /// The agent.
    Agent,
    /// A file or two that nobody else touches.
    Itself,
}

impl Part {
    /// Of a step by its name, whose first word says it.
    pub fn of(name: &str) -> Self {
        match name {
            "growth" | "disks" | "filesystems" | "mounts" => return Self::Disks,
            "groups" | "users" | "group members" | "sudo" | "doas" | "passwords" | "root keys" => {
                return Self::Accounts;
            }
            "files" | "fetched files" => return Self::Files,
            "ssh host keys" | "ssh switches" | "ssh hardening" | "ssh keys told" | "ssh rsa key" => return Self::Ssh,
            "apt" | "yum" | "locale" | "ntp" | "rsyslog" | "packages" => return Self::Packages,
            "user-data" | "random seed" | "hostname" | "hosts" | "timezone" | "keyboard" | "resolvers"
            | "certificates" | "network" => {
                return Self::Itself;
            }
            _ => {}
        }
        match name.split(' ').next() {
            Some("agent") => Self::Agent,
            Some("volume") => Self::Disks,
            Some("team") => Self::Accounts,
            // What is run in a bundle may touch anything.
            Some("bundle") => Self::Everything,
            Some("engine" | "hardening") => Self::Packages,
            _ => Self::Everything,
        }
    }

    /// Whether a step of this part waits for an earlier one of that part.
    fn waits_for(self, earlier: Self) -> bool {
        match (self, earlier) {
            (Self::Everything, _) | (_, Self::Everything) => true,
            // Two that keep to themselves never meet.
            (Self::Itself, Self::Itself) => false,
            (this, that) if this == that => true,
            (Self::Accounts | Self::Files | Self::Packages | Self::Agent, Self::Disks) => true,
            (Self::Files | Self::Agent, Self::Accounts) => true,
            (Self::Packages | Self::Agent, Self::Files) => true,
            (Self::Agent, Self::Packages) => true,
            _ => false,
        }
    }
}

/// For each step the indices of the earlier ones that must have ended before it begins, as few as say it all.
pub fn order(steps: &[Step]) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = Vec::new();
    let mut shown = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let waits = |earlier: &Step| {
            let by_stage = step.stage == Stage::Final && earlier.stage == Stage::Early;
            by_stage || step.needs.contains(&earlier.name.as_str()) || step.part.waits_for(earlier.part)
        };
        let direct: Vec<usize> = (0..index).filter(|earlier| waits(&steps[*earlier])).collect();
        let is_implied = |earlier: &usize| direct.iter().any(|other| all[*other].contains(earlier));
        shown.push(direct.iter().copied().filter(|earlier| !is_implied(earlier)).collect());
        let mut whole = direct.clone();
        direct.iter().for_each(|earlier| whole.extend(&all[*earlier]));
        whole.sort_unstable();
        whole.dedup();
        all.push(whole);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Context, Failure, Outcome, Step};
    use super::order;
    use serde::Serialize;

    #[derive(Serialize)]
    struct Nothing {}

    impl Action for Nothing {
        fn run(&self, _: &Context<'_>) -> Result<Outcome, Failure> {
            Ok(Outcome::Done)
        }
    }

    #[test]
    fn steps_wait_for_what_they_lie_on_and_for_nothing_else() {
        let early = ["hostname", "timezone", "disks", "users", "files", "ssh host keys", "bootcmd 1"];
        let mut steps: Vec<_> = early.map(|name| Step::new(name, Nothing {})).into();
        steps.extend(["packages", "runcmd 1", "runcmd 2"].map(|name| Step::new(name, Nothing {}).in_the_final_stage()));
        let waits: Vec<Vec<&str>> =
            order(&steps).into_iter().map(|of| of.into_iter().map(|at| steps[at].name.as_str()).collect()).collect();
        assert!(waits[0].is_empty() && waits[1].is_empty() && waits[2].is_empty());
        assert_eq!((&waits[3][..], &waits[4][..], &waits[5][..]), (&["disks"][..], &["users"][..], &[][..]));
        assert_eq!(waits[6], ["hostname", "timezone", "files", "ssh host keys"]);
        assert_eq!(waits[7..], [["bootcmd 1"], ["packages"], ["runcmd 1"]]);
    }
}
