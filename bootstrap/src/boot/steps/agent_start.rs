use super::agent_install::{PROGRAM, UNIT, systemctl};
use super::{Action, Context, Failure, Outcome};
use crate::boot::console::Console;
use hostwright_core::local_api::{self, SOCKET};
use hostwright_core::status::{AgentStatus, Status};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(200);
/// Who looks at the console sees what it waits for.
const TELL: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(5);
const NO_SYSTEMD: &str =
    "systemd does not run here; start hostwright-agent run by hand, or by what starts services here";

/// The agent, now and at each boot.
#[derive(Serialize)]
pub struct StartAgent {}

impl Action for StartAgent {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        if !context.host.path(PROGRAM).is_file() {
            return Err(Failure::new(
                format!("there is no {PROGRAM}"),
                "install the package hostwright into the image, or name the program in the user-data: hostwright: {agent: {from: /path}}",
            ));
        }
        if !context.host.has_systemd() {
            return Ok(Outcome::Skipped(NO_SYSTEMD.into()));
        }
        systemctl(context, "agent start", &["enable", UNIT])?;
        // One that failed before its configuration came is not left in that state.
        systemctl(context, "agent start", &["reset-failed", UNIT])?;
        systemctl(context, "agent start", &["start", UNIT]).map_err(|failure| {
            Failure::new(failure.why, format!("journalctl -u {UNIT} says why; the next boot tries again"))
        })?;
        Ok(Outcome::Done)
    }
}

/// Every duty of the agent has been ok once.
#[derive(Serialize)]
pub struct WaitForAgent {
    patience: Duration,
}

impl WaitForAgent {
    pub fn new(patience: Duration) -> Self {
        Self { patience }
    }
}

impl Action for WaitForAgent {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let socket = context.host.path(SOCKET);
        if !context.host.has_systemd() && !socket.exists() {
            return Ok(Outcome::Skipped(NO_SYSTEMD.into()));
        }
        let console = Console::new(context.host);
        let tell = |waits_for: &str| console.line(&format!("agent ready      waits   {waits_for}"));
        wait(&socket, self.patience, tell)?;
        Ok(Outcome::Done)
    }
}

fn wait(socket: &Path, patience: Duration, tell: impl Fn(&str)) -> Result<(), Failure> {
    let started = Instant::now();
    let mut told = started;
    loop {
        if local_api::get(socket, "/readyz", ANSWER).is_ok_and(|answer| answer.code == 200) {
            return Ok(());
        }
        if started.elapsed() >= patience {
            let waits_for = waits_for(socket);
            return Err(Failure::new(
                format!("the agent is not ready after {} s: {waits_for}", patience.as_secs()),
                "hostwright-agent status shows every duty; journalctl -u hostwright-agent says more",
            ));
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            tell(&waits_for(socket));
        }
        std::thread::sleep(LOOK);
    }
}

/// The duties that are not ok, each with its reason.
fn waits_for(socket: &Path) -> String {
    let answer = local_api::get(socket, "/v1/status", ANSWER);
    let status = answer.and_then(|answer| Ok(serde_json::from_str::<AgentStatus>(&answer.body)?));
    let duties = match status {
        Err(error) => return format!("the agent does not answer on {SOCKET}: {error}"),
        Ok(status) => status.duties,
    };
    let unwell = duties.iter().filter(|(_, duty)| !matches!(duty.status, Status::Ok { .. }));
    let told = unwell.map(|(name, duty)| match duty.status.explanation() {
        "" => format!("{name} is {}", duty.status.name()),
        why => format!("{name} is {}: {why}", duty.status.name()),
    });
    told.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::wait;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    /// An agent's socket that is not ready for `refusals` requests.
    fn agent(folder: &Path, mut refusals: usize) -> PathBuf {
        let path = folder.join("agent.sock");
        let listener = UnixListener::bind(&path).expect("socket");
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = vec![0; 1024];
                let length = stream.read(&mut request).expect("request");
                let is_status = request[..length].starts_with(b"GET /v1/status");
                let body = if is_status {
                    r#"{"version":"1","host":"h","started":"2026-01-01T00:00:00Z","ready":false,"duties":{
                      "logs":{"state":"ok","summary":"fine","since":"2026-01-01T00:00:00Z","restarts":0},
                      "containers":{"state":"degraded","why":"the engine is down","since":"2026-01-01T00:00:00Z","restarts":0}}}"#
                } else {
                    ""
                };
                let status = if is_status || refusals == 0 { "200 OK" } else { "503 Service Unavailable" };
                refusals = refusals.saturating_sub(1);
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).expect("answered");
            }
        });
        path
    }

    #[test]
    fn it_waits_until_the_agent_is_ready() {
        let folder = tempfile::tempdir().expect("temporary folder");
        wait(&agent(folder.path(), 2), Duration::from_secs(60), |_| ()).expect("ready");
    }

    #[test]
    fn after_its_patience_it_names_the_duties_that_are_not_ready() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let failure = wait(&agent(folder.path(), usize::MAX), Duration::ZERO, |_| ()).expect_err("not ready");
        assert_eq!(failure.why, "the agent is not ready after 0 s: containers is degraded: the engine is down");
        let failure = wait(&folder.path().join("none"), Duration::ZERO, |_| ()).expect_err("not there");
        assert!(failure.why.contains("does not answer"), "{failure:?}");
    }
}
