//! What a user-data brings from elsewhere: an authority's certificate, by which the agent is had from a server that only
//! it vouches for, and programs that install Debian's security updates by themselves.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::busybox_root::outcomes;
use hostwright_tests::certificates::Certificates;
use hostwright_tests::debian_packages::{fetch_for, offer};
use hostwright_tests::metadata_service::in_a_network;
use hostwright_tests::nspawn::Machine;
use hostwright_tests::port::Port;
use hostwright_tests::process::binary;
use hostwright_tests::server::Server;

const BOOT: Duration = Duration::from_secs(120);
const PROGRAM: &str = "/usr/bin/hostwright-agent";

/// openssl's own server of files, over https.
fn serve(folder: &Path, port: &Port, certificates: &Certificates) -> Result<Server> {
    let (certificate, key) = (certificates.path("server.pem"), certificates.path("server.key"));
    let mut command = Command::new("env");
    command.arg("--chdir").arg(folder).args(["openssl", "s_server", "-quiet", "-WWW", "-cert", &certificate]);
    command.args(["-key", &key, "-accept", &format!("127.0.0.1:{}", port.number())]);
    Server::start(&command, &folder.join("log"))
}

fn sha256(path: &Path) -> Result<String> {
    let output = Command::new("sha256sum").arg(path).output()?;
    Ok(String::from_utf8(output.stdout)?.split_whitespace().next().context("no digest")?.to_owned())
}

fn user_data(authority: &str, agent: &str) -> String {
    let authority = authority.trim_end().replace('\n', "\n    ");
    format!(
        "#cloud-config
users: []
ca_certs:
  trusted:
  - |
    {authority}
final_message: '$DATASOURCE is done at $TIMESTAMP after $UPTIME s'
hostwright:
  agent: {agent}
  boot: {{hardening: {{upgrades: true}}}}
  buckets: {{programs: 'file:///srv/programs'}}
  metrics: {{listen: '127.0.0.1:0'}}
"
    )
}

#[test]
fn the_agent_comes_from_a_server_or_a_bucket_only_if_it_is_the_right_one_and_updates_come_by_themselves() -> Result<()>
{
    let mut machine = Machine::new()?;
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages/unattended-upgrades");
    fetch_for(&machine, "unattended-upgrades", &packages)?;
    offer(&machine, &packages)?;
    in_a_network(move || {
        let (certificates, port, folder) = (Certificates::make()?, Port::reserve()?, tempfile::tempdir()?);
        fs::copy(binary("hostwright-agent")?, folder.path().join("agent"))?;
        let _server = serve(folder.path(), &port, &certificates)?;
        let authority = fs::read_to_string(certificates.path("ca.pem"))?;
        let digest = sha256(&folder.path().join("agent"))?;
        let url = format!("https://127.0.0.1:{}/agent", port.number());

        // The image has another one.
        machine.write(PROGRAM, "#!/bin/sh\nexit 1\n")?;
        machine.seed("i-url", &user_data(&authority, &format!("{{from: '{url}', sha256: {digest}}}")))?;
        let mut boot = machine.boot_in_own_network()?;
        boot.wait_for("instance i-url is", BOOT)?;
        let report = machine.report("i-url")?;
        ensure!(report["result"] == "ok", "{report:#}\n{}", boot.console());
        ensure!(boot.console().contains(") is done at "), "{}", boot.console());
        let settings = boot.shell("apt-config dump APT::Periodic::Unattended-Upgrade")?;
        ensure!(settings.contains("\"1\""), "{settings}");
        // An image may have masked them, as ours does.
        let timers =
            boot.shell("systemctl is-active apt-daily.timer apt-daily-upgrade.timer; unattended-upgrade --help")?;
        ensure!(timers.starts_with("active\nactive\n") && timers.contains("--dry-run"), "{timers}");
        boot.power_off()?;
        assert_eq!(sha256(&machine.path(PROGRAM))?, digest);

        // A bucket has one that nobody has meant: what is there stays.
        fs::create_dir_all(machine.path("/srv/programs"))?;
        machine.write("/srv/programs/agent", "another one")?;
        machine
            .seed("i-bucket", &user_data(&authority, &format!("{{from: 's3://programs/agent', sha256: {digest}}}")))?;
        let mut boot = machine.boot_in_own_network()?;
        boot.wait_for("instance i-bucket is NOT", BOOT)?;
        let report = machine.report("i-bucket")?;
        let failed: Vec<_> = outcomes(&report).into_iter().filter(|step| step.1 == "failed").collect();
        ensure!(report.to_string().contains("and the user-data wants"), "{failed:?}");
        boot.power_off()?;
        assert_eq!(sha256(&machine.path(PROGRAM))?, digest);

        // And the right one.
        fs::copy(folder.path().join("agent"), machine.path("/srv/programs/agent"))?;
        machine.write(PROGRAM, "#!/bin/sh\nexit 1\n")?;
        let mut boot = machine.boot_in_own_network()?;
        boot.wait_for("instance i-bucket is configured: ", BOOT)?;
        boot.power_off()?;
        assert_eq!(sha256(&machine.path(PROGRAM))?, digest);
        Ok(())
    })
}
