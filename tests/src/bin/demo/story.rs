//! What the demo shows, in order; what it claims in the end, each claim checked.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use hostwright_tests::basegun::{BUCKET, Pace, Surroundings, numbered};
use hostwright_tests::engines::Prometheus;
use hostwright_tests::http;
use hostwright_tests::vm::{Forwards, SshKey, Vm};
use hostwright_tests::wait::eventually;
use serde_json::Value;

/// Busy enough that something happens every second, and a "day" of the log takes a quarter of a minute.
const PACE: Pace = Pace { lines_per_second: 50, rotate_seconds: 15 };
const BOOT_TIMEOUT: Duration = Duration::from_secs(600);
const STEP_TIMEOUT: Duration = Duration::from_secs(180);
const UPLOADS: usize = 5;

/// Everything that is up. Taken apart when the demo is told to go, which the story meets as an error.
pub struct Scene {
    folder: PathBuf,
    surroundings: Mutex<Option<Surroundings>>,
    prometheus: Mutex<Option<Prometheus>>,
    vm: Mutex<Option<Vm>>,
    to_begin: Mutex<Option<(SshKey, Forwards)>>,
    web: std::net::SocketAddr,
    metrics: std::net::SocketAddr,
    api: std::net::SocketAddr,
}

impl Scene {
    /// Starts the servers around the VM.
    pub fn set(folder: &Path) -> Result<Self> {
        println!("Hostwright demo: a bare Debian VM becomes a working host from one user-data.\n");
        println!("Around it, on this machine's loopback:");
        let surroundings = Surroundings::start()?;
        println!("  bucket        OpenStack Swift with its S3 API   {}", surroundings.swift.endpoint());
        println!("  log receiver  rsyslog, RFC 5424 over TCP        {}", surroundings.rsyslog.address());
        println!("  registry      docker-registry with two images   {}", surroundings.registry_host());
        let forwards = Forwards::reserve(&[80, 9100, 9180])?;
        let (web, metrics, api) = (forwards.to(80), forwards.to(9100), forwards.to(9180));
        let prometheus = Prometheus::start(&[("node", metrics)])?;
        println!("  Prometheus    scrapes the VM                    http://{}", prometheus.address());
        Ok(Self {
            folder: folder.to_owned(),
            surroundings: Mutex::new(Some(surroundings)),
            prometheus: Mutex::new(Some(prometheus)),
            vm: Mutex::new(None),
            to_begin: Mutex::new(Some((SshKey::make()?, forwards))),
            web,
            metrics,
            api,
        })
    }

    /// Stops and removes everything.
    pub fn clear(&self) {
        drop(lock(&self.vm).take());
        drop(lock(&self.prometheus).take());
        drop(lock(&self.surroundings).take());
    }

    fn with<T, R>(place: &Mutex<Option<T>>, ask: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        ask(lock(place).as_ref().context("the demo was told to go")?)
    }

    fn vm<R>(&self, ask: impl FnOnce(&Vm) -> Result<R>) -> Result<R> {
        Self::with(&self.vm, ask)
    }

    fn surroundings<R>(&self, ask: impl FnOnce(&Surroundings) -> Result<R>) -> Result<R> {
        Self::with(&self.surroundings, ask)
    }
}

/// A panic elsewhere leaves what is behind the lock as it was: servers to stop.
fn lock<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was claimed and whether it was so.
struct Summary(Vec<(bool, &'static str, String)>);

impl Summary {
    fn claim(&mut self, what: &'static str, outcome: Result<String>) {
        let (holds, told) = match outcome {
            Ok(told) => (true, told),
            Err(error) => (false, format!("{error:#}")),
        };
        println!("{} {what}: {told}", if holds { "✓" } else { "✗" });
        self.0.push((holds, what, told));
    }
}

/// Tells the story; whether every claim held.
pub fn tell(scene: &Scene) -> Result<bool> {
    let began = Instant::now();
    let mut summary = Summary(Vec::new());
    begin(scene)?;
    summary.claim("the VM configured itself from its user-data", watch_boot(scene, began));
    summary.claim("both containers run and are healthy", containers(scene));
    summary.claim("products are in the bucket, whole", products(scene));
    summary.claim("metrics are scraped by Prometheus", metrics(scene));
    summary.claim("the agent was killed and nothing was lost", kill_and_count(scene));
    summary.claim("every duty is ok", all_ok(scene));
    conclude(scene, &summary, began)
}

fn begin(scene: &Scene) -> Result<()> {
    let (key, forwards) = lock(&scene.to_begin).take().context("the story was told already")?;
    let user_data = scene.surroundings(|around| around.user_data(PACE, key.public()))?;
    fs::write(scene.folder.join("user-data.yaml"), &user_data)?;
    println!("\nThe VM: nothing in it but Debian 12, Docker Engine and our two binaries; its user-data is");
    println!("  {}", scene.folder.join("user-data.yaml").display());
    let vm = Vm::up(&user_data, key, forwards)?;
    println!("{}", vm.said_at_start().trim_end());
    *lock(&scene.vm) = Some(vm);
    Ok(())
}

/// Shows bootstrap's lines from the console as they come.
fn watch_boot(scene: &Scene, began: Instant) -> Result<String> {
    println!("\nBoot, as the VM's console tells it:");
    let mut shown = 0;
    eventually("the VM is configured", BOOT_TIMEOUT, || {
        let console = scene.vm(|vm| Ok(vm.console()))?;
        let lines: Vec<&str> = console.lines().filter_map(of_bootstrap).collect();
        for line in &lines[shown.min(lines.len())..] {
            println!("  {:>5.1} s  {line}", began.elapsed().as_secs_f64());
        }
        shown = lines.len();
        if lines.iter().any(|line| line.contains("is configured")) { Ok(()) } else { bail!("it is not yet") }
    })?;
    let report: Value = serde_json::from_str(&scene.vm(|vm| vm.ssh("cat /run/hostwright/boot.json"))?)?;
    let steps = report["steps"].as_array().context("the boot report has no steps")?;
    ensure!(report["result"] == "ok", "the boot report says {}", report["result"]);
    Ok(format!("{} steps, {:.0} s after power-on", steps.len(), began.elapsed().as_secs_f64()))
}

/// What bootstrap said in a line of the console, after what the journal put before it.
fn of_bootstrap(line: &str) -> Option<&str> {
    let (_, said) = line.split_once("hostwright-bootstrap[")?;
    said.split_once("]: ").map(|(_, said)| said.trim())
}

fn duty(status: &Value, name: &str) -> String {
    let row = &status["duties"][name];
    let said = row["summary"].as_str().or(row["why"].as_str()).unwrap_or_default();
    format!("{} ({said})", row["state"].as_str().unwrap_or("unknown"))
}

fn containers(scene: &Scene) -> Result<String> {
    let running = "docker ps --format '{{.Names}} {{.Status}}'";
    eventually("two healthy containers", STEP_TIMEOUT, || {
        let listed = scene.vm(|vm| vm.ssh(running))?;
        if listed.matches("(healthy)").count() == 2 { Ok(()) } else { bail!("docker ps says: {}", listed.trim()) }
    })?;
    let page = http::get(scene.web, "/api/")?.success()?.text();
    ensure!(page.contains("Basegun backend"), "the site answers {page:?}");
    Ok(format!("and the site answers through the frontend at http://{}", scene.web))
}

/// Uploads pictures through the site and compares what the bucket holds with what was sent.
fn products(scene: &Scene) -> Result<String> {
    let mut sent = BTreeSet::new();
    for number in 0..UPLOADS {
        let picture: Vec<u8> = (0..300_000).map(|at| ((at * (number + 7)) >> 3) as u8).collect();
        http::request(scene.web, "POST", "/api/upload", &[], &picture)?.success()?;
        sent.insert(picture);
    }
    let seconds = eventually_timed("every picture in the bucket", || {
        let stored = scene.surroundings(|around| {
            let keys = around.swift.keys(BUCKET)?;
            let objects = keys.iter().filter(|key| key.ends_with(".jpg")).map(|key| around.swift.object(BUCKET, key));
            objects.collect::<Result<Vec<_>>>()
        })?;
        let stored: BTreeSet<_> = stored.into_iter().flatten().collect();
        ensure!(stored.is_subset(&sent), "the bucket holds something that was never sent: a part of a product");
        if stored == sent { Ok(()) } else { bail!("{} of {} are there", stored.len(), sent.len()) }
    })?;
    Ok(format!("{UPLOADS} of {UPLOADS}, byte for byte, {seconds:.1} s after the last upload"))
}

fn metrics(scene: &Scene) -> Result<String> {
    let ask = |expression: &str| Scene::with(&scene.prometheus, |prometheus| prometheus.query(expression));
    eventually("Prometheus has scraped the VM", STEP_TIMEOUT, || {
        let up = ask("up{job=\"node\"}")?;
        if up.iter().any(|sample| sample.value == 1.0) { Ok(()) } else { bail!("up is {up:?}") }
    })?;
    let memory = ask("node_memory_MemTotal_bytes")?.first().map(|sample| sample.value).context("no memory metric")?;
    let families = ask("count(count by (__name__) ({job=\"node\"}))")?.first().map_or(0.0, |sample| sample.value);
    Ok(format!("{families} families, such as node_memory_MemTotal_bytes = {memory}"))
}

/// Kills the agent while the backend writes and rotates, stops the backend, and compares its files with the receiver's.
fn kill_and_count(scene: &Scene) -> Result<String> {
    println!("\nkill -9 of the agent, twice, while lines are written and the log is rotated:");
    for _ in 0..2 {
        let restarts = scene.vm(|vm| {
            vm.ssh("systemctl kill -s KILL hostwright-agent; sleep 2; systemctl show -P NRestarts hostwright-agent")
        })?;
        println!("  killed; systemd has restarted it {} times", restarts.trim());
    }
    scene.vm(|vm| vm.ssh("docker stop -t 1 basegun-backend >/dev/null; true"))?;
    let written = written(scene)?;
    let seconds = eventually_timed("every written line at the receiver", || {
        let received = scene.surroundings(|around| around.received())?;
        let missing = written.difference(&received.distinct).count();
        if missing == 0 { Ok(()) } else { bail!("{missing} of {} are missing", written.len()) }
    })?;
    let received = scene.surroundings(|around| around.received())?;
    scene.vm(|vm| vm.ssh("docker start basegun-backend >/dev/null"))?;
    let files = scene.vm(|vm| vm.ssh("ls /var/log/basegun | wc -l"))?;
    let again = received.lines - received.distinct.len();
    Ok(format!(
        "{} lines through {} rotations, 0 lost, {again} sent twice, {seconds:.1} s",
        written.len(),
        files.trim().parse::<usize>()?.saturating_sub(1)
    ))
}

fn written(scene: &Scene) -> Result<BTreeSet<(u64, u64)>> {
    let text = scene.vm(|vm| vm.ssh("cat /var/log/basegun/log.json*"))?;
    let lines: BTreeSet<_> = text.lines().filter_map(numbered).collect();
    if lines.is_empty() { Err(anyhow!("the backend has written nothing")) } else { Ok(lines) }
}

fn all_ok(scene: &Scene) -> Result<String> {
    let status = eventually("every duty is ok", STEP_TIMEOUT, || {
        let status = scene.vm(Vm::status)?;
        let duties = status["duties"].as_object().context("no duties")?;
        let unwell: Vec<_> = duties.keys().filter(|name| status["duties"][name]["state"] != "ok").collect();
        ensure!(
            unwell.is_empty(),
            "{}",
            unwell.iter().map(|name| format!("{name} {}", duty(&status, name))).collect::<Vec<_>>().join("; ")
        );
        Ok(status)
    })?;
    let names =
        status["duties"].as_object().map(|duties| duties.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    Ok(names.iter().map(|name| format!("{name} {}", duty(&status, name))).collect::<Vec<_>>().join("; "))
}

fn eventually_timed(what: &str, probe: impl FnMut() -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    eventually(what, STEP_TIMEOUT, probe)?;
    Ok(began.elapsed().as_secs_f64())
}

fn conclude(scene: &Scene, summary: &Summary, began: Instant) -> Result<bool> {
    println!("\n{}", scene.vm(|vm| vm.ssh("hostwright-agent status || true"))?.trim_end());
    println!("\nSummary after {:.0} s:", began.elapsed().as_secs_f64());
    for (holds, what, told) in &summary.0 {
        println!("  {} {what}: {told}", if *holds { "✓" } else { "✗ MISSING:" });
    }
    println!("\nWhere to look, until `make demo DOWN=1`:");
    println!("  the site        http://{}", scene.web);
    println!("  the agent       https://{}/readyz?verbose (certificate of its own: curl -k)", scene.api);
    println!("  its metrics     http://{}/metrics", scene.metrics);
    println!("  Prometheus      http://{}", Scene::with(&scene.prometheus, |prometheus| Ok(prometheus.address()))?);
    println!("  received lines  {}", scene.surroundings(|around| Ok(around.rsyslog.raw_file()))?.display());
    println!("  console         {}", scene.vm(|vm| Ok(vm.console_file()))?.display());
    println!("  a shell in it   {}", scene.vm(|vm| Ok(vm.ssh_command()))?);
    println!("                  then: sudo hostwright-agent status");
    Ok(summary.0.iter().all(|(holds, ..)| *holds))
}
