//! Boot: what a common user-data costs on first and later boots under systemd, beside Debian's cloud-init on the same
//! root file system and the same user-data.

use crate::Settings;
use crate::table::{Goal, Table};
use anyhow::{Context, Result, ensure};
use hostwright_tests::debian_packages::{fetch, install};
use hostwright_tests::nspawn::Machine;
use hostwright_tests::process::binary;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BOOT: Duration = Duration::from_secs(300);
const OURS: [&str; 2] = ["hostwright-bootstrap.service", "hostwright-bootstrap-final.service"];
const PEERS: [&str; 4] =
    ["cloud-init-local.service", "cloud-init.service", "cloud-config.service", "cloud-final.service"];

/// Says what a boot has cost when everything is over.
const MEASURE: &str = r#"[Unit]
# Else the target that wants it would wait for it, and cloud-init's last stage waits for the target.
DefaultDependencies=no
After=multi-user.target hostwright-bootstrap-final.service cloud-final.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'systemctl show -P CPUUsageNSec UNITS >/measured; systemctl show -P UserspaceTimestampMonotonic >>/measured; systemctl show -P ActiveEnterTimestampMonotonic multi-user.target >>/measured; echo MEASURED >/dev/console'
[Install]
WantedBy=multi-user.target
"#;

/// Runs a command and notes the most memory that one of its processes had.
const PEAK: &str = "#!/usr/bin/python3\nimport os, resource, subprocess, sys\ncode = subprocess.call(sys.argv[1:])\nwith open('/peak', 'a') as f: f.write('%d\\n' % resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\nsys.exit(code)\n";

/// What a boot came to.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu_ms: f64,
    wall_ms: f64,
}

/// Measures all of it.
pub fn run(settings: &Settings, table: &mut Table) {
    let told = |error: &anyhow::Error| anyhow::anyhow!("{error:#}");
    let bare = Bench::new(settings, Who::Nobody).and_then(|mut bench| bench.boots());
    let ours = Bench::new(settings, Who::Ours).and_then(|mut bench| Ok((bench.boots()?, bench.peak()?)));
    let peer = Bench::new(settings, Who::Peer).and_then(|mut bench| Ok((bench.boots()?, bench.peak()?)));
    let base = bare.as_ref().map(|boots| boots.map(|boot| boot.wall_ms)).unwrap_or_default();
    let mut add = |what: (&str, &'static str), goal, figure: fn(&Measured, &[f64; 2]) -> f64| {
        let of = |measured: &Result<Measured>| measured.as_ref().map(|measured| figure(measured, &base)).map_err(told);
        table.add(what, goal, of(&ours), Some(of(&peer)));
    };
    add(("first boot: CPU", "ms"), Goal::ShareOfPeer(25), |(boots, _), _| boots[0].cpu_ms);
    add(("later boot: CPU", "ms"), Goal::ShareOfPeer(70), |(boots, _), _| boots[1].cpu_ms);
    add(("boot: peak memory", "MB"), Goal::ShareOfPeer(3), |(_, peak), _| *peak);
    add(("first boot: wall time added", "ms"), Goal::AtMost(100.0), |(boots, _), base| boots[0].wall_ms - base[0]);
    add(("later boot: wall time added", "ms"), Goal::AtMost(100.0), |(boots, _), base| boots[1].wall_ms - base[1]);
    table.add(("boot: status", "ms"), Goal::AtMost(10.0), status(), None);
}

/// A first and a later boot, and the most memory of a process.
type Measured = ([Cost; 2], f64);

/// Whose turn it is on the common root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Ours,
    Peer,
    Nobody,
}

struct Bench {
    machine: Machine,
    who: Who,
}

impl Bench {
    fn new(settings: &Settings, who: Who) -> Result<Self> {
        let machine = Machine::new()?;
        let debs = settings.folder.join("cloud-init");
        fetch("cloud-init", &debs)?;
        install(&machine, &debs)?;
        machine.write("/etc/cloud/cloud.cfg.d/90_bench.cfg", "datasource_list: [NoCloud, None]\n")?;
        if who != Who::Ours {
            machine.write("/etc/hostwright/bootstrap.disabled", "")?;
        }
        if who != Who::Peer {
            machine.write("/etc/cloud/cloud-init.disabled", "")?;
        }
        for key in std::fs::read_dir(machine.path("/etc/ssh"))?.flatten() {
            if key.file_name().to_string_lossy().starts_with("ssh_host_") {
                std::fs::remove_file(key.path())?;
            }
        }
        machine.seed("i-bench", &user_data())?;
        let units = if who == Who::Peer { PEERS.join(" ") } else { OURS.join(" ") };
        machine.write("/etc/systemd/system/measure.service", &MEASURE.replace("UNITS", &units))?;
        let wants = machine.path("/etc/systemd/system/multi-user.target.wants");
        std::fs::create_dir_all(&wants)?;
        std::os::unix::fs::symlink("../measure.service", wants.join("measure.service"))?;
        Ok(Self { machine, who })
    }

    /// The first boot and a later one.
    fn boots(&mut self) -> Result<[Cost; 2]> {
        Ok([self.boot()?, self.boot()?])
    }

    fn boot(&mut self) -> Result<Cost> {
        let mut boot = self.machine.boot()?;
        boot.wait_for("MEASURED", BOOT)?;
        boot.power_off()?;
        let text = self.machine.read("/measured")?;
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let (times, cpu) =
            numbers.split_last_chunk::<2>().map(|(cpu, times)| (times, cpu)).context("nothing measured")?;
        let cpu_ms = if self.who == Who::Nobody { 0.0 } else { cpu.iter().sum::<f64>() / 1e6 };
        Ok(Cost { cpu_ms, wall_ms: (times[1] - times[0]) / 1e3 })
    }

    /// The most memory of a process in the boot of another instance, in MB.
    fn peak(&mut self) -> Result<f64> {
        self.machine.write("/usr/local/bin/peak", PEAK)?;
        let peak = self.machine.path("/usr/local/bin/peak");
        std::fs::set_permissions(&peak, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let units: &[&str] = if self.who == Who::Peer { &PEERS } else { &OURS };
        for unit in units {
            let text = self.machine.read(&format!("/usr/lib/systemd/system/{unit}"))?;
            let starts = text.lines().filter_map(|line| line.strip_prefix("ExecStart="));
            let mut drop_in = "[Service]\nExecStart=\n".to_owned();
            starts.for_each(|start| drop_in.push_str(&format!("ExecStart=/usr/local/bin/peak {start}\n")));
            self.machine.write(&format!("/etc/systemd/system/{unit}.d/peak.conf"), &drop_in)?;
        }
        self.machine.seed("i-other", &user_data())?;
        self.boot()?;
        let text = self.machine.read("/peak")?;
        let kilobytes: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        ensure!(kilobytes.len() >= 2, "only {} units noted their memory", kilobytes.len());
        Ok(kilobytes.into_iter().fold(0.0, f64::max) * 1024.0 / 1e6)
    }
}

/// Users, keys, twenty files, a name and commands.
fn user_data() -> String {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKr2g5gYx8mQ9T6Zb0s3y1r7l6Y0l9o3Q2k5n8v1w4xZ alice@example";
    let mut text = format!(
        "#cloud-config\nhostname: web\nmanage_etc_hosts: true\nssh_authorized_keys: ['{key}']\nusers:\n- default\n- {{name: alice, groups: [adm], sudo: 'ALL=(ALL) NOPASSWD:ALL', ssh_authorized_keys: ['{key}']}}\nruncmd:\n- touch /var/ran\n- [sh, -c, 'echo two >> /var/ran']\nwrite_files:\n"
    );
    for number in 0..20 {
        let _ =
            writeln!(text, "- {{path: /etc/app/{number}.conf, content: \"number={number}\\n\", permissions: '0644'}}");
    }
    text
}

/// The median of asking how far the boot is, with the start of the process.
fn status() -> Result<f64> {
    let program = binary("hostwright-bootstrap")?;
    let mut times = Vec::new();
    for _ in 0..21 {
        let started = Instant::now();
        let asked = Command::new(&program).arg("status").stdout(Stdio::null()).status()?;
        ensure!(asked.success(), "status ended with {asked}");
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
