use super::facts::compose_labels;
use super::podman_answer;
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
    let all = podman_answer::parse(&answer).ok_or_else(|| io::Error::other("the answer is not understood"))?;
    let labels = |(id, given): (String, HashMap<String, String>)| {
        (OsString::from(id), compose_labels(|name| given.get(name).map(String::as_str)))
    };
    Ok(all.into_iter().map(labels).collect())
}

#[cfg(test)]
mod tests {
    use super::Labels;
    use std::ffi::OsStr;

    #[test]
    fn where_no_service_is_nobody_is_asked() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut labels = Labels::new(folder.path());
        labels.socket = folder.path().join("none.sock");
        assert!(!labels.refresh([&"abc".into()].into_iter()) && labels.answer.is_none());
        assert_eq!(labels.of(OsStr::new("abc")), []);
    }
}
