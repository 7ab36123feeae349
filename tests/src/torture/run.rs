use super::application::{self, Plan};
use super::archive;
use super::arrivals::{Arrivals, Counted};
use super::calm::Calm;
use super::disk::{self, Disk};
use super::line::Form;
use super::platform::Platform;
use super::receiver::Receiver;
use super::rotated::Naming;
use super::story::Story;
use super::world::World;
use super::{idle, lock};
use crate::process::AgentProcess;
use crate::wait::eventually;
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver as Urges};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What an output may send again after a crash: one batch of lines' bytes.
const BATCH: u64 = 1 << 20;
/// What it may send again beside that when a receiver resets a stream without acknowledgements: a receive buffer.
const DOUBT: u64 = 8 << 20;
/// How long nothing may arrive: the agent waits up to 15 s between attempts to connect.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a busy machine may take for what is left, as long as it goes on.
const LONGEST_CALM: Duration = Duration::from_secs(240);
/// How long positions may take to become durable after a full disk was relieved.
const RECOVERY: Duration = Duration::from_secs(4);

/// How long to torture, and with what random numbers.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    pub storm: Duration,
    /// What does not happen, such as `compress, refill`.
    pub without: String,
}

/// The agent with everything around it.
struct Run {
    world: Arc<World>,
    rng: fastrand::Rng,
    agent: AgentProcess,
    urges: Urges<Duration>,
    receiver: Arc<Receiver>,
    platform: Platform,
    state: Disk,
    out: Disk,
    /// The agent is to be ended, by SIGKILL or not, as soon as it may be.
    owed: Option<bool>,
    /// How often the agent was ended.
    ends: u64,
    /// How often the archive could not be written.
    full: u64,
    /// What arrived at each output while positions could not be stored, before the agent was ended.
    unstored: Vec<u64>,
    full_since: Option<FullState>,
    most_memory: u64,
    /// The agent's, when something did not arrive.
    status: String,
    threads: Vec<JoinHandle<Result<()>>>,
    _folder: TempDir,
}

/// The state's disk is full, or was a moment ago.
struct FullState {
    /// How much had arrived at each output when it became so.
    arrived: Vec<u64>,
    relieved: Option<Instant>,
}

/// Tortures, and tells how it went.
///
/// # Errors
/// Something was lost, came too often or out of order; the story is kept.
pub fn run(settings: &Settings) -> Result<String> {
    let mut run = Run::begin(settings)?;
    let outcome = run.storm(settings.storm).and_then(|()| run.calm_down());
    let report = run.report();
    let judged = outcome.and_then(|()| run.judge());
    judged.map(|()| report.clone()).with_context(|| run.keep_evidence(settings.seed, &report))
}

impl Run {
    fn begin(settings: &Settings) -> Result<Self> {
        disk::own_mounts()?;
        let folder = tempfile::tempdir()?;
        let state = Disk::mount(&folder.path().join("state"), 32)?;
        let out = Disk::mount(&folder.path().join("out"), 24)?;
        let plans = plans(folder.path())?;
        let forms: Vec<_> = plans.iter().map(|plan| plan.form).collect();
        let (urge, urges) = mpsc::channel();
        let world = Arc::new(World {
            seed: settings.seed,
            without: settings.without.clone(),
            story: Story::begin(&folder.path().join("story"))?,
            calm: Calm::default(),
            gate: Arc::default(),
            arrivals: ["platform", "archive", "search"].map(|output| Arc::new(Arrivals::new(output, &forms))).into(),
            urges: Mutex::new(urge),
            written: Mutex::default(),
        });
        let receiver = Arc::new(Receiver::new(&world)?);
        let platform = Platform::start(world.arrivals[2].clone(), world.clone())?;
        let config = config(folder.path(), &receiver, &platform);
        let state_folder = state.path.to_string_lossy().into_owned();
        let agent = AgentProcess::start_with_env(&config, &[("STATE_DIRECTORY", &state_folder)])?;
        world.gate.started(agent.pid());
        let (rng, threads) = (world.rng("run"), Vec::new());
        let (ends, full, unstored, full_since, most_memory) = (0, 0, vec![0; world.arrivals.len()], None, 0);
        let mut run = Self {
            world,
            rng,
            agent,
            urges,
            receiver,
            platform,
            state,
            out,
            owed: None,
            ends,
            full,
            unstored,
            full_since,
            most_memory,
            status: String::new(),
            threads,
            _folder: folder,
        };
        run.start_threads(plans);
        Ok(run)
    }

    fn start_threads(&mut self, plans: Vec<Plan>) {
        let (world, receiver) = (self.world.clone(), self.receiver.clone());
        self.threads.push(thread::spawn(move || receiver.run(&world.arrivals[0], &world).context("the receiver")));
        let (world, path) = (self.world.clone(), self.out.path.join("archive.ndjson"));
        self.threads.push(thread::spawn(move || {
            archive::read(&path, &world.arrivals[1], &world).context("the archive's reader")
        }));
        for plan in plans {
            let world = self.world.clone();
            self.threads.push(thread::spawn(move || application::run(plan, world)));
        }
    }

    fn storm(&mut self, duration: Duration) -> Result<()> {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            ensure!(!self.threads.iter().any(JoinHandle::is_finished), "one of those around the agent ended early");
            if let Some(kill) = self.owed.take() {
                self.end_agent(kill)?;
            }
            let quiet = Duration::from_millis(if self.owed.is_some() { 5 } else { self.rng.u64(50..2000) });
            match self.urges.recv_timeout(quiet) {
                Ok(delay) => {
                    thread::sleep(delay);
                    self.end_agent(true)?;
                }
                Err(_) if self.owed.is_some() => {}
                Err(_) => self.act()?,
            }
        }
        Ok(())
    }

    fn act(&mut self) -> Result<()> {
        match self.rng.u8(..12) {
            0..3 => self.end_agent(true),
            3..5 if self.world.has("terminate") => self.end_agent(false),
            5 if self.world.has("full") => self.fill_state(),
            6 if self.world.has("full") => self.fill_archive(),
            7 if self.world.has("whims") => {
                self.platform.cut(self.rng.bool());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Ends the agent, and starts it again after a while.
    fn end_agent(&mut self, kill: bool) -> Result<()> {
        self.note_memory();
        if !self.world.has("end") {
            return Ok(());
        }
        if !self.world.gate.may_end() {
            self.owed = Some(kill);
            return Ok(());
        }
        let arrived = self.arrived();
        // One that has only just begun ends by either.
        let kill = kill || !heeds_terminate(self.agent.pid());
        self.world.story.tell(if kill { "agent: SIGKILL" } else { "agent: SIGTERM" });
        if kill {
            self.agent.kill9()?;
        } else {
            let code = self.agent.terminate()?;
            ensure!(code == Some(0), "SIGTERM ended the agent with {code:?}");
        }
        self.ends += 1;
        if let Some(full) = self.full_since.take_if(|full| full.relieved.is_none_or(|at| at.elapsed() < RECOVERY)) {
            for (index, unstored) in self.unstored.iter_mut().enumerate() {
                *unstored += arrived[index] - full.arrived[index];
            }
            self.full_since = Some(FullState { arrived: self.arrived(), ..full });
        }
        if self.rng.bool() {
            idle(&mut self.rng, 0..3000);
        }
        self.agent.start_again()?;
        self.world.gate.started(self.agent.pid());
        self.world.story.tell("agent: started");
        Ok(())
    }

    fn fill_state(&mut self) -> Result<()> {
        self.world.story.tell("state: full");
        self.full_since = Some(FullState { arrived: self.arrived(), relieved: None });
        self.state.fill()?;
        idle(&mut self.rng, 100..2500);
        if self.rng.bool() {
            self.end_agent(true)?;
            idle(&mut self.rng, 100..1500);
        }
        self.state.relieve()?;
        self.world.story.tell("state: relieved");
        if let Some(full) = &mut self.full_since {
            full.relieved = Some(Instant::now());
        }
        Ok(())
    }

    fn fill_archive(&mut self) -> Result<()> {
        self.world.story.tell("archive: full");
        self.full += 1;
        self.out.fill()?;
        idle(&mut self.rng, 100..1500);
        self.out.relieve()?;
        self.world.story.tell("archive: relieved");
        Ok(())
    }

    fn arrived(&self) -> Vec<u64> {
        self.world.arrivals.iter().map(|output| output.counted().bytes).collect()
    }

    fn note_memory(&mut self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.agent.pid())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        self.most_memory = self.most_memory.max(peak.unwrap_or(0));
    }

    /// Nothing breaks any more; everything arrives.
    fn calm_down(&mut self) -> Result<()> {
        self.world.story.tell("calm");
        self.world.calm.begin();
        for application in self.threads.split_off(2) {
            application.join().map_err(|_| anyhow::anyhow!("an application panicked"))??;
        }
        let written = lock(&self.world.written).clone();
        let complete = || {
            let missing: Vec<_> = self.world.arrivals.iter().flat_map(|output| output.missing(&written)).collect();
            if missing.is_empty() { Ok(()) } else { bail!("missing:\n  {}", shortened(&missing)) }
        };
        let began = Instant::now();
        let complete = loop {
            let before = self.arrived();
            let waited = eventually("every line at every output", PATIENCE, complete);
            if waited.is_ok() || before == self.arrived() || began.elapsed() >= LONGEST_CALM {
                break waited;
            }
        };
        self.note_memory();
        if complete.is_err() {
            // What it thinks of what is missing.
            self.status = self.agent.status().map_or_else(|error| format!("{error:#}"), |status| format!("{status:#}"));
        }
        let code = self.agent.terminate()?;
        self.world.calm.end();
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow::anyhow!("a receiver panicked"))??;
        }
        complete.with_context(|| format!("beside that:\n  {}", shortened(&self.oddities())))?;
        ensure!(code == Some(0), "SIGTERM ended the agent with {code:?}");
        Ok(())
    }

    fn judge(&self) -> Result<()> {
        let oddities = self.oddities();
        ensure!(oddities.is_empty(), "not as they were written, or out of order:\n  {}", shortened(&oddities));
        for (output, most) in self.world.arrivals.iter().zip(self.most_duplicates()) {
            let duplicates = output.counted().duplicate_bytes;
            ensure!(duplicates <= most, "{}: {duplicates} bytes came twice, at most {most}", output.output);
        }
        Ok(())
    }

    /// What was not as it was written, or out of order where all or nothing of a batch is taken.
    fn oddities(&self) -> Vec<String> {
        let broken = self.world.arrivals.iter().flat_map(|output| output.broken());
        let ordered = if self.platform.keeps_order() { 3 } else { 2 };
        broken.chain(self.world.arrivals.iter().take(ordered).flat_map(|output| output.skips())).collect()
    }

    /// Bytes for each output. Where documents have ids, only one of a content of which nothing was acknowledged is there
    /// twice.
    fn most_duplicates(&self) -> [u64; 3] {
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let (resets, closes) = (of(&self.receiver.resets), of(&self.receiver.closes));
        let platform = (self.ends + closes) * BATCH + resets * (BATCH + DOUBT) + self.unstored[0];
        let archive = (self.ends + self.full) * BATCH + self.unstored[1];
        let search = (self.ends + self.platform.breaks()) * BATCH + self.unstored[2];
        [platform, archive, search]
    }

    fn report(&self) -> String {
        let written: u64 = lock(&self.world.written).values().map(|lines| u64::from(*lines)).sum();
        let mut report = format!(
            "outputs: {:?}, file, {}; {written} lines in {} contents of files; the agent ended {} times, at most {} kB resident; {} resets, {} closes; the archive's disk full {} times\n",
            self.receiver.protocol,
            self.platform,
            lock(&self.world.written).len(),
            self.ends,
            self.most_memory,
            self.receiver.resets.load(Ordering::Relaxed),
            self.receiver.closes.load(Ordering::Relaxed),
            self.full,
        );
        for (output, most) in self.world.arrivals.iter().zip(self.most_duplicates()) {
            let Counted { lines, bytes, duplicates, duplicate_bytes } = output.counted();
            // Writing to memory does not fail.
            let _ = writeln!(
                report,
                "{}: {lines} lines, {bytes} bytes; {duplicates} lines, {duplicate_bytes} bytes of them again (at most {most}): {}",
                output.output,
                output.most_repeated(),
            );
        }
        report
    }

    /// Keeps what tells how it came; says where.
    fn keep_evidence(&self, seed: u64, report: &str) -> String {
        let folder = std::env::temp_dir().join(format!("hostwright-torture-{seed}"));
        let kept = fs::create_dir_all(&folder)
            .and_then(|()| fs::copy(self.world.story.path(), folder.join("story")))
            .and_then(|_| fs::write(folder.join("agent"), self.agent.output()))
            .and_then(|()| fs::write(folder.join("status"), &self.status));
        let place = kept.map_or_else(|error| format!("(not kept: {error})"), |()| folder.display().to_string());
        format!("TORTURE_SEED={seed}\n{report}the story, the agent's log and status: {place}")
    }
}

/// Whether a process has a handler for SIGTERM by now (proc_pid_status(5), SigCgt).
fn heeds_terminate(process: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
    caught.is_some_and(|caught| caught & (1 << (nix::libc::SIGTERM - 1)) != 0)
}

fn shortened(all: &[String]) -> String {
    let more = if all.len() > 12 { format!("\n  and {} more", all.len() - 12) } else { String::new() };
    all[..all.len().min(12)].join("\n  ") + &more
}

/// Seven applications in four folders.
fn plans(folder: &Path) -> Result<Vec<Plan>> {
    use Naming::{Dated, Elsewhere, Linked, Numbered};
    let of = [
        ("one/a.log", Form::Json, Numbered, false),
        ("one/b.log", Form::Json, Dated, false),
        ("all/c.log", Form::Plain, Numbered, false),
        ("all/d.log", Form::Plain, Dated, true),
        ("two/e.log", Form::Json, Elsewhere, true),
        ("links/f.log", Form::Plain, Linked, false),
        ("one/g.log", Form::Json, Dated, true),
    ];
    fs::create_dir_all(folder.join("two/old"))?;
    let plan = |(number, (log, form, naming, has_banner)): (usize, (&str, Form, Naming, bool))| {
        let log = folder.join(log);
        fs::create_dir_all(log.parent().unwrap_or(folder))?;
        let bytes_per_second = [150_000, 400_000, 1_000_000][number % 3];
        Ok(Plan { number: u16::try_from(number)?, log, form, naming, has_banner, bytes_per_second })
    };
    of.into_iter().enumerate().map(plan).collect()
}

/// Some logs are named alone, others with what they are rotated to.
fn config(folder: &Path, receiver: &Receiver, platform: &Platform) -> String {
    let path = |path: &str| PathBuf::from(folder).join(path).display().to_string();
    format!(
        "host: {{name: testhost}}\nlogs:\n  sources:\n    \
         one: {{files: ['{}', '{}', '{}'], parse: json, outputs: [platform, archive, search]}}\n    \
         all: {{files: ['{}', '{}'], outputs: [platform, archive, search]}}\n    \
         two: {{files: ['{}', '{}'], parse: json, outputs: [platform, archive, search]}}\n    \
         links: {{files: ['{}'], outputs: [platform, archive, search]}}\n  \
         outputs:\n    platform: {}\n    archive: {{file: {{path: '{}'}}}}\n    \
         search: {}\n",
        path("one/a.log"),
        path("one/b.log"),
        path("one/g.log"),
        path("all/c.log*"),
        path("all/d.log*"),
        path("two/e.log"),
        path("two/old/e.log*"),
        path("links/f.log"),
        receiver.settings(),
        path("out/archive.ndjson"),
        platform.settings(),
    )
}
