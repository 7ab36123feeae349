//! What systemd says of its units, asked by the agent's own unit under a real systemd, and by a real node_exporter.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hostwright_tests::exposition::Exposition;
use hostwright_tests::nspawn::Machine;
use hostwright_tests::wait::eventually;
use nix::sys::signal::Signal;

const BOOT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(60);

const CONFIG: &str = "metrics:\n  listen: 127.0.0.1:9100\n  collectors:\n    default: false\n    logind: true\n    timex: true\n    systemd:\n      \
    {enable_task_metrics: true, enable_restarts_metrics: true, enable_start_time_metrics: true}\n";
const FLAGS: &str = "--collector.disable-defaults --collector.logind --collector.timex --collector.systemd --collector.systemd.enable-task-metrics \
    --collector.systemd.enable-restarts-metrics --collector.systemd.enable-start-time-metrics \
    --collector.systemd.unit-exclude=.+\\\\.(automount|device|mount|scope|slice) --web.listen-address=127.0.0.1:9101";
/// Scrapes for as long as the machine runs: the original, ours, the original; each time with how long ours took.
const SCRAPER: &str = r#"#!/bin/bash
get() {
    exec 3<>/dev/tcp/127.0.0.1/$1 && printf 'GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n' >&3 && timeout 3 cat <&3 >$2.new
    exec 3>&-
    mv $2.new $2
}
mkdir -p /scrapes/next
while :; do
    get 9101 /scrapes/next/before
    began=${EPOCHREALTIME/./}
    get 9100 /scrapes/next/ours
    echo $(((${EPOCHREALTIME/./} - began) / 1000)) >/scrapes/next/milliseconds
    get 9101 /scrapes/next/after
    mv -T --exchange /scrapes/next /scrapes/done 2>/dev/null || { rm -rf /scrapes/done; mv /scrapes/next /scrapes/done; }
    mkdir -p /scrapes/next
    sleep 0.2
done
"#;

/// Units of each kind that something is asked of.
const UNITS: &[(&str, &str)] = &[
    ("original.service", "[Service]\nExecStart=/usr/bin/prometheus-node-exporter FLAGS\n"),
    ("scraper.service", "[Service]\nExecStart=/usr/local/bin/scraper\n"),
    (
        "failing.service",
        "[Service]\nType=exec\nExecStart=/bin/false\nRestart=on-failure\nRestartSec=100ms\nTasksMax=7\n[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=1h\n",
    ),
    ("once.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"),
    ("often.timer", "[Timer]\nOnBootSec=1s\nUnit=once.service\n"),
    ("waiting.socket", "[Socket]\nListenStream=/run/waiting\nAccept=yes\n"),
    ("waiting@.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
];
/// What belongs to a whole host takes time and adds nothing here.
const MASKED: &[&str] = &[
    "hostwright-bootstrap.service",
    "hostwright-bootstrap-final.service",
    "docker.service",
    "docker.socket",
    "containerd.service",
];

fn machine() -> Result<Machine> {
    let machine = Machine::new()?;
    machine.write("/etc/hostwright/agent.yaml", CONFIG)?;
    fs::create_dir_all(machine.path("/etc/hostwright/credentials"))?;
    fs::copy("/usr/bin/prometheus-node-exporter", machine.path("/usr/bin/prometheus-node-exporter"))?;
    machine.write("/usr/local/bin/scraper", SCRAPER)?;
    fs::set_permissions(machine.path("/usr/local/bin/scraper"), fs::Permissions::from_mode(0o755))?;
    for (name, text) in UNITS {
        machine.write(&format!("/etc/systemd/system/{name}"), &text.replace("FLAGS", FLAGS))?;
        if !name.contains('@') {
            let wants = machine.path("/etc/systemd/system/multi-user.target.wants");
            symlink(format!("../{name}"), wants.join(name))?;
        }
    }
    for name in MASKED {
        let unit = machine.path(&format!("/etc/systemd/system/{name}"));
        // It need not have been there.
        let _ = fs::remove_file(&unit);
        symlink("/dev/null", unit)?;
    }
    Ok(machine)
}

/// The last three answers that are whole.
struct Scrapes(PathBuf);

impl Scrapes {
    fn read(&self, name: &str) -> Result<String> {
        let path = self.0.join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    fn exposition(&self, name: &str) -> Result<Exposition> {
        let text = self.read(name)?;
        let (head, body) = text.split_once("\r\n\r\n").context("no answer")?;
        ensure!(head.contains(" 200 OK"), "{head}");
        Exposition::parse(body)
    }

    fn success(&self) -> Result<(f64, u64)> {
        let ours = self.exposition("ours")?;
        let success = ours.series.get("node_scrape_collector_success{collector=\"systemd\"}");
        Ok((*success.context("no such collector")?, self.read("milliseconds")?.trim().parse()?))
    }
}

#[test]
fn units_are_told_as_the_original_does_and_a_systemd_that_hangs_delays_one_scrape_alone() -> Result<()> {
    let mut machine = machine()?;
    let boot = machine.boot()?;
    let scrapes = Scrapes(machine.path("/scrapes/done"));
    let result = eventually("no difference to the original", BOOT, || {
        let (before, ours, after) =
            (scrapes.exposition("before")?, scrapes.exposition("ours")?, scrapes.exposition("after")?);
        for wanted in [
            "node_systemd_unit_state{name=\"failing.service\",state=\"failed\",type=\"exec\"}",
            "node_systemd_service_restart_total{name=\"failing.service\"}",
            "node_systemd_timer_last_trigger_seconds{name=\"often.timer\"}",
            "node_systemd_socket_refused_connections_total{name=\"waiting.socket\"}",
            "node_systemd_unit_start_time_seconds{name=\"once.service\"}",
            "node_systemd_unit_tasks_max{name=\"failing.service\"}",
            // The unit's sandbox lets the agent ask how the clock is kept.
            "node_scrape_collector_success{collector=\"timex\"}",
        ] {
            let value = ours.series.get(wanted).with_context(|| format!("there is no {wanted}"))?;
            ensure!(*value > 0.0 || wanted.contains("refused"), "{wanted} is {value}");
        }
        match ours.wrong(&before, &after, (1, 5))[..] {
            [] => Ok(()),
            ref wrong => bail!("{}", wrong.join("\n")),
        }
    });
    result.with_context(|| format!("the console says:\n{}", boot.console()))?;

    boot.signal_init(Signal::SIGSTOP)?;
    eventually("a scrape fails, and takes no longer than the deadline", SOON, || {
        let (success, milliseconds) = scrapes.success()?;
        ensure!(success == 0.0 && milliseconds < 5000, "success {success} after {milliseconds} ms");
        Ok(())
    })?;
    eventually("later ones take no time", SOON, || {
        let (success, milliseconds) = scrapes.success()?;
        ensure!(success == 0.0 && milliseconds < 300, "success {success} after {milliseconds} ms");
        Ok(())
    })?;
    boot.signal_init(Signal::SIGCONT)?;
    eventually("it is asked again", SOON, || {
        let (success, _) = scrapes.success()?;
        ensure!(success == 1.0, "success {success}");
        Ok(())
    })
}
