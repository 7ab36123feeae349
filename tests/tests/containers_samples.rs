//! Applications as people know them, rebuilt on a busybox: a voting app, a blog behind a proxy, metrics with a dashboard,
//! a search pipeline, what runs at home. All of them in one project that includes their files.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hostwright_tests::container_host::{Host, LIMIT};
use hostwright_tests::engines::{Docker, OwnEngine};
use hostwright_tests::port::Port;
use hostwright_tests::process::binary;
use hostwright_tests::wait::eventually;
use serde_json::Value;

/// Within this time after something happened the file's state must hold.
const HOLDS: Duration = Duration::from_secs(30);
const PORTS: [&str; 9] = [
    "VOTE_PORT",
    "RESULT_PORT",
    "BLOG_PORT",
    "PROMETHEUS_PORT",
    "GRAFANA_PORT",
    "LOGSTASH_PORT",
    "MINECRAFT_PORT",
    "NEXTCLOUD_PORT",
    "GITEA_PORT",
];
/// They wait, and listen on nothing.
const SILENT: [&str; 2] = ["logstash", "minecraft"];

struct Site<'d> {
    host: Host<'d>,
    ports: Vec<Port>,
}

impl<'d> Site<'d> {
    fn start(docker: &'d Docker) -> Result<Self> {
        let ports = PORTS.iter().map(|_| Port::reserve()).collect::<Result<Vec<_>>>()?;
        // The files come before the one that includes them.
        let host = Host::start(docker, "samples", "services: {}\n")?;
        let (samples, folder) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/samples"), host.folder.path());
        for entry in fs::read_dir(samples)? {
            let entry = entry?;
            if entry.file_name() != "compose.yaml" {
                fs::copy(entry.path(), folder.join(entry.file_name()))?;
            }
        }
        fs::write(folder.join("blog.env"), "# of the blog\nWORDPRESS_TABLE_PREFIX=wp_\nexport WORDPRESS_DEBUG='0'\n")?;
        fs::write(folder.join("db_password.txt"), "secret\n")?;
        for name in ["healthchecks", "provisioning", "minecraft", "gitea"] {
            fs::create_dir(folder.join(name))?;
        }
        let check = folder.join("healthchecks/redis.sh");
        fs::write(&check, "#!/bin/sh\ntest -e /tmp/lock\n")?;
        fs::set_permissions(&check, fs::Permissions::from_mode(0o755))?;
        let site = Self { host, ports };
        site.set_version("1")?;
        let compose = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/samples/compose.yaml"))?;
        site.host.write(&compose)?;
        Ok(site)
    }

    /// All of the applications read it from the project's `.env`.
    fn set_version(&self, version: &str) -> Result<()> {
        let mut text = format!("BUSYBOX={}\nVERSION={version}\n", self.host.image);
        for (name, port) in PORTS.iter().zip(&self.ports) {
            text.push_str(&format!("{name}={}\n", port.number()));
        }
        let folder = self.host.folder.path();
        fs::write(folder.join("new.env"), text)?;
        Ok(fs::rename(folder.join("new.env"), folder.join(".env"))?)
    }

    /// What the files say, as the agent prints it.
    fn model(&self) -> Result<Value> {
        let mut command = Command::new(binary("hostwright-agent")?);
        command.args(["compose", "config", "compose.yaml"]).current_dir(self.host.folder.path());
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// What is there; a sentence where it is not what the model says.
    fn check(&self, model: &Value, version: &str) -> Result<()> {
        let project = self.host.project.name();
        let mut expected = BTreeSet::new();
        for (service, wish) in model["services"].as_object().context("services")? {
            let replicas = wish["deploy"]["replicas"].as_u64().unwrap_or(1);
            for number in 1..=replicas {
                let name =
                    wish["container_name"].as_str().map_or(format!("{project}-{service}-{number}"), str::to_owned);
                self.check_container(&name, service, wish, version)?;
                expected.insert(name);
            }
            for port in wish["ports"].as_array().into_iter().flatten() {
                let number = port["published"].as_str().unwrap_or_default();
                if port["protocol"] == "tcp" && !SILENT.contains(&service.as_str()) {
                    TcpStream::connect(format!("127.0.0.1:{number}")).with_context(|| format!("{service}:{number}"))?;
                }
            }
        }
        let found: BTreeSet<String> = self.host.project.containers()?.into_iter().collect();
        ensure!(found == expected, "there are {found:?}");
        Ok(())
    }

    fn check_container(&self, name: &str, service: &str, wish: &Value, version: &str) -> Result<()> {
        let container = self.host.docker.inspect(name)?;
        let state = &container["State"];
        if service == "migrate" {
            ensure!(state["ExitCode"] == 0 && state["Status"] == "exited", "{name} is {state}");
            return Ok(());
        }
        ensure!(state["Running"] == true, "{name} is {state}");
        ensure!(wish["healthcheck"].is_null() || state["Health"]["Status"] == "healthy", "{name} is {state}");
        let env = container["Config"]["Env"].to_string();
        ensure!(env.contains(&format!("\"VERSION={version}\"")), "{name} has {env}");
        let networks = |of: &Value| of.as_object().map_or(0, serde_json::Map::len);
        ensure!(
            networks(&container["NetworkSettings"]["Networks"]) == networks(&wish["networks"]),
            "{name}'s networks"
        );
        let mounts = container["Mounts"].to_string();
        for volume in wish["volumes"].as_array().into_iter().flatten() {
            let target = volume["target"].as_str().unwrap_or_default();
            ensure!(mounts.contains(&format!("\"{target}\"")), "{name} lacks {target}: {mounts}");
        }
        Ok(())
    }

    fn wait(&self, what: &str, version: &str) -> Result<()> {
        let (model, since) = (self.model()?, Instant::now());
        eventually(what, LIMIT, || self.check(&model, version)).with_context(|| self.host.agent.output())?;
        println!("{what}: {:.1} s", since.elapsed().as_secs_f32());
        Ok(())
    }
}

#[test]
fn the_applications_start_are_updated_repaired_and_taken_back() -> Result<()> {
    let mut engine = OwnEngine::with_network()?;
    let docker = Docker::at(&engine.socket());
    let mut site = Site::start(&docker)?;
    site.wait("all run", "1")?;
    site.host.agent.wait_ready(LIMIT)?;
    site.set_version("2")?;
    site.wait("all are updated", "2")?;

    let all = site.host.project.containers()?;
    let killed = Instant::now();
    for (index, name) in all.iter().enumerate() {
        match index % 4 {
            0 => drop(docker.docker(&["kill", name])),
            1 => drop(docker.docker(&["rm", "--force", name])),
            _ => {}
        }
    }
    site.wait("half of them were killed or removed", "2")?;
    ensure!(killed.elapsed() < HOLDS, "{:?}", killed.elapsed());
    engine.kill9()?;
    site.host.agent.kill9()?;
    engine.start_again()?;
    site.host.agent.start_again()?;
    site.wait("engine and agent were killed", "2")?;

    site.set_version("bad")?;
    site.host.wait_why("was taken back")?;
    let model = site.model()?;
    eventually("every service goes on", LIMIT, || site.check(&model, "2"))
}
