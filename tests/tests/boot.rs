//! `hostwright-bootstrap boot`: killed at any moment and resumed, and for real under systemd.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hostwright_tests::busybox_root::{BusyboxRoot, outcomes};
use hostwright_tests::nspawn::Machine;
use hostwright_tests::wait::eventually;

const BOOT: Duration = Duration::from_secs(120);

/// Steps of every kind that a tree without Debian in it can take.
const RESUMABLE: &str = r#"#cloud-config
hostname: web
users: []
manage_etc_hosts: true
write_files:
- {path: /etc/app/a.conf, content: "a=1\n", permissions: '0600'}
- {path: /etc/app/b.conf, content: "b=1\n", owner: '7:8'}
- {path: /etc/fstab, content: "tmpfs /x tmpfs\n", append: true}
- {path: /opt/late, content: late, defer: true}
bootcmd:
- echo "$INSTANCE_ID" > /boots
runcmd:
- cd /opt; WHO=world
- echo one > one
- [sh, -c, 'sleep 0.05; echo two > two']
- echo "hello $WHO" > three
- "echo 4 > four.new && mv four.new four"
hostwright:
  metrics: {listen: '127.0.0.1:9100'}
"#;

/// Whether the last thing that was begun, or cut off, is a command.
fn was_cut_off_in_a_command(tree: &BusyboxRoot) -> bool {
    let text = tree.kept("i-1", "journal");
    let last = text.lines().rfind(|line| line.ends_with('}') && line.contains("\"step\":")).unwrap_or_default();
    last.contains("\"step\":\"runcmd") && last.contains("\"state\":\"running\"")
}

#[test]
fn a_boot_that_is_cut_off_at_any_moment_ends_as_one_that_was_not() -> Result<()> {
    let whole = BusyboxRoot::new(RESUMABLE)?;
    let started = Instant::now();
    assert!(whole.boot(1, None)?.success(), "{:#}", whole.report("i-1")?);
    let took = started.elapsed();
    let expected = whole.snapshot()?;
    assert_eq!(expected["opt/three"], "100644 0:0 hello world\n", "what runcmd does");
    assert_eq!(expected["etc/app/b.conf"], "100644 7:8 b=1\n");

    let mut cuts = 0;
    for round in 0..12_u32 {
        let cut = BusyboxRoot::new(RESUMABLE)?;
        // Each round is cut off some times, at moments spread over the whole run, then left alone.
        for boot in 1..=4 {
            let at = took * (round * 4 + boot) / 48;
            cuts += u32::from(!cut.boot(boot, Some(at))?.success());
            if was_cut_off_in_a_command(&cut) {
                // A second cut in it would be the end of it, as of a command that reboots.
                break;
            }
        }
        assert!(cut.boot(5, None)?.success(), "round {round}: {:#}", cut.report("i-1")?);
        assert_eq!(cut.snapshot()?, expected, "round {round}");
    }
    assert!(cuts >= 12, "only {cuts} boots were cut off in time");
    Ok(())
}

#[test]
fn a_reboot_does_only_what_is_for_each_boot_and_another_instance_begins_anew() -> Result<()> {
    let tree = BusyboxRoot::new(RESUMABLE)?;
    tree.boot(1, None)?;
    fs::remove_file(tree.root().join("opt/one"))?;
    fs::write(tree.root().join("boots"), "")?;
    assert!(tree.boot(2, None)?.success());
    let again: Vec<_> =
        outcomes(&tree.report("i-1")?).into_iter().filter(|step| step.2 == 2).map(|step| step.0).collect();
    assert_eq!(again, ["user-data", "bootcmd 1", "hosts", "agent ready"]);
    assert!(!tree.root().join("opt/one").exists() && fs::read_to_string(tree.root().join("boots"))? == "i-1\n");

    tree.seed("i-2", RESUMABLE)?;
    assert!(tree.boot(3, None)?.success());
    assert_eq!(fs::read_to_string(tree.root().join("opt/one"))?, "one\n");
    Ok(())
}

#[test]
fn a_dry_run_says_what_each_step_would_do_and_changes_nothing() -> Result<()> {
    let tree = BusyboxRoot::new(RESUMABLE)?;
    let look = |boot: u32| -> Result<String> {
        let before = hostwright_tests::busybox_root::snapshot_of(&tree.root())?;
        let words = tree.words(boot)?;
        let told = run(Command::new(&words[0]).args(&words[1..]).arg("--dry-run"))?;
        assert_eq!(hostwright_tests::busybox_root::snapshot_of(&tree.root())?, before, "nothing is touched");
        Ok(told)
    };
    let of = |told: &str, step: &str| told.lines().find(|line| line.starts_with(step)).map(str::to_owned);
    let first = look(1)?;
    ensure!(of(&first, "runcmd 1").context("a step")?.contains("[would be done"), "{first}");
    tree.boot(1, None)?;
    let second = look(2)?;
    ensure!(!of(&second, "runcmd 1").context("a step")?.contains("[would be done"), "{second}");
    ensure!(of(&second, "bootcmd 1").context("a step")?.contains("[would be done"), "{second}");
    Ok(())
}

/// As people copy it to have a script run whenever an instance of EC2 starts.
const AT_EACH_BOOT: &str = "Content-Type: multipart/mixed; boundary=\"//\"\nMIME-Version: 1.0\n\n--//\nContent-Type: text/cloud-config; charset=\"us-ascii\"\n\n#cloud-config\nusers: []\nruncmd: [echo command >> /ran]\ncloud_final_modules:\n- [scripts-user, always]\n\n--//\nContent-Type: text/x-shellscript; charset=\"us-ascii\"\nContent-Disposition: attachment; filename=\"userdata.txt\"\n\n#!/bin/sh\necho script >> /ran\n--//--\n";

#[test]
fn scripts_that_are_wanted_at_each_boot_run_at_each() -> Result<()> {
    let tree = BusyboxRoot::new(AT_EACH_BOOT)?;
    for boot in 1..=2 {
        assert!(tree.boot(boot, None)?.success(), "{:#}", tree.report("i-1")?);
        let once = "command\nscript\n";
        assert_eq!(fs::read_to_string(tree.root().join("ran"))?, once.repeat(boot as usize));
    }
    Ok(())
}

#[test]
fn a_command_that_ends_the_boot_is_given_up_after_two_tries_and_the_rest_is_done() -> Result<()> {
    let tree = BusyboxRoot::new(RESUMABLE)?;
    // Each of its boots is ended while it is at it, as by `reboot -f`.
    let seed = "#cloud-config\nusers: []\nruncmd: ['echo try >> /opt/tries; sleep 600', echo last > /opt/last]\n";
    tree.seed("i-1", seed)?;
    for boot in 1..=2 {
        let tries = || fs::read_to_string(tree.root().join("opt/tries")).unwrap_or_default();
        assert!(!tree.boot_until(boot, "the command runs", || tries() == "try\n".repeat(boot as usize))?.success());
        assert!(!tree.root().join("opt/last").exists());
    }
    for boot in 3..=4 {
        assert!(!tree.boot(boot, None)?.success(), "it is told as failed");
        assert_eq!(fs::read_to_string(tree.root().join("opt/tries"))?, "try\ntry\n");
        assert_eq!(fs::read_to_string(tree.root().join("opt/last"))?, "last\n");
    }
    Ok(())
}

/// A disk image behind a loop device, and the device's node in the tree.
struct SeedDisk {
    device: String,
}

impl SeedDisk {
    fn attach(tree: &BusyboxRoot, image: &Path) -> Result<Self> {
        let device =
            run(Command::new("losetup").args(["--find", "--show", "--read-only"]).arg(image))?.trim().to_owned();
        let disk = Self { device };
        let name = disk.device.trim_start_matches("/dev/");
        let size = fs::read_to_string(format!("/sys/class/block/{name}/size"))?;
        let block = tree.path().join("sys/class/block").join(name);
        fs::create_dir_all(&block)?;
        fs::write(block.join("size"), size)?;
        let number = Path::new(&disk.device).metadata()?.rdev();
        let (major, minor) = (nix::sys::stat::major(number).to_string(), nix::sys::stat::minor(number).to_string());
        run(Command::new("mknod").arg(tree.root().join("dev").join(name)).args(["b", &major, &minor]))?;
        Ok(disk)
    }
}

impl Drop for SeedDisk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_seed_disk_is_found_by_its_label_without_udev_and_read() -> Result<()> {
    for kind in ["iso9660", "vfat"] {
        // A module that is there is loaded; whether it is, the list tells.
        let _ = Command::new("modprobe").arg(kind).stderr(Stdio::null()).status();
        let is_known = fs::read_to_string("/proc/filesystems")?.lines().any(|line| line.trim() == kind);
        if !is_known || !Path::new("/dev/loop-control").exists() {
            eprintln!("skipped: this kernel has no {kind} or no loop devices");
            continue;
        }
        let tree = BusyboxRoot::new(RESUMABLE)?;
        let seed = tree.root().join("var/lib/cloud/seed/nocloud");
        let [metadata, user_data] = ["meta-data", "user-data"].map(|name| tree.path().join(name));
        fs::rename(seed.join("meta-data"), &metadata)?;
        fs::rename(seed.join("user-data"), &user_data)?;
        let image = tree.path().join("seed.img");
        if kind == "iso9660" {
            let mut command = Command::new("genisoimage");
            command.args(["-quiet", "-volid", "cidata", "-joliet", "-rock", "-output"]).arg(&image);
            run(command.args([&metadata, &user_data]))?;
        } else {
            fs::File::create(&image)?.set_len(4 << 20)?;
            run(Command::new("/usr/sbin/mkfs.vfat").args(["-n", "CIDATA"]).arg(&image))?;
            run(Command::new("mcopy").arg("-i").arg(&image).args([&metadata, &user_data]).arg("::"))?;
        }
        let disk = SeedDisk::attach(&tree, &image)?;
        assert!(tree.boot(1, None)?.success(), "{kind}");
        assert_eq!(tree.report("i-1")?["datasource"], format!("nocloud ({})", disk.device), "{kind}");
        assert!(!tree.root().join("run/hostwright/seed").exists(), "{kind}: it is unmounted");
    }
    Ok(())
}

const SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKr2g5gYx8mQ9T6Zb0s3y1r7l6Y0l9o3Q2k5n8v1w4xZ alice@example";

fn user_data() -> String {
    format!(
        r#"#cloud-config
hostname: web
fqdn: web.example.org
manage_etc_hosts: true
groups:
- app: [alice]
users:
- name: alice
  gecos: Alice A.
  groups: [adm, sudo]
  shell: /bin/bash
  sudo: ALL=(ALL) NOPASSWD:ALL
  ssh_authorized_keys:
  - {SSH_KEY}
write_files:
- path: /etc/app/app.conf
  content: "a=1\n"
  owner: alice:app
  permissions: '0640'
- path: /etc/apt/sources.list.d/local.list
  content: "deb [trusted=yes] file:/srv/repository ./\n"
packages: [greeting]
bootcmd:
- echo boot >> /var/boots
runcmd:
- cp /usr/share/greeting/text /var/greeting
- [sh, -c, 'echo "$INSTANCE_ID" >> /var/ran']
hostwright:
  host: {{labels: {{environment: test}}}}
  metrics: {{listen: '127.0.0.1:9100'}}
"#
    )
}

/// A repository in a folder with one small package, so that apt has something real to do without a network.
fn add_repository(machine: &Machine) -> Result<()> {
    let control = "Package: greeting\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: says hello\n";
    let build = tempfile::tempdir()?;
    let content = build.path().join("greeting");
    fs::create_dir_all(content.join("DEBIAN"))?;
    fs::create_dir_all(content.join("usr/share/greeting"))?;
    fs::write(content.join("DEBIAN/control"), control)?;
    fs::write(content.join("usr/share/greeting/text"), "hello\n")?;
    let repository = machine.path("/srv/repository");
    fs::create_dir_all(&repository)?;
    let package = repository.join("greeting.deb");
    run(Command::new("dpkg-deb").args(["--build", "--root-owner-group"]).arg(&content).arg(&package))?;
    let sum = run(Command::new("sha256sum").arg(&package))?;
    let digest = sum.split_whitespace().next().context("no digest")?;
    let size = package.metadata()?.len();
    Ok(fs::write(
        repository.join("Packages"),
        format!("{control}Filename: ./greeting.deb\nSize: {size}\nSHA256: {digest}\n"),
    )?)
}

#[test]
fn under_systemd_a_user_data_becomes_a_host_with_a_ready_agent() -> Result<()> {
    let mut machine = Machine::new()?;
    add_repository(&machine)?;
    machine.seed("i-web", &user_data())?;
    let mut boot = machine.boot()?;
    boot.wait_for("instance i-web is", BOOT)?;
    let console = boot.console();
    let report = machine.report("i-web")?;
    assert_eq!(report["result"], "ok", "{report:#}\n{console}");
    assert!(console.contains("instance i-web is configured: "), "{console}");
    boot.power_off()?;

    assert_eq!(machine.read("/etc/hostname")?, "web\n");
    assert!(machine.read("/etc/hosts")?.contains("127.0.1.1 web.example.org web\n"));
    assert_eq!(machine.read("/var/greeting")?, "hello\n");
    assert_eq!(machine.read("/home/alice/.ssh/authorized_keys")?, format!("{SSH_KEY}\n"));
    let ids = machine.path("/home/alice").metadata()?;
    assert_eq!((ids.mode() & 0o777, ids.uid() >= 1000), (0o755, true));
    let file = machine.path("/etc/app/app.conf").metadata()?;
    assert_eq!((file.permissions().mode() & 0o777, file.uid()), (0o640, ids.uid()));
    assert!(machine.read("/etc/group")?.lines().any(|line| line.starts_with("app:") && line.ends_with(":alice")));
    assert!(machine.path("/etc/ssh/ssh_host_ed25519_key").metadata()?.len() > 0);
    assert!(machine.read("/etc/hostwright/agent.yaml")?.contains("environment: test"));
    let secret = machine.path("/var/lib/hostwright/bootstrap/i-web/user-data").metadata()?;
    assert_eq!((secret.mode() & 0o777, secret.uid()), (0o600, 0));
    second_boot(&mut machine)
}

fn second_boot(machine: &mut Machine) -> Result<()> {
    let mut boot = machine.boot()?;
    boot.wait_for("instance i-web is configured: ", BOOT)?;
    let report = machine.report("i-web")?;
    boot.power_off()?;
    let again: Vec<_> = outcomes(&report).into_iter().filter(|step| step.2 == 2).map(|step| step.0).collect();
    assert_eq!(again, ["user-data", "bootcmd 1", "hosts", "agent ready"], "{report:#}");
    assert_eq!(machine.read("/var/boots")?, "boot\nboot\n");
    assert_eq!(machine.read("/var/ran")?, "i-web\n");
    Ok(())
}

#[test]
fn under_systemd_a_power_cut_inside_a_command_is_made_good_by_the_next_boot() -> Result<()> {
    let mut machine = Machine::new()?;
    let commands = "[echo first >> /var/first, 'test -e /var/cut || { touch /var/cut; echo CUT-NOW > /dev/console; sleep 600; }', echo last >> /var/last]";
    machine.seed("i-cut", &format!("#cloud-config\nruncmd: {commands}\n"))?;
    let mut boot = machine.boot()?;
    boot.wait_for("CUT-NOW", BOOT)?;
    boot.power_cut()?;
    assert!(!machine.path("/var/last").exists());
    let mut boot = machine.boot()?;
    boot.wait_for("instance i-cut is configured: ", BOOT)?;
    boot.power_off()?;
    assert_eq!(machine.read("/var/first")?, "first\n", "a command that had ended is not run again");
    assert_eq!(machine.read("/var/last")?, "last\n");
    Ok(())
}

#[test]
fn under_systemd_a_failed_command_is_told_and_what_others_left_running_goes_on() -> Result<()> {
    let mut machine = Machine::new()?;
    let commands = "['(while sleep 0.2; do date +%s%N > /var/alive; done) &', '(echo no such thing; exit 3)', echo last > /var/last]";
    machine.seed("i-bad", &format!("#cloud-config\nhostnme: web\nruncmd: {commands}\n"))?;
    let mut boot = machine.boot()?;
    boot.wait_for("instance i-bad is NOT configured as wanted: ", BOOT)?;
    boot.wait_for("Failed to start", BOOT)?;
    let console = boot.console();
    for told in ["2:1: hostnme: unknown key; did you mean \"hostname\"?", "ended with status 3: no such thing"] {
        assert!(console.contains(told), "{told:?} in\n{console}");
    }
    assert_eq!(machine.report("i-bad")?["result"], "failed");
    assert_eq!(machine.read("/var/last")?, "last\n");
    let before = eventually("the background command runs", BOOT, || machine.read("/var/alive"))?;
    eventually("the background command goes on", BOOT, || machine.read("/var/alive").is_ok_and(|now| now != before))
}

/// A worker's user-data as Terraform makes it, with a team and a package that is verified and run.
fn worker(team_state: &str, digest: &str) -> String {
    let launcher = "IyEvYmluL3NoCmVjaG8gIiQxICQyICRTRVJWRVIiID4vdmFyL2xhdW5jaGVkCg==";
    format!(
        "Content-Type: multipart/mixed; boundary=\"MIMEBOUNDARY\"\nMIME-Version: 1.0\n\n--MIMEBOUNDARY\nContent-Disposition: attachment; filename=\"init.cfg\"\nContent-Transfer-Encoding: 7bit\nContent-Type: text/cloud-config\nMime-Version: 1.0\n\n#cloud-config\nwrite_files:\n- encoding: b64\n  content: {launcher}\n  path: /root/launch.sh\n  permissions: '0700'\nruncmd:\n- export SERVER=10.0.0.1\n- [/root/launch.sh, processing, '1.2']\n\n--MIMEBOUNDARY\nContent-Type: text/cloud-config\n\n#cloud-config\nhostwright:\n  buckets: {{internal: file:///srv/internal}}\n  boot:\n    marker: init_instance_finished_with_success\n    report: {{bucket: internal, key: 'boot/{{instance_id}}.json'}}\n    team:\n    - {{name: Andrew, user: andrew, state: {team_state}, public_key: '{SSH_KEY}'}}\n    bundles:\n      worker: {{from: 's3://internal/worker_1.2.tgz', sha256: {digest}, to: /opt/worker, run: [./install.sh, processing]}}\n--MIMEBOUNDARY--\n"
    )
}

#[test]
fn under_systemd_a_worker_boots_from_its_message_with_its_team_and_its_package() -> Result<()> {
    let mut machine = Machine::new()?;
    fs::create_dir_all(machine.path("/srv/internal"))?;
    let package = tempfile::tempdir()?;
    fs::write(
        package.path().join("install.sh"),
        "#!/bin/sh\necho \"$1 on $INSTANCE_ID\" >/var/installed\necho done\n",
    )?;
    fs::set_permissions(package.path().join("install.sh"), fs::Permissions::from_mode(0o755))?;
    let archive = machine.path("/srv/internal/worker_1.2.tgz");
    run(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(package.path()).arg("."))?;
    let sum = run(Command::new("sha256sum").arg(&archive))?;
    let digest = sum.split_whitespace().next().context("no digest")?.to_owned();

    machine.seed("i-worker", &worker("present", &digest))?;
    let mut boot = machine.boot()?;
    boot.wait_for("init_instance_finished_with_success", BOOT)?;
    let status = machine.read("/run/hostwright/boot-status.json").unwrap_or_default();
    boot.power_off()?;
    let report = machine.report("i-worker")?;
    assert_eq!(report["result"], "ok", "{report:#} {status}");
    assert_eq!(machine.read("/var/launched")?, "processing 1.2 10.0.0.1\n");
    assert_eq!(machine.read("/var/installed")?, "processing on i-worker\n");
    let output = machine.read("/var/lib/hostwright/bootstrap/i-worker/output/bundle-worker.log")?;
    assert_eq!(output, "done\n");
    assert!(machine.read("/home/andrew/.ssh/authorized_keys")?.contains(SSH_KEY));
    assert!(machine.read("/srv/internal/boot/i-worker.json")?.contains("\"result\": \"ok\""));
    assert!(machine.read("/etc/passwd")?.contains("debian:"), "the distribution's own user is there");

    machine.seed("i-worker", &worker("absent", &digest))?;
    fs::remove_file(machine.path("/var/launched"))?;
    let mut boot = machine.boot()?;
    boot.wait_for("init_instance_finished_with_success", BOOT)?;
    boot.power_off()?;
    assert!(!machine.read("/home/andrew/.ssh/authorized_keys")?.contains(SSH_KEY));
    let shadow = machine.read("/etc/shadow")?;
    assert!(shadow.lines().any(|line| line.starts_with("andrew:!") && line.ends_with(":1:")), "{shadow}");
    assert!(!machine.path("/var/launched").exists(), "commands are run once");
    Ok(())
}
