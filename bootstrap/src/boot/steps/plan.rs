use super::agent_install::{InstallConfiguration, InstallProgram, InstallUnit};
use super::agent_start::{StartAgent, WaitForAgent};
use super::files::WriteFiles;
use super::groups::{CreateGroups, JoinGroups};
use super::host_keys::{HostKeys, ServerSwitches};
use super::host_name::{EtcHosts, SetHostName};
use super::packages::InstallPackages;
use super::shell::{Script, ShellCommand};
use super::sudo::SudoRules;
use super::timezone::SetTimeZone;
use super::users::{CreateUsers, default_user};
use super::validity::Validity;
use super::{Frequency, Step};
use crate::boot::datasource::Metadata;
use crate::boot::host::Host;
use crate::boot::userdata::names::ManageHosts;
use crate::boot::userdata::parts::When;
use crate::boot::userdata::users::{Entry, User};
use crate::boot::userdata::{CloudConfig, Script as UserScript, UserData};
use std::time::Duration;

/// The steps of an instance, in their order. Its only look at the host is the distribution's name.
pub fn plan(host: &Host, metadata: &Metadata, user_data: UserData, patience: Duration) -> Vec<Step> {
    let mut steps =
        vec![Step::new("user-data", Validity::new(&user_data.findings.errors)).with_frequency(Frequency::Boot)];
    for hook in &user_data.boothooks {
        let name = format!("{}boothook {}", if hook.is_vendors { "vendor " } else { "" }, hook.name);
        steps.push(Step::new(&name, Script::new(&name, hook)).with_frequency(Frequency::Boot));
    }
    early(host, metadata, &user_data.config, &mut steps);
    last(user_data, patience, &mut steps);
    steps
}

/// Scripts are operators' commands: each a step of its own, by the name of its file.
fn script(script: &UserScript) -> Step {
    let often = match script.when {
        When::WithCommands => "",
        When::Instance => "per-instance ",
        When::Boot => "per-boot ",
        When::Once => "per-once ",
    };
    let name = format!("{}script {often}{}", if script.is_vendors { "vendor " } else { "" }, script.name);
    let step = Step::new(&name, Script::new(&name, script)).of_a_command();
    if script.when == When::Boot { step.with_frequency(Frequency::Boot) } else { step }
}

fn early(host: &Host, metadata: &Metadata, config: &CloudConfig, steps: &mut Vec<Step>) {
    for (number, line) in config.bootcmd.iter().enumerate() {
        let name = format!("bootcmd {}", number + 1);
        steps.push(Step::new(&name, ShellCommand::new(&name, line)).with_frequency(Frequency::Boot));
    }
    if let Some(name) = SetHostName::new(&config.names, metadata) {
        let hosts = EtcHosts::new(&name, config.names.manage_hosts);
        if !config.names.preserve {
            steps.push(Step::new("hostname", name));
        }
        if config.names.manage_hosts != ManageHosts::No {
            steps.push(Step::new("hosts", hosts).with_frequency(Frequency::Boot));
        }
    }
    if let Some(zone) = &config.timezone {
        steps.push(Step::new("timezone", SetTimeZone::new(zone)));
    }
    if !config.groups.is_empty() {
        steps.push(Step::new("groups", CreateGroups::new(&config.groups)));
    }
    let users = users(host, metadata, config);
    if !users.is_empty() {
        steps.push(Step::new("users", CreateUsers::new(&users)));
    }
    if config.groups.iter().any(|group| !group.members.is_empty()) {
        // Users of the image can be members too, so users that failed do not stand in the way of the others.
        steps.push(Step::new("group members", JoinGroups::new(&config.groups)).needing(&["groups"]));
    }
    if users.iter().any(|user| !user.sudo.is_empty()) {
        steps.push(Step::new("sudo", SudoRules::new(&users)));
    }
    if config.files.iter().any(|file| !file.defer) {
        steps.push(Step::new("files", WriteFiles::new("files", config.files.iter().filter(|file| !file.defer))));
    }
    steps.push(
        Step::new("ssh host keys", HostKeys::new(config.ssh.keep_host_keys)).with_frequency(Frequency::InstanceOnly),
    );
    if let Some(switches) = ServerSwitches::new(&config.ssh) {
        steps.push(Step::new("ssh switches", switches));
    }
}

fn last(user_data: UserData, patience: Duration, steps: &mut Vec<Step>) {
    let [before, after]: [Vec<Step>; 2] = [
        user_data.scripts_before_commands().map(script).collect(),
        user_data.scripts_after_commands().map(script).collect(),
    ];
    let config = user_data.config;
    let mut push = |step: Step| steps.push(step.in_the_final_stage());
    let packages = config.packages;
    if packages.update || packages.upgrade || !packages.install.is_empty() {
        push(Step::new("packages", InstallPackages::new(packages)));
    }
    if config.files.iter().any(|file| file.defer) {
        push(Step::new(
            "deferred files",
            WriteFiles::new("deferred files", config.files.iter().filter(|file| file.defer)),
        ));
    }
    before.into_iter().for_each(&mut push);
    for (number, line) in config.runcmd.iter().enumerate() {
        let name = format!("runcmd {}", number + 1);
        push(Step::new(&name, ShellCommand::new(&name, line)).of_a_command());
    }
    after.into_iter().for_each(&mut push);
    if let Some(agent) = config.agent {
        if let Some(program) = agent.from {
            push(Step::new("agent program", InstallProgram::new(program)));
        }
        push(Step::new("agent unit", InstallUnit::new()));
        push(Step::new("agent config", InstallConfiguration::new(agent.config)));
        push(Step::new("agent start", StartAgent {}).needing(&["agent program", "agent unit", "agent config"]));
        let wait = WaitForAgent::new(patience);
        push(Step::new("agent ready", wait).with_frequency(Frequency::Boot).needing(&["agent config", "agent start"]));
    }
}

/// The users that shall exist, with the keys that are nobody's by name given to the default user, else to the first.
///
/// Where no users are named, the default user is made if there is a key for him: without one nobody could log in.
fn users(host: &Host, metadata: &Metadata, config: &CloudConfig) -> Vec<User> {
    let mut loose: Vec<String> = metadata.public_keys.iter().chain(&config.ssh.authorized_keys).cloned().collect();
    loose.dedup();
    let entries = match &config.users {
        Some(entries) => &entries[..],
        None if loose.is_empty() => &[],
        None => &[Entry::Default],
    };
    let mut users: Vec<User> = entries
        .iter()
        .map(|entry| match entry {
            Entry::Default => default_user(host),
            Entry::User(user) => (**user).clone(),
        })
        .collect();
    let heir = entries.iter().position(|entry| *entry == Entry::Default).unwrap_or(0);
    if let Some(heir) = users.get_mut(heir) {
        heir.keys.extend(loose);
    }
    users
}

#[cfg(test)]
mod tests {
    use super::plan;
    use crate::boot::datasource::Metadata;
    use crate::boot::host::Host;
    use crate::boot::userdata;
    use std::time::Duration;

    fn names(user_data: &str, metadata: &Metadata) -> Vec<String> {
        let host = Host::new("/".into(), "/proc".into(), "/sys".into()).expect("host");
        let steps = plan(&host, metadata, userdata::read(user_data.as_bytes()), Duration::ZERO);
        steps.into_iter().map(|step| step.name).collect()
    }

    #[test]
    fn a_section_becomes_steps_in_the_order_of_the_boot() {
        let user_data = "#cloud-config\nruncmd: [a, b]\nwrite_files: [{path: /a}, {path: /b, defer: true}]\nusers: [default]\nhostname: web\nmanage_etc_hosts: true\npackages: [jq]\nhostwright: {agent: {from: /x}, metrics: }\n";
        assert_eq!(
            names(user_data, &Metadata::default()),
            [
                "user-data",
                "hostname",
                "hosts",
                "users",
                "sudo",
                "files",
                "ssh host keys",
                "packages",
                "deferred files",
                "runcmd 1",
                "runcmd 2",
                "agent program",
                "agent unit",
                "agent config",
                "agent start",
                "agent ready"
            ]
        );
    }

    #[test]
    fn the_clouds_key_and_name_are_used_without_any_user_data() {
        let metadata = Metadata {
            instance_id: None,
            local_hostname: Some("web".into()),
            public_keys: vec!["ssh-ed25519 A".into()],
        };
        assert_eq!(names("", &metadata), ["user-data", "hostname", "users", "sudo", "ssh host keys"]);
        assert_eq!(names("", &Metadata::default()), ["user-data", "ssh host keys"]);
    }
}
