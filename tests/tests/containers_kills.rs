//! Random kills of containers, engine, agent and the process that holds the ports, during updates: within 30 s what the
//! file says is what runs.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hostwright_tests::container_host::{Host, LIMIT};
use hostwright_tests::engines::{Docker, OwnEngine};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::wait::eventually;
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

/// One that is started first, two of a kind, and one that must not run twice.
fn compose(port: &Port, version: usize) -> String {
    let health = "{test: [CMD, wget, -qO-, 'http://127.0.0.1/'], interval: 300ms, timeout: 5s, retries: 20}";
    format!(
        "
x-web: &web
  image: IMAGE
  command: sh -c 'mkdir -p /www; echo $$VERSION >/www/index.html; exec httpd -f -p 80 -h /www'
  environment: {{VERSION: '{version}'}}
  init: true
  restart: always
  stop_grace_period: 2s
  healthcheck: {health}
services:
  web:
    <<: *web
    container_name: web-{port}
    ports: ['127.0.0.1:{port}:80']
  pair:
    <<: *web
    deploy: {{replicas: 2, update_config: {{order: start-first}}}}
  single:
    image: IMAGE
    command: [sleep, '100000']
    environment: {{VERSION: '{version}'}}
    stop_signal: SIGKILL
    volumes: ['data:/data']
    deploy: {{update_config: {{monitor: 1s}}}}
volumes: {{data: }}
",
        port = port.number()
    )
}

struct World<'d> {
    host: Host<'d>,
    port: Port,
    dice: Dice,
}

impl World<'_> {
    /// What is there; a sentence when it is not what the file says.
    fn check(&self, version: usize) -> Result<()> {
        let mut expected = [1, 2].map(|number| format!("{}-pair-{number}", self.host.project.name())).to_vec();
        expected.extend([format!("{}-single-1", self.host.project.name()), format!("web-{}", self.port.number())]);
        let found = self.host.project.containers()?;
        ensure!(found == expected, "there are {found:?}");
        for name in &found {
            let container = self.host.docker.inspect(name)?;
            ensure!(container["State"]["Running"] == true, "{name} does not run");
            let env = container["Config"]["Env"].to_string();
            ensure!(env.contains(&format!("VERSION={version}\"")), "{name} has {env}");
            let health = container["State"]["Health"]["Status"].as_str().unwrap_or("healthy");
            ensure!(health == "healthy", "{name} is {health}");
            ensure!(container["HostConfig"]["Memory"] == 0, "{name} has a limit of memory");
        }
        let answer = http::get(self.port.address(), "/")?.success()?.text();
        ensure!(answer.trim() == version.to_string(), "the port answers {answer:?}");
        Ok(())
    }

    /// Does something bad; says what.
    fn harm(&mut self, engine: &mut OwnEngine) -> Result<String> {
        let all = self.host.project.containers()?;
        let victim = all.get(self.dice.roll(all.len().max(1))).cloned().unwrap_or_default();
        let docker = |arguments: &[&str]| {
            // It may be gone by itself just now.
            let _ = self.host.docker.docker(&[arguments, &[&victim]].concat());
        };
        Ok(match self.dice.roll(8) {
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
                self.kill_ports()?;
                "the process that holds the ports was killed".into()
            }
            4 => {
                docker(&["kill"]);
                format!("{victim} was killed")
            }
            5 => {
                docker(&["rm", "--force"]);
                format!("{victim} was removed")
            }
            6 => {
                let _ = self.host.docker.docker(&["rename", &victim, &format!("{victim}-by-hand")]);
                format!("{victim} was renamed")
            }
            _ => {
                docker(&["update", "--memory", "64m", "--memory-swap", "128m"]);
                format!("{victim} was edited")
            }
        })
    }

    /// The process is found by its lock, so that no other test's is hit.
    fn kill_ports(&self) -> Result<()> {
        let folder = self.host.agent.socket().parent().context("no folder")?.to_owned();
        for entry in fs::read_dir("/proc")?.flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            if words.get(1) == Some(&&b"ports"[..]) && words.contains(&folder.as_os_str().as_encoded_bytes()) {
                let pid: i32 = entry.file_name().to_string_lossy().parse()?;
                return Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)?);
            }
        }
        bail!("no process holds ports")
    }
}

#[test]
fn whatever_is_killed_during_updates_the_files_state_holds_within_30_seconds() -> Result<()> {
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut engine = OwnEngine::with_network()?;
    if seed.is_multiple_of(2) {
        engine.set_live_restore();
        engine.stop()?;
        engine.start_again()?;
    }
    let docker = Docker::at(&engine.socket());
    let port = Port::reserve()?;
    let host = Host::start(&docker, "kills", &compose(&port, 0))?;
    let mut world = World { host, port, dice: Dice(seed) };
    world.host.agent.wait_ready(LIMIT)?;
    eventually("the first state", LIMIT, || world.check(0))?;
    let (began, mut done) = (Instant::now(), 0);
    while done < ROUNDS && began.elapsed() < MOST {
        done += 1;
        world.host.write(&compose(&world.port, done))?;
        thread::sleep(Duration::from_millis(world.dice.roll(3000) as u64));
        let harm = world.harm(&mut engine)?;
        let since = Instant::now();
        eventually("the file's state", HOLDS, || world.check(done)).with_context(|| {
            let status = world.host.agent.status().unwrap_or(Value::Null);
            format!("seed {seed}, round {done}, {harm}; status {status}\n{}", world.host.agent.output())
        })?;
        println!("round {done}: {harm}, {:.1} s", since.elapsed().as_secs_f32());
    }
    ensure!(done >= 4, "{done} rounds in {:?}", began.elapsed());
    Ok(())
}
