//! What only a whole machine has: disks that are partitioned, grown, encrypted and found again, a TPM, a firewall, a
//! reboot that the user-data wants.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::busybox_root::outcomes;
use hostwright_tests::vm::{Forwards, SshKey, Vm};

const BOOT: Duration = Duration::from_secs(600);

fn user_data(key: &str) -> String {
    format!(
        r#"#cloud-config
users:
- {{name: basegun, sudo: 'ALL=(ALL) NOPASSWD:ALL', shell: /bin/bash, ssh_authorized_keys: ['{key}']}}
bootcmd:
- mkdir -p /etc/keys; test -e /etc/keys/data || head -c 64 /dev/urandom | tee /etc/keys/data > /etc/keys/recovery
growpart: {{mode: auto, devices: [/]}}
disk_setup: {{/dev/vdc: {{table_type: gpt, layout: [50, 50]}}}}
fs_setup:
- {{device: /dev/vdc, partition: 1, filesystem: ext4, label: first}}
- {{device: /dev/vdc, partition: 2, filesystem: swap}}
mounts:
- [LABEL=first, /srv/first]
- [/dev/vdc2, none, swap, sw]
swap: {{filename: /swap.img, size: 64M}}
runcmd:
- date > /srv/first/when; date > /srv/data/when; date > /srv/sealed/when; date > /srv/mended/when; date > /srv/fetched/when
- findmnt -n -o SOURCE,TARGET /srv/first > /var/mounted
power_state: {{mode: reboot, delay: now, message: once more}}
hostwright:
  boot:
    marker: all-is-well
    volumes:
      data: {{device: /dev/vdd, key: /etc/keys/data, mount: /srv/data, owner: '7:8'}}
      taken: {{device: /dev/vdc, key: /etc/keys/data}}
      sealed: {{device: /dev/vde, key: tpm2, mount: /srv/sealed}}
      mended: {{device: /dev/vdf, key: tpm2, recovery: /etc/keys/recovery, mount: /srv/mended}}
      fetched: {{device: /dev/vdg, key: 's3://keys/data', mount: /srv/fetched}}
      free: {{device: /dev/vdc, key: tpm2}}
    hardening: {{ssh: true, firewall: {{allow: [22]}}}}
  buckets: {{keys: 'file:///etc/keys'}}
"#
    )
}

#[test]
fn disks_are_set_up_once_found_again_after_the_reboot_that_was_wanted_and_never_written_over() -> Result<()> {
    let key = SshKey::make()?;
    let user_data = user_data(key.public());
    let sizes = "--disk 5G --volume 256M --volume 64M --volume 64M --volume 64M --volume 64M --tpm";
    let sizes: Vec<_> = sizes.split(' ').collect();
    let vm = Vm::up_with(&user_data, key, Forwards::reserve(&[9100])?, &sizes)?;
    // The second one follows by itself.
    vm.wait_reported(2, BOOT)?;
    let console = vm.console();
    ensure!(console.contains("as the user-data wants it: shutdown -r now"), "{console}");
    ensure!(!console.contains("all-is-well"), "the marker is for a boot in which nothing has failed");

    let report: serde_json::Value = serde_json::from_str(&vm.ssh("cat /run/hostwright/boot.json")?)?;
    let steps = outcomes(&report);
    let failed: Vec<_> = steps.iter().filter(|step| !["done", "skipped"].contains(&step.1.as_str())).collect();
    let names: Vec<_> = failed.iter().map(|step| step.0.as_str()).collect();
    ensure!(names == ["volume taken", "volume free"], "{report:#}");
    let boot_of = |name: &str| steps.iter().find(|step| step.0 == name).map(|step| step.2).context("a step");
    ensure!(boot_of("volume data")? == 2 && boot_of("disks")? == 1 && boot_of("runcmd 1")? == 1, "{report:#}");
    let told = report.to_string();
    ensure!(told.matches("/dev/vdc holds something already").count() == 2, "{told}");

    let ssh = |command: &str| vm.ssh(command).map(|text| text.trim().to_owned());
    ensure!(ssh("findmnt -n -o SOURCE /srv/data")? == "/dev/mapper/data");
    ensure!(ssh("stat -c %u:%g /srv/data")? == "7:8" && ssh("test -s /srv/data/when && echo yes")? == "yes");
    let fetched = ssh("findmnt -n -o SOURCE /srv/fetched; test -s /srv/fetched/when && echo yes")?;
    ensure!(fetched == "/dev/mapper/fetched\nyes", "the key of a bucket opens it at each boot: {fetched}");
    ensure!(ssh("blkid -p -s TYPE -o value /dev/vdd")? == "crypto_LUKS");
    ensure!(
        ssh("findmnt -n -o SOURCE /srv/first")? == "/dev/vdc1" && ssh("test -s /srv/first/when && echo yes")? == "yes"
    );
    ensure!(ssh("cat /var/mounted")?.starts_with("/dev/vdc1"), "it was mounted before the commands");
    let swaps = ssh("cat /proc/swaps")?;
    ensure!(swaps.contains("/dev/vdc2") && swaps.contains("/swap.img"), "{swaps}");
    let root: u64 = ssh("df --output=size -k / | tail -1")?.parse()?;
    ensure!(root > 4_500_000, "the root file system has {root} kB of a disk of 5 GiB");
    let rules = ssh("nft list ruleset")?;
    ensure!(rules.contains("policy drop") && rules.contains("tcp dport 22"), "{rules}");
    ensure!(ssh("sshd -T")?.contains("passwordauthentication no"));
    ensure!(ssh("findmnt -n -o SOURCE /srv/sealed; test -s /srv/sealed/when")? == "/dev/mapper/sealed");
    let dump = ssh("cryptsetup luksDump /dev/vde")?;
    ensure!(
        dump.contains("systemd-tpm2") && dump.matches(": luks2").count() == 1,
        "the TPM's key is the only one: {dump}"
    );
    let dump = ssh("cryptsetup luksDump /dev/vdf")?;
    ensure!(
        dump.contains("systemd-tpm2") && dump.matches(": luks2").count() == 2,
        "the TPM's and the recovery key: {dump}"
    );
    ensure!(ssh("hostwright-bootstrap status; echo $?")?.ends_with("status: error\n1"));
    let table = ssh("hostwright-bootstrap analyze --svg /tmp/boot.svg && head -c 5 /tmp/boot.svg")?;
    ensure!(table.contains("volume data") && table.ends_with("<svg"), "{table}");
    a_volume_that_another_tpm_sealed_stays_closed_unless_there_is_a_recovery_key(&vm)
}

fn a_volume_that_another_tpm_sealed_stays_closed_unless_there_is_a_recovery_key(vm: &Vm) -> Result<()> {
    let sum = vm.ssh("sync; umount /srv/sealed; sha256sum /dev/vde")?;
    vm.forget_tpm()?;
    vm.power_cut()?;
    vm.wait_reported(3, BOOT)?;
    let told = vm.ssh("cat /run/hostwright/boot.json")?;
    ensure!(told.contains("only the TPM that sealed its key opens it"), "{told}");
    ensure!(vm.ssh("sha256sum /dev/vde")? == sum, "nothing is written to it");
    ensure!(vm.ssh("findmnt -n -o SOURCE /srv/mended; test -s /srv/mended/when")?.trim() == "/dev/mapper/mended");
    // The new TPM has it from now on.
    let attach = "/usr/lib/systemd/systemd-cryptsetup attach again /dev/vdf none tpm2-device=auto,headless=true";
    vm.ssh(&format!("umount /srv/mended && cryptsetup close mended && {attach} && test -e /dev/mapper/again"))?;
    Ok(())
}
