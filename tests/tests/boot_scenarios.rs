//! The scenarios' user-data under systemd, each as its cloud hands it over: OpenStack's and EC2's metadata services at
//! 169.254.169.254, a config drive, NoCloud.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::metadata_service::{ADDRESS, MetadataService, documents, ec2, in_a_network, openstack};
use hostwright_tests::nspawn::{Boot, Machine};
use hostwright_tests::scenario::{hrsi_worker, render};
use hostwright_tests::wait::eventually;

const BOOT: Duration = Duration::from_secs(120);
const IAN: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKr2g5gYx8mQ9T6Zb0s3y1r7l6Y0l9o3Q2k5n8v1w4xZ ian";
const BYRON: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFr2g5gYx8mQ9T6Zb0s3y1r7l6Y0l9o3Q2k5n8v1w4xZ byron";

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("starting {program}"))?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Boots it until the instance is configured, and sees that all went well.
fn configured(machine: &mut Machine, instance: &str) -> Result<Boot> {
    let boot = machine.boot_in_own_network()?;
    ended(machine, boot, instance)
}

fn ended(machine: &Machine, mut boot: Boot, instance: &str) -> Result<Boot> {
    boot.wait_for(&format!("instance {instance} is"), BOOT)?;
    let report = machine.report(instance)?;
    ensure!(report["result"] == "ok", "{report:#}\n{}", boot.console());
    Ok(boot)
}

fn datasource(machine: &Machine, name: &str) -> Result<()> {
    machine.write("/etc/cloud/cloud.cfg", &format!("datasource_list: [{name}, None]\n"))
}

#[test]
fn each_scenarios_user_data_boots_as_its_cloud_hands_it_over() -> Result<()> {
    in_a_network(|| {
        let mut machine = Machine::new()?;
        a_worker_of_hrsi_by_openstack(&mut machine)?;
        a_service_of_prism_by_ec2(&mut machine)?;
        a_backend_of_basegun_by_openstack(&mut machine)?;
        a_hub_of_callysto_by_config_drive(&mut machine)?;
        a_host_of_caldata_by_nocloud(&mut machine)
    })
}

fn a_worker_of_hrsi_by_openstack(machine: &mut Machine) -> Result<()> {
    let id = "83679162-1378-4288-a2d4-70e13ec132aa";
    let user_data = hrsi_worker()?;
    let service = MetadataService::serve(ADDRESS, openstack(id, "fa:16:3e:05:30:fe", &user_data, IAN))?;
    datasource(machine, "OpenStack")?;
    let boot = configured(machine, id)?;
    boot.power_off()?;
    ensure!(service.asked().len() == 5, "each document is asked for once");
    service.stop();
    assert_eq!(machine.read("/var/launched")?, "processing 1.2 10.0.0.1 10.0.0.2\n");
    assert_eq!(fs::metadata(machine.path("/root/worker.env"))?.permissions().mode() & 0o777, 0o600);
    assert_eq!(machine.read("/etc/hostname")?, "worker-1\n");
    assert!(machine.read("/home/debian/.ssh/authorized_keys")?.contains(IAN));
    let network = machine.read("/etc/systemd/network/10-hostwright-fa-16-3e-05-30-fe.network")?;
    assert!(network.contains("DHCP=ipv4") && network.contains("MTUBytes=1442"), "{network}");
    Ok(())
}

fn a_service_of_prism_by_ec2(machine: &mut Machine) -> Result<()> {
    let envoy = "# a line of an Envoy's configuration, of which there are many\n".repeat(500);
    let rest = render("prism", "rest.yaml", &[("environment", "feature-7"), ("envoy", &envoy)])?;
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), &rest)?;
    let sum = run("sha256sum", &[&file.path().display().to_string()])?;
    let configuration = MetadataService::serve("127.0.0.1:0", documents(&[("/feature-7/rest.yaml", &rest)]))?;
    let place = format!("{}/feature-7/rest.yaml", configuration.url());
    let digest = sum.split_whitespace().next().context("no digest")?;
    let user_data = render("prism", "user-data.yaml", &[("team_key", IAN), ("rest", &place), ("sha256", digest)])?;
    ensure!(rest.len() > 16 << 10 && user_data.len() < 1 << 10, "the rest is what does not fit");
    datasource(machine, "Ec2")?;
    // An image without keys, and nobody else who makes some.
    fs::remove_file(machine.path("/etc/systemd/system/ssh.service.wants/ssh-host-keys.service"))?;
    for kind in ["ed25519", "ecdsa"] {
        fs::remove_file(machine.path(&format!("/etc/ssh/ssh_host_{kind}_key")))?;
    }
    let boot = machine.boot_in_own_network()?;
    eventually("the SSH server gives up", BOOT, || boot.shell("systemctl is-failed ssh.service"))?;
    let service = MetadataService::serve(ADDRESS, ec2("i-0prism", &user_data, BYRON))?;
    let boot = ended(machine, boot, "i-0prism")?;
    eventually("the SSH server has its keys", BOOT, || boot.shell("systemctl is-active ssh.service"))?;
    boot.power_off()?;
    service.stop();
    assert_eq!(machine.read("/etc/hostname")?, "prism-feature-7\n");
    assert_eq!(machine.read("/var/envoy-size")?.trim(), envoy.len().to_string());
    let keys = machine.read("/home/debian/.ssh/authorized_keys")?;
    assert!(keys.contains(IAN) && keys.contains(BYRON), "the team's and the instance's: {keys}");
    assert!(machine.read("/etc/hostwright/agent.yaml")?.contains("feature-7"));
    Ok(())
}

fn a_backend_of_basegun_by_openstack(machine: &mut Machine) -> Result<()> {
    let id = "b0000000-1378-4288-a2d4-70e13ec132aa";
    let values = [
        ("workspace", "preprod"),
        ("ssh_public_key", BYRON),
        ("registry", "127.0.0.1:1"),
        ("bucket_access_key", "a"),
        ("bucket_secret_key", "correct-horse"),
        ("compose", "services: {}"),
        // Registry, buckets and receivers are in the scenario's own test.
        ("agent", "metrics: {listen: '127.0.0.1:9100'}"),
    ];
    let user_data = render("basegun", "user-data.yaml", &values)?;
    let service = MetadataService::serve(ADDRESS, openstack(id, "fa:16:3e:05:30:ff", &user_data, IAN))?;
    datasource(machine, "OpenStack")?;
    let boot = configured(machine, id)?;
    assert_eq!(boot.shell("id -nG basegun")?, "basegun sudo hostwright\n");
    boot.power_off()?;
    service.stop();
    assert_eq!(machine.read("/etc/hostname")?, "basegun-preprod\n");
    assert!(machine.read("/etc/motd")?.starts_with("basegun preprod was set up on"));
    assert!(machine.read("/etc/docker/daemon.json")?.contains("127.0.0.1:1"));
    assert!(machine.read("/home/basegun/.ssh/authorized_keys")?.contains(BYRON));
    assert_eq!(fs::metadata(machine.path("/etc/hostwright/agent.env"))?.permissions().mode() & 0o777, 0o600);
    assert!(machine.path("/var/lib/basegun/images").is_dir());
    Ok(())
}

fn a_hub_of_callysto_by_config_drive(machine: &mut Machine) -> Result<()> {
    datasource(machine, "ConfigDrive")?;
    for (instance, byron_is) in [("i-hub", "present"), ("i-hub", "absent")] {
        let values = [("name", "hub"), ("ian", IAN), ("byron", BYRON), ("byron_is", byron_is)];
        let folder = "/var/lib/cloud/seed/config_drive/openstack/latest";
        machine.write(&format!("{folder}/user_data"), &render("callysto", "user-data.yaml", &values)?)?;
        machine.write(&format!("{folder}/meta_data.json"), &format!(r#"{{"uuid": "{instance}", "hostname": "x"}}"#))?;
        configured(machine, instance)?.power_off()?;
        assert_eq!(machine.read("/home/ian/.ssh/authorized_keys")?, format!("{IAN}\n"));
        assert_eq!(machine.read("/home/byron/.ssh/authorized_keys")?.contains(BYRON), byron_is == "present");
    }
    assert_eq!(machine.read("/etc/hostname")?, "hub\n");
    fs::remove_dir_all(machine.path("/var/lib/cloud/seed"))?;
    Ok(())
}

fn a_host_of_caldata_by_nocloud(machine: &mut Machine) -> Result<()> {
    let values = [
        ("owner", "dse"),
        ("environment", "test"),
        ("access_key", "a"),
        ("secret_key", "correct-horse"),
        ("bucket_endpoint", "http://127.0.0.1:1"),
    ];
    datasource(machine, "NoCloud")?;
    machine.seed("i-dse", &render("caldata", "user-data.yaml", &values)?)?;
    configured(machine, "i-dse")?.power_off()?;
    assert_eq!(machine.read("/etc/hostname")?, "dse-infra-test\n");
    assert!(machine.read("/etc/passwd")?.lines().any(|line| line.starts_with("dse-bot:") && line.ends_with("nologin")));
    assert_eq!(fs::metadata(machine.path("/etc/hostwright/agent.env"))?.permissions().mode() & 0o777, 0o600);
    Ok(())
}
