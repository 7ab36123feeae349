//! A file of the kernel that never answers: it costs the metrics duty one collector, and nobody waits for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
const AT_ONCE: Duration = Duration::from_secs(1);
/// Below Prometheus' timeout, with what finding out and a loaded machine take.
const DEADLINE: Duration = Duration::from_secs(8);

/// A captured tree, where a file without a writer stands for one of the kernel that does not answer.
struct Host {
    folder: TempDir,
    agent: AgentProcess,
    port: Port,
}

impl Host {
    fn start(prepare: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for path in ["proc/net", "proc/1", "sys/class/hwmon/hwmon0", "root", "udev"] {
            fs::create_dir_all(folder.path().join(path))?;
        }
        fs::write(folder.path().join("proc/loadavg"), "0.5 0.25 0.125 1/100 7\n")?;
        fs::write(folder.path().join("proc/vmstat"), "pgfault 7\n")?;
        prepare(folder.path())?;
        let port = Port::reserve()?;
        let agent = AgentProcess::start(&config(folder.path(), &port, ""))?;
        Ok(Self { folder, agent, port })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn scrape(&self) -> Result<String> {
        Ok(http::get(self.port.address(), "/metrics")?.success()?.text())
    }

    fn threads(&self) -> Result<usize> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.agent.pid()))?;
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        Ok(names.filter(|name| name.trim() == "metrics").count())
    }

    /// The status is of the last scrape.
    fn wait_degraded(&self, why: &str) -> Result<()> {
        self.scrape()?;
        let has =
            |status: &serde_json::Value| status["duties"]["metrics"]["why"].as_str().is_some_and(|w| w.contains(why));
        self.agent.wait_status(why, SOON, has).map(drop)
    }
}

fn config(tree: &Path, port: &Port, more: &str) -> String {
    let tree = tree.display();
    format!(
        "metrics:\n  listen: \"{}\"\n  roots: {{procfs: {tree}/proc, sysfs: {tree}/sys, rootfs: {tree}/root, udev: {tree}/udev}}\n  \
         collectors: {{default: false, hwmon: true, loadavg: true, vmstat: true, filesystem: {{mount_timeout: 100ms}}{more}}}\n",
        port.address()
    )
}

fn hang(path: &Path) -> Result<()> {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).with_context(|| path.display().to_string())
}

#[test]
fn a_file_that_hangs_at_the_start_costs_its_collector_alone_and_a_restart_of_the_duty_neither_waits_nor_hangs_again()
-> Result<()> {
    let mut host = Host::start(|tree| {
        fs::remove_file(tree.join("proc/loadavg"))?;
        hang(&tree.join("proc/loadavg"))
    })?;
    let told = |host: &Host| -> Result<()> {
        let text = host.scrape()?;
        ensure!(text.contains("node_vmstat_pgfault 7\n"), "{text}");
        ensure!(text.contains("node_scrape_collector_success{collector=\"loadavg\"} 0\n"), "{text}");
        Ok(())
    };
    eventually("the rest is told", SOON, || told(&host))?;
    host.wait_degraded("loadavg (the kernel does not answer")?;
    let threads = host.threads()?;
    ensure!(threads == 2, "{threads} threads sample");
    // Other settings start the duty anew, on the same port, while the thread hangs.
    for more in [", stat: true", ""] {
        host.agent.write_config(&config(host.folder.path(), &host.port, more))?;
        host.agent.sighup()?;
        let stat = if more.is_empty() { 0 } else { 1 };
        eventually("the new settings are served", SOON, || {
            told(&host)?;
            ensure!(host.scrape()?.matches("{collector=\"stat\"}").count() == 2 * stat, "not yet");
            Ok(())
        })?;
        ensure!(host.threads()? == 2, "{} threads sample", host.threads()?);
    }
    // It answers, and its thread ends.
    drop(File::options().write(true).open(host.path("proc/loadavg"))?);
    eventually("the thread that hung is gone", SOON, || {
        ensure!(host.threads()? == 1, "{} threads sample", host.threads()?);
        Ok(())
    })?;
    host.wait_degraded("it is asked again after a minute")?;
    assert_eq!(host.agent.terminate()?, Some(0));
    Ok(())
}

#[test]
fn who_waits_for_a_file_that_hangs_is_told_so_in_time_and_later_scrapes_come_at_once() -> Result<()> {
    let mut host = Host::start(|_| Ok(()))?;
    host.agent.wait_ready(SOON)?;
    ensure!(host.scrape()?.contains("node_load1 0.5\n"));
    fs::write(host.path("sys/class/hwmon/hwmon0/name"), "sensors\n")?;
    hang(&host.path("sys/class/hwmon/hwmon0/temp1_input"))?;
    let began = Instant::now();
    let answer = http::get(host.port.address(), "/metrics")?;
    ensure!(began.elapsed() < DEADLINE, "it took {:?}", began.elapsed());
    ensure!(
        answer.status == 503 && answer.text().contains("when hwmon was read"),
        "{} {}",
        answer.status,
        answer.text()
    );
    let mut all = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        let text = host.scrape()?;
        all.push(began.elapsed());
        ensure!(text.contains("node_load1 0.5\n"), "{text}");
        ensure!(text.contains("node_scrape_collector_success{collector=\"hwmon\"} 0\n"), "{text}");
    }
    // One that waited for the file would take seconds; a busy machine may hold up a few.
    all.sort();
    ensure!(all[all.len() / 2] < AT_ONCE, "they took {all:?}");
    ensure!(host.threads()? == 2, "{} threads sample", host.threads()?);
    ensure!(http::get(host.port.address(), "/")?.status == 200);
    // What hangs does not keep the agent.
    let began = Instant::now();
    assert_eq!(host.agent.terminate()?, Some(0));
    ensure!(began.elapsed() < DEADLINE, "the end took {:?}", began.elapsed());
    Ok(())
}
