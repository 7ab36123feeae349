use super::engine::compose_labels;
use serde::Deserialize;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};

/// Podman's own name for where its service is: `unix:///path`.
const VARIABLE: &str = "CONTAINER_HOST";
/// The oldest version of Docker's API that a Podman of today speaks.
const REQUEST: &[u8] = b"GET /v1.40/containers/json?all=1 HTTP/1.0\r\nHost: podman\r\n\r\n";
/// A service that is started by its socket takes a moment.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before a service that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(60);
/// Some kilobytes for each container.
const MOST: u64 = 32 << 20;

type Known = HashMap<OsString, Vec<(&'static str, String)>>;

/// Compose's labels of Podman's containers, which only its service tells. It is asked once for a new container, in the
/// background; until it answers, and where there is none, containers have no such labels.
pub struct Labels {
    socket: PathBuf,
    known: Known,
    answer: Option<Receiver<Known>>,
    asked: Option<Instant>,
}

/// One of the service's list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
}

impl Labels {
    /// Those of the service of this storage's owner.
    pub fn new(storage: &Path) -> Self {
        let named = std::env::var(VARIABLE).ok().and_then(|name| Some(name.strip_prefix("unix://")?.into()));
        let of_owner = || match fs::metadata(storage).map_or(0, |folder| folder.uid()) {
            0 => "/run/podman/podman.sock".into(),
            user => format!("/run/user/{user}/podman/podman.sock").into(),
        };
        Self { socket: named.unwrap_or_else(of_owner), known: HashMap::new(), answer: None, asked: None }
    }

    /// Those of a container; none where they are not known.
    pub fn of(&self, id: &OsStr) -> Vec<(&'static str, String)> {
        self.known.get(id).cloned().unwrap_or_default()
    }

    /// Asks for those of containers that are not known, and takes an answer: true where there is one.
    pub fn refresh<'i>(&mut self, all: impl Iterator<Item = &'i OsString>) -> bool {
        let answered = match self.answer.as_ref().map(Receiver::try_recv) {
            Some(Ok(known)) => {
                self.known = known;
                self.answer = None;
                true
            }
            Some(Err(TryRecvError::Empty)) => return false,
            Some(Err(TryRecvError::Disconnected)) => {
                self.answer = None;
                false
            }
            None => false,
        };
        let rests = self.asked.is_some_and(|at| at.elapsed() < PAUSE);
        if rests {
            return answered;
        }
        let unknown: Vec<_> = all.filter(|id| !self.known.contains_key(*id)).cloned().collect();
        if !unknown.is_empty() && self.socket.exists() {
            self.ask(unknown);
        }
        answered
    }

    fn ask(&mut self, unknown: Vec<OsString>) {
        let (socket, (reply, answer)) = (self.socket.clone(), mpsc::channel());
        let work = move || match list(&socket) {
            Ok(mut known) => {
                // What is no container of Podman's, such as an image that is built, has none.
                for id in unknown {
                    known.entry(id).or_default();
                }
                // Nobody waits for it where the duty has ended meanwhile.
                let _ = reply.send(known);
            }
            Err(error) => log::info!("metrics: {} does not tell containers' labels: {error}", socket.display()),
        };
        self.asked = Some(Instant::now());
        self.answer = std::thread::Builder::new().name("podman".into()).spawn(work).is_ok().then_some(answer);
    }
}

fn list(socket: &Path) -> io::Result<Known> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::other("the answer is not understood"))
}

/// The head ends with an empty line; a service of HTTP/1.0 ends the body by closing.
fn parse(answer: &[u8]) -> Option<Known> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
    let is_ok = answer[..end].split(|byte| *byte == b' ').nth(1) == Some(b"200");
    let listed: Vec<Listed> = serde_json::from_slice(answer.get(end + 4..).filter(|_| is_ok)?).ok()?;
    let labels = |Listed { id, labels }| {
        let given = labels.unwrap_or_default();
        (OsString::from(id), compose_labels(|name| given.get(name).map(String::as_str)))
    };
    Some(listed.into_iter().map(labels).collect())
}

#[cfg(test)]
mod tests {
    use super::{Labels, parse};
    use std::ffi::OsStr;

    #[test]
    fn an_answer_is_understood_whole_or_not_at_all() {
        let body = r#"[{"Id":"abc","Labels":{"com.docker.compose.service":"web","x":"y"}},{"Id":"d","Labels":null}]"#;
        let answer = format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
        let known = parse(answer.as_bytes()).expect("understood");
        assert_eq!(known[OsStr::new("abc")], [("container_label_com_docker_compose_service", "web".to_owned())]);
        assert_eq!(known[OsStr::new("d")], []);
        for length in 0..answer.len() {
            assert!(parse(&answer.as_bytes()[..length]).is_none(), "{length}");
        }
        assert!(parse(answer.replace("200 OK", "500 No").as_bytes()).is_none());
    }

    #[test]
    fn where_no_service_is_nobody_is_asked() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut labels = Labels::new(folder.path());
        labels.socket = folder.path().join("none.sock");
        assert!(!labels.refresh([&"abc".into()].into_iter()) && labels.answer.is_none());
        assert_eq!(labels.of(OsStr::new("abc")), []);
    }
}
