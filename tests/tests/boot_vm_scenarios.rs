//! The scenarios' user-data in a full VM, which is one instance after the other, each as its cloud hands it over: HR-S&I's
//! by NoCloud's disk, Callysto's by a config drive, Prism's and CalData's by the metadata services of EC2 and OpenStack at
//! 169.254.169.254. Basegun's has a test of its own.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use hostwright_tests::metadata_service::{ADDRESS, MetadataService, documents, ec2, in_a_network, openstack};
use hostwright_tests::scenario::{hrsi_worker, render};
use hostwright_tests::vm::{Forwards, SshKey, Vm};

const BOOT: Duration = Duration::from_secs(600);
const TEAM_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKr2g5gYx8mQ9T6Zb0s3y1r7l6Y0l9o3Q2k5n8v1w4xZ ian";
/// Of QEMU's first interface.
const MAC: &str = "52:54:00:12:34:56";

#[test]
fn a_vm_is_one_instance_after_the_other_as_each_cloud_hands_it_over() -> Result<()> {
    in_a_network(|| {
        let key = SshKey::make()?;
        let user_data = worker(&key)?;
        // The volume becomes the config drive.
        let vm = Vm::up_with(&user_data, key, Forwards::reserve(&[])?, &["--volume", "4M"])?;
        vm.wait_configured(1, BOOT)?;
        ensure!(vm.ssh("cat /var/launched")? == "processing 1.2 10.0.0.1 10.0.0.2\n");
        ensure!(vm.ssh("stat -c %a /root/worker.env")?.trim() == "600");
        a_hub_of_callysto_by_a_config_drive(&vm)?;
        a_service_of_prism_by_ec2(&vm)?;
        a_host_of_caldata_by_openstack(&vm)
    })
}

/// A worker's message as it is, and one part more for who looks, whom the next instances know nothing of.
fn worker(key: &SshKey) -> Result<String> {
    let keys = format!("ssh_authorized_keys: ['{}']", key.public());
    let operator = format!(
        "users: [{{name: basegun, shell: /bin/bash, {keys}}}]\nbootcmd:\n- echo 'basegun ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/operator\n"
    );
    let part =
        format!("--MIMEBOUNDARY\nContent-Type: text/cloud-config\n\n#cloud-config\n{operator}\n--MIMEBOUNDARY--");
    Ok(hrsi_worker()?.replace("--MIMEBOUNDARY--", &part))
}

fn next_boot(vm: &Vm, datasource: &str, number: usize) -> Result<()> {
    vm.ssh(&format!("mkdir -p /etc/cloud; echo 'datasource_list: [{datasource}, None]' >/etc/cloud/cloud.cfg; sync"))?;
    // The connection breaks before an exit code comes.
    let _ = vm.ssh("systemctl reboot");
    vm.wait_configured(number, BOOT)
}

fn a_hub_of_callysto_by_a_config_drive(vm: &Vm) -> Result<()> {
    let values = [("name", "hub"), ("ian", TEAM_KEY), ("byron", TEAM_KEY), ("byron_is", "absent")];
    let drive = config_drive(&render("callysto", "user-data.yaml", &values)?)?;
    vm.ssh(&format!("echo {drive} | base64 -d | gunzip >/dev/vdc"))?;
    next_boot(vm, "ConfigDrive", 2)?;
    ensure!(vm.ssh("hostname -f")?.trim() == "hub.callysto.example.org");
    ensure!(vm.ssh("cat /home/ian/.ssh/authorized_keys; id byron 2>&1 || true")?.contains(TEAM_KEY));
    ensure!(vm.ssh("sshd -T | grep -i passwordauthentication")?.trim() == "passwordauthentication no");
    Ok(())
}

/// As Nova makes one: an ISO image labelled config-2; packed, and in one word.
fn config_drive(user_data: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let latest = folder.path().join("openstack/latest");
    fs::create_dir_all(&latest)?;
    fs::write(latest.join("meta_data.json"), r#"{"uuid": "i-hub", "hostname": "x"}"#)?;
    fs::write(latest.join("user_data"), user_data)?;
    let made = Command::new("sh")
        .args(["-c", "genisoimage -quiet -J -R -V config-2 \"$1\" | gzip -9", "sh"])
        .arg(folder.path())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(made.status.success() && !made.stdout.is_empty(), "no image of a config drive: {}", made.status);
    Ok(BASE64_STANDARD.encode(made.stdout))
}

fn a_service_of_prism_by_ec2(vm: &Vm) -> Result<()> {
    let envoy = "# a line of an Envoy's configuration, of which there are many\n".repeat(500);
    let rest = render("prism", "rest.yaml", &[("environment", "feature-7"), ("envoy", &envoy)])?;
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), &rest)?;
    let sum = Command::new("sha256sum").arg(file.path()).output()?;
    let sum = String::from_utf8(sum.stdout)?;
    let configuration = MetadataService::serve("169.254.169.254:0", documents(&[("/rest.yaml", &rest)]))?;
    let place = format!("{}/rest.yaml", configuration.url());
    let digest = sum.split_whitespace().next().context("no digest")?;
    let values = [("team_key", TEAM_KEY), ("rest", &place), ("sha256", digest)];
    let user_data = render("prism", "user-data.yaml", &values)?;
    let service = MetadataService::serve(ADDRESS, ec2("i-0prism", &user_data, TEAM_KEY))?;
    next_boot(vm, "Ec2", 3)?;
    service.stop();
    ensure!(vm.ssh("hostname; cat /var/envoy-size")? == format!("prism-feature-7\n{}\n", envoy.len()));
    ensure!(vm.ssh("cat /home/debian/.ssh/authorized_keys")?.contains(TEAM_KEY));
    ensure!(vm.ssh("cat /etc/hostwright/agent.yaml; systemctl is-active hostwright-agent")?.ends_with("active\n"));
    Ok(())
}

fn a_host_of_caldata_by_openstack(vm: &Vm) -> Result<()> {
    let values = [
        ("owner", "dse"),
        ("environment", "test"),
        ("access_key", "a"),
        ("secret_key", "correct-horse"),
        ("bucket_endpoint", "http://127.0.0.1:1"),
    ];
    let user_data = render("caldata", "user-data.yaml", &values)?;
    let id = "83679162-1378-4288-a2d4-70e13ec132aa";
    let service = MetadataService::serve(ADDRESS, openstack(id, MAC, &user_data, TEAM_KEY))?;
    next_boot(vm, "OpenStack", 4)?;
    ensure!(service.asked().len() == 5, "each document is asked for once");
    service.stop();
    ensure!(vm.ssh("hostname; stat -c %a /etc/hostwright/agent.env")? == "dse-infra-test\n600\n");
    ensure!(vm.ssh("getent passwd dse-bot")?.trim().ends_with("nologin"));
    // As the description of the network says.
    let mtu = "cat /sys/class/net/$(basename $(dirname $(grep -il 52:54:00:12:34:56 /sys/class/net/*/address)))/mtu";
    ensure!(vm.ssh(mtu)?.trim() == "1442");
    Ok(())
}
