//! The scenarios' user-data in a full VM, which is one instance after the other: HR-S&I's by NoCloud's disk, Callysto's
//! by a config drive.

use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::scenario::{hrsi_worker, render};
use hostwright_tests::vm::{Forwards, SshKey, Vm};

const BOOT: Duration = Duration::from_secs(600);
const TEAM_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKr2g5gYx8mQ9T6Zb0s3y1r7l6Y0l9o3Q2k5n8v1w4xZ ian";

/// Who logs in to look.
fn operator(key: &SshKey) -> String {
    format!(
        "- name: basegun\n  sudo: ALL=(ALL) NOPASSWD:ALL\n  shell: /bin/bash\n  ssh_authorized_keys: ['{}']\n",
        key.public().trim()
    )
}

fn write(vm: &Vm, path: &str, content: &str) -> Result<()> {
    vm.ssh(&format!("mkdir -p \"$(dirname {path})\"; cat >{path} <<'END-OF-FILE'\n{content}\nEND-OF-FILE")).map(drop)
}

fn next_boot(vm: &Vm, datasource: &str, number: usize) -> Result<()> {
    write(vm, "/etc/cloud/cloud.cfg", &format!("datasource_list: [{datasource}, None]"))?;
    // The connection breaks before an exit code comes.
    let _ = vm.ssh("sync; systemctl reboot");
    vm.wait_configured(number, BOOT)
}

#[test]
fn a_vm_is_one_instance_after_the_other_by_disk_and_by_config_drive() -> Result<()> {
    let key = SshKey::make()?;
    let operator = operator(&key);
    let vm = Vm::up(&worker(&operator)?, key, Forwards::reserve(&[])?)?;
    vm.wait_configured(1, BOOT)?;
    ensure!(vm.ssh("cat /var/launched")? == "processing 1.2 10.0.0.1 10.0.0.2\n");
    ensure!(vm.ssh("stat -c %a /root/worker.env")?.trim() == "600");

    let values = [("name", "hub"), ("ian", TEAM_KEY), ("byron", TEAM_KEY), ("byron_is", "absent")];
    let hub = format!("{}users:\n{operator}", render("callysto", "user-data.yaml", &values)?);
    let folder = "/var/lib/cloud/seed/config_drive/openstack/latest";
    write(&vm, &format!("{folder}/meta_data.json"), r#"{"uuid": "i-hub", "hostname": "x"}"#)?;
    write(&vm, &format!("{folder}/user_data"), &hub)?;
    next_boot(&vm, "ConfigDrive", 2)?;
    ensure!(vm.ssh("hostname -f")?.trim() == "hub.callysto.example.org");
    ensure!(vm.ssh("cat /home/ian/.ssh/authorized_keys; id byron 2>&1 || true")?.contains(TEAM_KEY));
    ensure!(vm.ssh("sshd -T | grep -i passwordauthentication")?.trim() == "passwordauthentication no");
    Ok(())
}

/// A worker's message as it is, and one part more for who looks.
fn worker(operator: &str) -> Result<String> {
    let part = format!(
        "--MIMEBOUNDARY\nContent-Type: text/cloud-config\n\n#cloud-config\nusers:\n{operator}\n--MIMEBOUNDARY--"
    );
    Ok(hrsi_worker()?.replace("--MIMEBOUNDARY--", &part))
}
