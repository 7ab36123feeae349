//! `hostwright-bootstrap boot` where something is in its way: killed at every step, asked to end, a disk that is full or
//! read-only, no network, a clock that was never set.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::busybox_root::{BusyboxRoot, is_of_a_step, outcomes};
use hostwright_tests::process::binary;
use hostwright_tests::wait::eventually;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKr2g5gYx8mQ9T6Zb0s3y1r7l6Y0l9o3Q2k5n8v1w4xZ";
/// Of a password, so that it is the same each time.
const HASH: &str = "$6$j212wezy$7H/1LT4f9/N3wpgNunhsIqtMj62OKiS3nyNwuizouQc3u7MbYCarYeAHWYPYb2FT.lbioDm2RrkJPb9BZMN1O/";

/// Steps of as many kinds as a Debian without systemd and network can take.
fn many_steps() -> String {
    format!(
        r#"#cloud-config
hostname: web
fqdn: web.example.org
manage_etc_hosts: true
timezone: Etc/UTC
random_seed: {{file: /var/seed, data: abc}}
groups: [{{app: [alice]}}, empty]
users:
- default
- {{name: alice, groups: [adm], sudo: 'ALL=(ALL) NOPASSWD:ALL', hashed_passwd: '{HASH}', lock_passwd: false, ssh_authorized_keys: ['{KEY} alice'], doas: [permit alice]}}
- {{name: svc, system: true, no_create_home: true}}
ssh_authorized_keys: ['{KEY} all']
ssh_pwauth: false
chpasswd: {{expire: false, users: [{{name: games, password: '{HASH}', type: hash}}]}}
ssh_keys: {{ed25519_private: "x\n", ed25519_public: 'ssh-ed25519 A'}}
mounts: [[tmpfs, /x, tmpfs], ['host:/e', /n, nfs, noauto]]
write_files:
- {{path: /etc/app/a.conf, content: "a=1\n", owner: 'alice:app', permissions: '0640'}}
- {{path: /etc/app/b.conf, content: "b=1\n"}}
- {{path: /etc/app/list, content: "one\n", append: true}}
- {{path: /etc/app/list, content: "one\n", append: true}}
- {{path: /opt/late, content: late, defer: true, owner: alice}}
keyboard: {{layout: de}}
resolv_conf: {{nameservers: [10.0.0.1]}}
locale: C.UTF-8
apt: {{conf: 'APT::Install-Recommends "0";', sources: {{mine: {{source: 'deb [trusted=yes] file:/srv ./'}}}}}}
ntp: {{ntp_client: systemd-timesyncd, servers: [a.example.org]}}
rsyslog: {{configs: ['*.* @127.0.0.1'], check_exe: sh, service_reload_command: ['true']}}
bootcmd: [echo "$INSTANCE_ID" > /var/boots]
runcmd:
- cd /opt; WHO=world
- echo one > one
- echo "hello $WHO" > three
hostwright:
  boot:
    team: [{{name: Bea, user: bea, state: present, sudo: true, public_key: '{KEY} bea'}}]
    files: [{{path: /opt/copied, from: /etc/debian_version}}]
  metrics: {{listen: '127.0.0.1:9100'}}
"#
    )
}

/// What a boot leaves that is another each time, or of this host's programs' own.
const OTHER_EACH_TIME: [&str; 9] =
    ["var/lib/hostwright", "var/log", "var/cache", "var/lib/apt", "run/", "dev/", "etc/.pwd.lock", "tmp/", "proc/"];

/// A whole Debian below which everything that is written goes into a folder of its own; gone with this value.
struct Debian {
    folder: TempDir,
    root: PathBuf,
}

impl Debian {
    fn new(user_data: &str) -> Result<Self> {
        let lower = hostwright_tests::nspawn::root_folder()?;
        let folder = tempfile::tempdir_in("/var/tmp")?;
        let path = |name: &str| folder.path().join(name);
        for name in ["upper", "work", "root", "proc/sys/kernel/random", "sys/class/block"] {
            fs::create_dir_all(path(name))?;
        }
        fs::write(path("proc/cmdline"), "quiet\n")?;
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            path("upper").display(),
            path("work").display()
        );
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &options]).arg(path("root"));
        ensure!(mount.status()?.success(), "no overlay can be mounted");
        let debian = Self { root: path("root"), folder };
        debian.prepare(user_data)?;
        Ok(debian)
    }

    fn prepare(&self, user_data: &str) -> Result<()> {
        let write = |path: &str, text: &str| -> Result<()> {
            let path = self.root.join(path);
            fs::create_dir_all(path.parent().context("a folder")?)?;
            Ok(fs::write(path, text)?)
        };
        write("var/lib/cloud/seed/nocloud/meta-data", "instance-id: i-1\n")?;
        write("var/lib/cloud/seed/nocloud/user-data", user_data)?;
        write("srv/Packages", "")?;
        write("etc/apt/sources.list", "")?;
        // No machine's own devices: those that programs ask for.
        for (name, minor) in [("null", "3"), ("zero", "5"), ("urandom", "9"), ("random", "8")] {
            let device = self.root.join("dev").join(name);
            if !device.exists() {
                ensure!(Command::new("mknod").arg(device).args(["c", "1", minor]).status()?.success(), "mknod {name}");
            }
        }
        Ok(())
    }

    fn start(&self, boot: u32) -> Result<Child> {
        let proc = self.folder.path().join("proc");
        fs::write(proc.join("sys/kernel/random/boot_id"), format!("boot-{boot}\n"))?;
        let mut command = Command::new("unshare");
        command.args(["--pid", "--net", "--uts", "--fork", "--kill-child=KILL", "--"]);
        command.arg(binary("hostwright-bootstrap")?).arg("boot").arg("--root").arg(&self.root);
        command.arg("--proc").arg(&proc).arg("--sys").arg(self.folder.path().join("sys"));
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(command.spawn()?)
    }

    /// Kills the boot when so many steps have said how they ended; its console.
    fn boot(&self, number: u32, until: Option<usize>) -> Result<String> {
        let mut child = self.start(number)?;
        let console = killed_at(&mut child, until)?;
        child.wait()?;
        Ok(console)
    }

    fn snapshot(&self) -> Result<BTreeMap<String, String>> {
        let upper = self.folder.path().join("upper");
        let mut found = hostwright_tests::busybox_root::snapshot_of(&upper)?;
        found.retain(|path, _| !OTHER_EACH_TIME.iter().any(|start| path.starts_with(start)) && !path.ends_with('-'));
        Ok(found)
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.root).status();
    }
}

fn killed_at(child: &mut Child, until: Option<usize>) -> Result<String> {
    use std::io::{BufRead, BufReader};
    let lines = BufReader::new(child.stdout.take().context("piped above")?).lines();
    let (mut console, mut told) = (String::new(), 0);
    for line in lines {
        let line = line?;
        told += usize::from(is_of_a_step(&line));
        console.push_str(&format!("{line}\n"));
        if Some(told) == until {
            child.kill()?;
        }
    }
    Ok(console)
}

#[test]
fn a_boot_that_is_killed_at_any_step_and_resumed_leaves_what_one_leaves_that_was_not() -> Result<()> {
    let user_data = many_steps();
    let whole = Debian::new(&user_data)?;
    let console = whole.boot(1, None)?;
    let expected = whole.snapshot()?;
    let steps = console.lines().filter(|line| is_of_a_step(line)).count();
    ensure!(steps >= 30 && !console.contains(" failed "), "{steps} steps:\n{console}");
    assert_eq!(expected["etc/app/list"], "100644 0:0 one\none\n");
    assert_eq!(expected["opt/three"], "100644 0:0 hello world\n");
    for step in 1..=steps {
        let cut = Debian::new(&user_data)?;
        let before = cut.boot(1, Some(step))?;
        let after = cut.boot(2, None)?;
        let told =
            |text: &str| text.lines().skip(text.lines().count().saturating_sub(3)).collect::<Vec<_>>().join("\n");
        ensure!(!after.contains(" failed "), "cut at step {step}:\n{}\n--\n{after}", told(&before));
        let found = cut.snapshot()?;
        for (path, wanted) in &expected {
            ensure!(
                found.get(path) == Some(wanted),
                "cut at step {step}, {path}: {:?}, not {wanted:?}",
                found.get(path)
            );
        }
        let more: Vec<_> = found.keys().filter(|path| !expected.contains_key(*path)).collect();
        ensure!(more.is_empty(), "cut at step {step} there is also {more:?}");
    }
    Ok(())
}

const WAITING: &str = "#cloud-config\nusers: []\nwrite_files: [{path: /opt/a, content: a}]\nruncmd: ['mkfifo /opt/wait 2>/dev/null; touch /opt/waits; test -e /opt/go || read x < /opt/wait', echo last > /opt/last]\n";

#[test]
fn a_boot_that_is_asked_to_end_says_so_and_the_next_start_goes_on() -> Result<()> {
    let tree = BusyboxRoot::new(WAITING)?;
    let words = tree.words(1)?;
    let mut child = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    eventually("the command waits", LIMIT, || tree.root().join("opt/waits").exists())?;
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
    assert_eq!(child.wait()?.code(), Some(1));
    let report = tree.report("i-1")?;
    assert!(report["warnings"].to_string().contains("asked to end"), "{report:#}");
    let running = outcomes(&report).into_iter().find(|step| step.0 == "runcmd 1").context("it is there")?;
    assert_eq!(running.1, "running", "{report:#}");
    // What was cut off may still run where nobody ends its group, as systemd does; here nobody listens to it.
    fs::write(tree.root().join("opt/go"), "")?;
    let (status, console) = tree.boot_console(1)?;
    assert!(status.success(), "the same boot: {console}");
    assert_eq!(fs::read_to_string(tree.root().join("opt/last"))?, "last\n");
    assert!(!console.contains("files "), "what was done is not done again: {console}");
    Ok(())
}

/// Runs `boot` after a script has changed what lies below `$1`, in a mount namespace of its own.
fn boot_in(tree: &BusyboxRoot, number: u32, script: &str) -> Result<(bool, String)> {
    let words = tree.words(number)?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--propagation", "private", "sh", "-ec"]);
    command.arg(format!("root=$1; shift; {script}; exec \"$@\"")).arg("sh").arg(tree.root()).args(&words);
    let output = command.stdin(Stdio::null()).output()?;
    let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Ok((output.status.success(), told))
}

const PLAIN: &str = "#cloud-config\nhostname: web\nusers: []\nwrite_files: [{path: /etc/app/a, content: a}]\nruncmd: [echo x > /opt/x]\n";

#[test]
fn on_a_root_that_is_read_only_nothing_is_done_which_is_told_and_made_good_later() -> Result<()> {
    let tree = BusyboxRoot::new(PLAIN)?;
    let read_only =
        r#"mount --bind "$root" "$root"; mount -t tmpfs tmpfs "$root/run"; mount -o remount,bind,ro "$root""#;
    let (is_well, told) = boot_in(&tree, 1, read_only)?;
    assert!(!is_well && told.contains("Read-only file system"), "{told}");
    assert!(told.contains("is the disk writable?"), "{told}");
    assert!(!tree.root().join("etc/app").exists());
    let (is_well, told) = boot_in(&tree, 2, "true")?;
    assert!(is_well && tree.root().join("opt/x").exists(), "{told}");
    Ok(())
}

#[test]
fn a_disk_that_is_full_loses_nothing_that_was_done_and_what_failed_is_done_when_there_is_space() -> Result<()> {
    let tree = BusyboxRoot::new(PLAIN)?;
    let disk = tree.path().join("disk");
    fs::create_dir(&disk)?;
    let on_small_disk = |and: &str| {
        let state = "\"$root/var/lib/hostwright\"";
        format!(r#"mkdir -p {state}; mount --bind "{}" {state}; {and}"#, disk.display())
    };
    // A tmpfs that is kept between the boots by a folder of this test's.
    ensure!(
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&disk).status()?.success(),
        "no tmpfs can be mounted"
    );
    let result = full_disk(&tree, &disk, &on_small_disk("true"));
    let _ = Command::new("umount").arg("--lazy").arg(&disk).status();
    result
}

fn full_disk(tree: &BusyboxRoot, disk: &Path, script: &str) -> Result<()> {
    let filler = disk.join("filler");
    let mut block = vec![0_u8; 4096];
    while fs::File::options()
        .create(true)
        .append(true)
        .open(&filler)
        .and_then(|mut file| {
            use std::io::Write as _;
            file.write_all(&block)
        })
        .is_ok()
    {
        block.fill(1);
    }
    let (is_well, told) = boot_in(tree, 1, script)?;
    assert!(!is_well && told.contains("No space left on device"), "{told}");
    assert!(!tree.root().join("opt/x").exists(), "nothing is done that cannot be recorded");
    fs::remove_file(filler)?;
    let (is_well, told) = boot_in(tree, 2, script)?;
    assert!(is_well && tree.root().join("opt/x").exists(), "{told}");
    Ok(())
}

#[test]
fn without_a_network_what_needs_it_fails_with_a_reason_and_everything_else_is_done() -> Result<()> {
    let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let tree = BusyboxRoot::new(&format!(
        "{PLAIN}phone_home: {{url: 'http://192.0.2.1/', tries: 1}}\nhostwright: {{boot: {{report: {{url: 'https://192.0.2.1/'}}, files: [{{path: /opt/f, from: 'https://192.0.2.1/f', sha256: {digest}}}]}}}}\n"
    ))?;
    let (is_well, told) = boot_in(&tree, 1, "true")?;
    assert!(!is_well && tree.root().join("opt/x").exists() && tree.root().join("etc/app/a").exists(), "{told}");
    let failed = outcomes(&tree.report("i-1")?).into_iter().filter(|step| step.1 == "failed").map(|step| step.0);
    assert_eq!(failed.collect::<Vec<_>>(), ["bundle files", "phone home"], "{told}");
    assert!(told.contains("the boot's report is not delivered: https://192.0.2.1/"), "{told}");
    assert!(told.contains("Network is unreachable"), "{told}");
    Ok(())
}

#[test]
fn a_clock_that_was_never_set_confuses_neither_the_order_nor_what_is_once() -> Result<()> {
    let tree = BusyboxRoot::new(PLAIN)?;
    let words = tree.words(1)?;
    let output = Command::new("faketime").arg("1970-01-01 00:00:05").args(&words).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let report = tree.report("i-1")?;
    assert!(report["written"].as_str().is_some_and(|at| at.starts_with("1970-01-01T00:00")), "{report:#}");
    fs::remove_file(tree.root().join("opt/x"))?;
    let (status, console) = tree.boot_console(2)?;
    assert!(status.success() && !tree.root().join("opt/x").exists(), "{console}");
    let report = tree.root().join("var/lib/hostwright/bootstrap/i-1/report.json");
    let analyze = Command::new(binary("hostwright-bootstrap")?).arg("analyze").arg("--report").arg(report).output()?;
    assert!(analyze.status.success() && String::from_utf8_lossy(&analyze.stdout).contains("user-data"));
    Ok(())
}
