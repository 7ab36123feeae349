//! Random kills of containers, engine, agent and the process that holds the ports, during updates: within 30 s what the
//! file says is what runs.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hostwright_tests::container_host::{Host, LIMIT};
use hostwright_tests::engines::{Docker, OwnEngine};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::wait::eventually;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Within this time after a kill the file's state must hold.
const HOLDS: Duration = Duration::from_secs(30);
/// For all rounds together.
const MOST: Duration = Duration::from_secs(100);
const ROUNDS: usize = 12;

/// Numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    /// SplitMix64.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as usize % sides
    }
}

/// What the file says at the moment.
#[derive(Clone, Debug, Default)]
struct Wish {
    version: usize,
    replicas: usize,
    /// Which of the two ports is published.
    port: usize,
    /// Whether there is a second network, and a volume for the pair.
    is_joined: bool,
    has_volume: bool,
}

impl Wish {
    /// Changes the version, which each container shows, and something else.
    fn change(&mut self, dice: &mut Dice) -> &'static str {
        self.version += 1;
        match dice.roll(6) {
            0 => {
                self.replicas = 1 + dice.roll(3);
                "replicas"
            }
            1 => {
                self.port = 1 - self.port;
                "port"
            }
            2 => {
                self.is_joined = !self.is_joined;
                "network"
            }
            3 => {
                self.has_volume = !self.has_volume;
                "volume"
            }
            _ => "version",
        }
    }

    /// One that is started first, several of a kind, and one that must not run twice.
    fn compose(&self, ports: &[Port; 2]) -> String {
        let health = "{test: [CMD, wget, -qO-, 'http://127.0.0.1/'], interval: 300ms, timeout: 5s, retries: 20}";
        let serve = "mkdir -p /www; cat /version >/www/index.html; exec httpd -f -p 80 -h /www";
        let networks = if self.is_joined { "[default, second]" } else { "[default]" };
        let volumes = if self.has_volume { "['pairs:/pairs']" } else { "[]" };
        let second = if self.is_joined { "{second: }" } else { "{}" };
        let Self { version, replicas, .. } = self;
        let (name, port) = (ports[0].number(), ports[self.port].number());
        format!(
            "
x-web: &web
  image: IMAGE
  command: sh -c '{serve}'
  environment: {{VERSION: '{version}'}}
  configs: [{{source: version, target: /version}}]
  init: true
  restart: always
  stop_grace_period: 2s
  healthcheck: {health}
  networks: {networks}
services:
  web:
    <<: *web
    container_name: web-{name}
    ports: ['127.0.0.1:{port}:80']
  pair:
    <<: *web
    volumes: {volumes}
    deploy: {{replicas: {replicas}, update_config: {{order: start-first, parallelism: 2}}}}
  single:
    image: IMAGE
    command: [sleep, '100000']
    environment: {{VERSION: '{version}'}}
    stop_signal: SIGKILL
    volumes: ['data:/data']
    deploy: {{update_config: {{monitor: 1s}}}}
volumes: {{data: , pairs: }}
networks: {second}
configs: {{version: {{content: '{version}'}}}}
"
        )
    }
}

struct World<'d> {
    host: Host<'d>,
    ports: [Port; 2],
    dice: Dice,
}

impl World<'_> {
    /// What is there; a sentence when it is not what the file says.
    fn check(&self, wish: &Wish) -> Result<()> {
        let name = self.host.project.name();
        let mut expected: Vec<String> = (1..=wish.replicas).map(|number| format!("{name}-pair-{number}")).collect();
        expected.extend([format!("{name}-single-1"), format!("web-{}", self.ports[0].number())]);
        let found = self.host.project.containers()?;
        ensure!(found == expected, "there are {found:?}");
        for name in &found {
            let container = self.host.docker.inspect(name)?;
            let state = &container["State"];
            ensure!(state["Running"] == true && state["Paused"] == false, "{name} does not run");
            let env = container["Config"]["Env"].to_string();
            ensure!(env.contains(&format!("VERSION={}\"", wish.version)), "{name} has {env}");
            let health = state["Health"]["Status"].as_str().unwrap_or("healthy");
            ensure!(health == "healthy", "{name} is {health}");
            ensure!(container["HostConfig"]["Memory"] == 0, "{name} has a limit of memory");
            let networks = container["NetworkSettings"]["Networks"].as_object().map_or(0, serde_json::Map::len);
            let is_joined = wish.is_joined && !name.contains("-single-");
            ensure!(networks == 1 + usize::from(is_joined), "{name} is on {networks} networks");
        }
        let answer = http::get(self.ports[wish.port].address(), "/")?.success()?.text();
        ensure!(answer.trim() == wish.version.to_string(), "the port answers {answer:?}");
        Ok(())
    }

    /// Does something bad; says what.
    fn harm(&mut self, engine: &mut OwnEngine) -> Result<String> {
        let all = self.host.project.containers()?;
        let victim = all.get(self.dice.roll(all.len().max(1))).cloned().unwrap_or_default();
        let docker = |arguments: &[&str]| {
            // It may be gone by itself just now.
            let _ = self.host.docker.docker(arguments);
        };
        Ok(match self.dice.roll(13) {
            0 => {
                self.host.agent.kill9()?;
                self.host.agent.start_again()?;
                "the agent was killed".into()
            }
            1 => {
                engine.kill9()?;
                engine.start_again()?;
                "the engine was killed".into()
            }
            2 => {
                engine.stop()?;
                engine.start_again()?;
                "the engine was restarted".into()
            }
            3 => {
                engine.signal(Signal::SIGSTOP)?;
                thread::sleep(Duration::from_secs(3));
                engine.signal(Signal::SIGCONT)?;
                "the engine was stopped for 3 s".into()
            }
            4 => {
                self.kill_ports()?;
                "the process that holds the ports was killed".into()
            }
            5 => {
                docker(&["kill", &victim]);
                format!("{victim} was killed")
            }
            6 => {
                let id = self.host.docker.docker(&["inspect", "--format", "{{.Id}}", &victim]).unwrap_or_default();
                let is_shim = |words: &[&[u8]]| !id.is_empty() && words.contains(&id.as_bytes());
                kill_processes(|words| words.contains(&&b"-id"[..]) && is_shim(words))?;
                format!("the shim of {victim} was killed")
            }
            7 => {
                docker(&["rm", "--force", &victim]);
                format!("{victim} was removed")
            }
            8 => {
                docker(&["rename", &victim, &format!("{victim}-by-hand")]);
                format!("{victim} was renamed")
            }
            9 => {
                docker(&["pause", &victim]);
                format!("{victim} was paused")
            }
            10 => {
                let network = format!("{}_default", self.host.project.name());
                docker(&["network", "disconnect", "--force", &network, &victim]);
                format!("{victim} was taken from its network")
            }
            11 => {
                docker(&["stop", "--time", "1", &victim]);
                format!("{victim} was stopped")
            }
            _ => {
                docker(&["update", "--memory", "64m", "--memory-swap", "128m", &victim]);
                format!("{victim} was edited")
            }
        })
    }

    /// The process is found by its lock, so that no other test's is hit.
    fn kill_ports(&self) -> Result<()> {
        let folder = self.host.agent.socket().parent().context("no folder")?.to_owned();
        let folder = folder.as_os_str().as_encoded_bytes();
        let killed = kill_processes(|words| words.get(1) == Some(&&b"ports"[..]) && words.contains(&folder))?;
        ensure!(killed > 0, "no process holds ports");
        Ok(())
    }
}

/// SIGKILL for the processes whose arguments are such; how many there were.
fn kill_processes(is_one: impl Fn(&[&[u8]]) -> bool) -> Result<usize> {
    let mut killed = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        if let Ok(pid) = entry.file_name().to_string_lossy().parse()
            && is_one(&words)
            && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
        {
            killed += 1;
        }
    }
    Ok(killed)
}

#[test]
fn whatever_is_killed_during_updates_the_files_state_holds_within_30_seconds() -> Result<()> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or(1);
    // A longer run is for whoever looks for more.
    let most = number("SECONDS").map_or(MOST, Duration::from_secs);
    let mut engine = OwnEngine::with_network()?;
    if seed.is_multiple_of(2) {
        engine.set_live_restore();
        engine.stop()?;
        engine.start_again()?;
    }
    let docker = Docker::at(&engine.socket());
    let ports = [Port::reserve()?, Port::reserve()?];
    let mut wish = Wish { replicas: 2, ..Wish::default() };
    let host = Host::start(&docker, "kills", &wish.compose(&ports))?;
    let mut world = World { host, ports, dice: Dice(seed) };
    world.host.agent.wait_ready(LIMIT)?;
    eventually("the first state", LIMIT, || world.check(&wish))?;
    let (began, mut done) = (Instant::now(), 0);
    while (done < ROUNDS || number("SECONDS").is_some()) && began.elapsed() < most {
        done += 1;
        let changed = wish.change(&mut world.dice);
        world.host.write(&wish.compose(&world.ports))?;
        thread::sleep(Duration::from_millis(world.dice.roll(3000) as u64));
        let harm = world.harm(&mut engine)?;
        let since = Instant::now();
        eventually("the file's state", HOLDS, || world.check(&wish)).with_context(|| {
            let status = world.host.agent.status().unwrap_or(Value::Null);
            let output = world.host.agent.output();
            format!("seed {seed}, round {done}, {changed} changed, {harm}; status {status}\n{output}")
        })?;
        println!("round {done}: {changed} changed, {harm}, {:.1} s", since.elapsed().as_secs_f32());
    }
    ensure!(done >= 4, "{done} rounds in {:?}", began.elapsed());
    Ok(())
}
