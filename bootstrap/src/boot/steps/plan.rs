use super::agent_install::{InstallConfiguration, InstallProgram, InstallUnit};
use super::agent_start::{StartAgent, WaitForAgent};
use super::apt::ConfigureApt;
use super::bundles::{FetchFiles, PlaceBundle};
use super::disks::{MakeFilesystems, PartitionDisks};
use super::engine::{Harden, InstallEngine};
use super::fetch::Buckets;
use super::files::WriteFiles;
use super::groups::{CreateGroups, JoinGroups};
use super::growth::Grow;
use super::host_keys::{HardenServer, HostKeys, RsaKey, ServerSwitches};
use super::host_name::{EtcHosts, SetHostName};
use super::mounts::MountAll;
use super::ntp::ConfigureNtp;
use super::packages::InstallPackages;
use super::passwords::SetPasswords;
use super::phone_home::CallHome;
use super::power::ChangePower;
use super::random_seed::SeedRandom;
use super::rsyslog::ConfigureRsyslog;
use super::shell::{Script, ShellCommand};
use super::ssh_keys_told::TellSshKeys;
use super::sudo::{DoasRules, SudoRules};
use super::team::KeepTeam;
use super::timezone::SetTimeZone;
use super::users::CreateUsers;
use super::validity::Validity;
use super::volume_tools::missing_packages;
use super::volumes::OpenVolume;
use super::{Frequency, Step, people, services};
use crate::boot::datasource::Metadata;
use crate::boot::host::Host;
use crate::boot::userdata::boot_section::{Fetched, Hardening, Volume, VolumeKey};
use crate::boot::userdata::files::{Source, WriteFile};
use crate::boot::userdata::names::ManageHosts;
use crate::boot::userdata::parts::When;
use crate::boot::userdata::{CloudConfig, Script as UserScript, UserData};
use std::time::Duration;

/// The steps of an instance, in their order. All that it looks at on the host are files that say what it is.
pub fn plan(host: &Host, metadata: &Metadata, user_data: UserData, patience: Duration) -> Vec<Step> {
    let mut steps =
        vec![Step::new("user-data", Validity::new(&user_data.findings.errors)).with_frequency(Frequency::Boot)];
    for hook in &user_data.boothooks {
        let name = format!("{}boothook {}", if hook.is_vendors { "vendor " } else { "" }, hook.name);
        steps.push(Step::new(&name, Script::new(&name, hook)).with_frequency(Frequency::Boot));
    }
    let of = |script| self::script(script, user_data.config.commands_at_each_boot);
    let scripts =
        [user_data.scripts_before_commands().map(of).collect(), user_data.scripts_after_commands().map(of).collect()];
    let config = user_data.config;
    let name = SetHostName::new(&config.names, metadata, host.has_rpm());
    first(host, &config, &mut steps);
    names(&config, name.as_ref(), &mut steps);
    accounts(host, metadata, &config, &mut steps);
    own_services(host, &config, &mut steps);
    packages(host, &config, name.as_ref(), &mut steps);
    own_section(host, &config, &mut steps);
    commands(&config, scripts, &mut steps);
    agent(&config, patience, &mut steps);
    farewell(&config, name.as_ref(), &mut steps);
    steps
}

/// The steps of an instance that cloud-init configures: of its user-data only `hostwright:` is carried out.
pub fn beside_cloud_init(host: &Host, user_data: &UserData, patience: Duration) -> Vec<Step> {
    let config = &user_data.config;
    let errors = user_data.findings.errors.iter().filter(|problem| problem.path.starts_with("hostwright"));
    let errors: Vec<_> = errors.cloned().collect();
    let mut steps = vec![Step::new("user-data", Validity::new(&errors)).with_frequency(Frequency::Boot)];
    for volume in config.boot.volumes.iter().filter(|volume| !needs_network(host, volume)) {
        steps.push(open(volume, config));
    }
    harden_server(config, &mut steps);
    own_section(host, config, &mut steps);
    agent(config, patience, &mut steps);
    steps
}

/// Scripts are operators' commands: each a step of its own, by the name of its file.
fn script(script: &UserScript, at_each_boot: bool) -> Step {
    let often = match script.when {
        When::WithCommands => "",
        When::Instance => "per-instance ",
        When::Boot => "per-boot ",
        When::Once => "per-once ",
    };
    let name = format!("{}script {often}{}", if script.is_vendors { "vendor " } else { "" }, script.name);
    let step = Step::new(&name, Script::new(&name, script)).of_a_command();
    let is_users = script.when == When::WithCommands && !script.is_vendors;
    let is_for_each_boot = script.when == When::Boot || is_users && at_each_boot;
    if is_for_each_boot { step.with_frequency(Frequency::Boot) } else { step }
}

/// Commands, and what others lie on: disks.
fn first(host: &Host, config: &CloudConfig, steps: &mut Vec<Step>) {
    if let Some(seed) = &config.random_seed {
        steps.push(Step::new("random seed", SeedRandom::new(seed)));
    }
    for (number, line) in config.bootcmd.iter().enumerate() {
        let name = format!("bootcmd {}", number + 1);
        steps.push(Step::new(&name, ShellCommand::new(&name, line)).with_frequency(Frequency::Boot));
    }
    let grow = Grow::new(&config.growth);
    if config.growth.is_said || grow.is_needed(host) {
        steps.push(Step::new("growth", grow).with_frequency(Frequency::Boot));
    }
    if !config.disks.tables.is_empty() {
        steps.push(Step::new("disks", PartitionDisks::new(&config.disks)));
    }
    if !config.disks.filesystems.is_empty() {
        steps.push(Step::new("filesystems", MakeFilesystems::new(&config.disks)).needing(&["disks"]));
    }
    for volume in config.boot.volumes.iter().filter(|volume| !needs_network(host, volume)) {
        steps.push(open(volume, config));
    }
    if !config.mounts.lines.is_empty() || config.mounts.swap.is_some() {
        let mount = MountAll::new(&config.mounts, &config.disks.aliases);
        steps.push(Step::new("mounts", mount).needing(&["filesystems"]));
    }
}

fn open(volume: &Volume, config: &CloudConfig) -> Step {
    let name = format!("volume {}", volume.name);
    Step::new(name, OpenVolume::new(volume, &buckets(config))).with_frequency(Frequency::Boot)
}

/// Whether its key or the programs for it are elsewhere.
fn needs_network(host: &Host, volume: &Volume) -> bool {
    let is_elsewhere = |from: &Fetched| !from.from.starts_with('/') && !from.from.starts_with("file:");
    let fetched = match &volume.key {
        VolumeKey::Fetched(from) => Some(from),
        VolumeKey::Tpm2 { recovery } => recovery.as_ref(),
    };
    fetched.is_some_and(is_elsewhere) || !missing_packages(host, volume).is_empty()
}

fn buckets(config: &CloudConfig) -> Buckets {
    config.agent.as_ref().map(|agent| agent.buckets.clone()).unwrap_or_default()
}

/// What is beyond cloud-config, in the final stage.
fn own_section(host: &Host, config: &CloudConfig, steps: &mut Vec<Step>) {
    let mut push = |step: Step| steps.push(step.in_the_final_stage());
    let (boot, buckets) = (&config.boot, buckets(config));
    for volume in boot.volumes.iter().filter(|volume| needs_network(host, volume)) {
        push(open(volume, config));
    }
    if !boot.team.is_empty() {
        push(Step::new("team", KeepTeam::new(&boot.team)));
    }
    if let Some(engine) = &boot.engine {
        push(Step::new("engine", InstallEngine::new(engine)));
    }
    if boot.hardening != (Hardening { ssh: boot.hardening.ssh, ..Hardening::default() }) {
        push(Step::new("hardening", Harden::new(&boot.hardening)));
    }
    if !boot.files.is_empty() {
        push(Step::new("bundle files", FetchFiles::new(&boot.files, &buckets)));
    }
    for bundle in &boot.bundles {
        push(Step::new(format!("bundle {}", bundle.name), PlaceBundle::new(bundle, &buckets)));
    }
}

fn names(config: &CloudConfig, name: Option<&SetHostName>, steps: &mut Vec<Step>) {
    if let Some(name) = name {
        let hosts = EtcHosts::new(name, config.names.manage_hosts);
        if !config.names.preserve {
            steps.push(Step::new("hostname", name.clone()));
        }
        if config.names.manage_hosts != ManageHosts::No {
            steps.push(Step::new("hosts", hosts).with_frequency(Frequency::Boot));
        }
    }
    if let Some(zone) = &config.timezone {
        steps.push(Step::new("timezone", SetTimeZone::new(zone)));
    }
}

fn accounts(host: &Host, metadata: &Metadata, config: &CloudConfig, steps: &mut Vec<Step>) {
    if !config.groups.is_empty() {
        steps.push(Step::new("groups", CreateGroups::new(&config.groups)));
    }
    let people = people::people(host, metadata, config);
    if !people.users.is_empty() {
        steps.push(Step::new("users", CreateUsers::new(&people.users)));
    }
    if config.groups.iter().any(|group| !group.members.is_empty()) {
        // Users of the image can be members too, so users that failed do not stand in the way of the others.
        steps.push(Step::new("group members", JoinGroups::new(&config.groups)).needing(&["groups"]));
    }
    if people.users.iter().any(|user| user.sudo.as_ref().is_some_and(|rules| !rules.is_empty())) {
        steps.push(Step::new("sudo", SudoRules::new(&people.users)));
    }
    if people.users.iter().any(|user| user.doas.is_some()) {
        steps.push(Step::new("doas", DoasRules::new(&people.users)));
    }
    if !people.passwords.is_empty() {
        steps.push(Step::new("passwords", SetPasswords::new(people.passwords, config.passwords.expire)));
    }
    let is_here = |file: &&WriteFile| !file.defer && file.source.as_ref().is_none_or(|source| source.path().is_some());
    if config.files.iter().any(|file| is_here(&file)) {
        steps.push(Step::new("files", WriteFiles::new("files", config.files.iter().filter(is_here))));
    }
    steps
        .push(Step::new("ssh host keys", HostKeys::new(&config.ssh.host_keys)).with_frequency(Frequency::InstanceOnly));
    if let Some(switches) = ServerSwitches::new(host, &config.ssh) {
        steps.push(Step::new("ssh switches", switches));
    }
    harden_server(config, steps);
    if !people.roots_keys.is_empty() {
        steps.push(Step::new("root keys", people::RootKeys::new(people.roots_keys)));
    }
}

/// Before the server starts.
fn harden_server(config: &CloudConfig, steps: &mut Vec<Step>) {
    if config.boot.hardening.ssh {
        steps.push(Step::new("ssh hardening", HardenServer::new()));
    }
}

/// Services of the host that are told something before they start.
fn own_services(host: &Host, config: &CloudConfig, steps: &mut Vec<Step>) {
    if let Some(keyboard) = &config.keyboard {
        steps.push(Step::new("keyboard", services::keyboard(host, keyboard)));
    }
    if let Some(resolvers) = &config.resolvers {
        steps.push(Step::new("resolvers", services::resolvers(resolvers)));
    }
    if let Some(certificates) = &config.certificates {
        steps.push(
            Step::new("certificates", services::certificates(host, certificates))
                .with_frequency(Frequency::InstanceOnly),
        );
    }
}

fn packages(host: &Host, config: &CloudConfig, name: Option<&SetHostName>, steps: &mut Vec<Step>) {
    let mut push = |step: Step| steps.push(step.in_the_final_stage());
    let is_fetched =
        |file: &&WriteFile| !file.defer && file.source.as_ref().is_some_and(|source: &Source| source.path().is_none());
    if config.files.iter().any(|file| is_fetched(&file)) {
        push(Step::new("fetched files", WriteFiles::new("fetched files", config.files.iter().filter(is_fetched))));
    }
    if let Some(locale) = &config.locale {
        // What it writes depends on what is there, so its input is no reason to do it again.
        push(Step::new("locale", services::locale(host, locale)).with_frequency(Frequency::InstanceOnly));
    }
    if let Some(apt) = &config.apt {
        let domain = name.and_then(|name| name.fqdn.split_once('.')).map_or("", |(_, domain)| domain);
        push(Step::new("apt", ConfigureApt::new(apt, domain)));
    }
    if let Some(yum) = &config.yum {
        push(Step::new("yum", services::yum(host, yum)).with_frequency(Frequency::InstanceOnly));
    }
    if let Some(ntp) = &config.ntp {
        push(Step::new("ntp", ConfigureNtp::new(ntp)));
    }
    if let Some(rsyslog) = &config.rsyslog {
        push(Step::new("rsyslog", ConfigureRsyslog::new(rsyslog)));
    }
    if config.metadata_is_cut_off {
        push(Step::new("metadata route", services::no_metadata()).with_frequency(Frequency::Boot));
    }
    let wanted = &config.packages;
    if wanted.update || wanted.upgrade || !wanted.install.is_empty() {
        push(Step::new("packages", InstallPackages::new(wanted.clone())));
    }
}

fn commands(config: &CloudConfig, [before, after]: [Vec<Step>; 2], steps: &mut Vec<Step>) {
    let mut push = |step: Step| steps.push(step.in_the_final_stage());
    if config.files.iter().any(|file| file.defer) {
        push(Step::new(
            "deferred files",
            WriteFiles::new("deferred files", config.files.iter().filter(|file| file.defer)),
        ));
    }
    before.into_iter().for_each(&mut push);
    for (number, line) in config.runcmd.iter().enumerate() {
        let name = format!("runcmd {}", number + 1);
        let step = Step::new(&name, ShellCommand::new(&name, line)).of_a_command();
        push(if config.commands_at_each_boot { step.with_frequency(Frequency::Boot) } else { step });
    }
    after.into_iter().for_each(&mut push);
    let users = people::names(config);
    push(Step::new("ssh keys told", TellSshKeys::new(&config.ssh.told, users)).with_frequency(Frequency::InstanceOnly));
    if config.ssh.host_keys.given.is_empty() && config.ssh.host_keys.types.iter().any(|kind| kind == "rsa") {
        push(Step::new("ssh rsa key", RsaKey {}).with_frequency(Frequency::InstanceOnly));
    }
}

fn agent(config: &CloudConfig, patience: Duration, steps: &mut Vec<Step>) {
    let mut push = |step: Step| steps.push(step.in_the_final_stage());
    if let Some(agent) = config.agent.clone() {
        if let Some(program) = agent.from {
            push(Step::new("agent program", InstallProgram::new(program, agent.buckets.clone())));
        }
        push(Step::new("agent unit", InstallUnit::new()));
        push(Step::new("agent config", InstallConfiguration::new(agent.config)));
        push(Step::new("agent start", StartAgent {}).needing(&["agent program", "agent unit", "agent config"]));
        let wait = WaitForAgent::new(patience);
        push(Step::new("agent ready", wait).with_frequency(Frequency::Boot).needing(&["agent config", "agent start"]));
    }
}

fn farewell(config: &CloudConfig, name: Option<&SetHostName>, steps: &mut Vec<Step>) {
    let mut push = |step: Step| steps.push(step.in_the_final_stage());
    if let Some(phone) = &config.phone_home {
        let (short, fqdn) = name.map_or(("", ""), |name| (name.short.as_str(), name.fqdn.as_str()));
        push(Step::new("phone home", CallHome::new(phone, short, fqdn)).with_frequency(Frequency::InstanceOnly));
    }
    if let Some(power) = &config.power {
        push(Step::new("power state", ChangePower::new(power)).of_a_command());
    }
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
                "ssh keys told",
                "ssh rsa key",
                "agent program",
                "agent unit",
                "agent config",
                "agent start",
                "agent ready"
            ]
        );
    }

    #[test]
    fn beside_cloud_init_only_our_section_is_carried_out() {
        let host = Host::new("/".into(), "/proc".into(), "/sys".into()).expect("host");
        let user_data = userdata::read(
            b"#cloud-config\nusers: [bob]\nruncmd: [a]\nbad: 1\nhostwright: {boot: {engine: podman}, metrics: }\n",
        );
        let steps = super::beside_cloud_init(&host, &user_data, Duration::ZERO);
        let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["user-data", "engine", "agent unit", "agent config", "agent start", "agent ready"]);
    }

    #[test]
    fn the_clouds_key_and_name_are_used_without_any_user_data() {
        let metadata = Metadata {
            instance_id: None,
            local_hostname: Some("web".into()),
            public_keys: vec!["ssh-ed25519 A".into()],
        };
        let with = names("", &metadata);
        assert_eq!(with[..6], ["user-data", "hostname", "users", "sudo", "ssh host keys", "root keys"]);
        let without = names("", &Metadata::default());
        assert_eq!(without[..4], ["user-data", "users", "sudo", "ssh host keys"]);
        assert_eq!(names("#cloud-config\nusers: []\n", &metadata)[2], "ssh host keys");
    }
}
