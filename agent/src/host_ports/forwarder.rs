use super::listening;
use super::table::{Answer, Listen, Protocol, Route, Target};
use super::{tcp, udp};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is behind a port, as its connections see it.
pub type Targets = watch::Receiver<Vec<Target>>;

/// The ports that are held, and their tasks.
#[derive(Debug, Default)]
pub struct Forwarder {
    /// What each owner wants.
    wanted: BTreeMap<String, Vec<Route>>,
    open: BTreeMap<Listen, Port>,
    failed: BTreeMap<String, String>,
    attached: Attached,
    /// Left by an earlier process and not yet asked for.
    left: HashMap<String, OwnedFd>,
}

#[derive(Debug)]
struct Port {
    targets: watch::Sender<Vec<Target>>,
    task: JoinHandle<()>,
}

impl Drop for Port {
    fn drop(&mut self) {
        // Ends the listening; connections have tasks of their own and go on.
        self.task.abort();
    }
}

impl Forwarder {
    /// With the sockets that an earlier process has left.
    pub fn new(left: HashMap<String, OwnedFd>) -> Self {
        Self { left, ..Self::default() }
    }

    /// Makes these the routes of an owner.
    pub fn set(&mut self, owner: String, routes: Vec<Route>) {
        if routes.is_empty() {
            self.wanted.remove(&owner);
        } else {
            self.wanted.insert(owner, routes);
        }
        let wanted: BTreeMap<Listen, Vec<Target>> =
            self.wanted.values().flatten().map(|route| (route.listen, route.targets.clone())).collect();
        self.open.retain(|listen, _| {
            let stays = wanted.contains_key(listen);
            if !stays {
                log::info!("{listen} is let go");
                listening::forget_at_systemd(listen);
            }
            stays
        });
        self.failed.clear();
        for (listen, targets) in wanted {
            if let Some(port) = self.open.get(&listen) {
                port.targets.send_if_modified(|current| {
                    let changed = *current != targets;
                    *current = targets;
                    changed
                });
            } else {
                match self.open(&listen, targets) {
                    Ok(port) => drop(self.open.insert(listen, port)),
                    Err(error) => drop(self.failed.insert(listen.to_string(), listening::explain(&listen, &error))),
                }
            }
        }
    }

    /// What is wanted, for the next process.
    pub fn wanted(&self) -> &BTreeMap<String, Vec<Route>> {
        &self.wanted
    }

    pub fn answer(&self) -> Answer {
        Answer { failed: self.failed.clone(), attached: self.attached.counts() }
    }

    fn open(&mut self, listen: &Listen, targets: Vec<Target>) -> io::Result<Port> {
        let socket = match self.left.remove(&listening::stored_name(listen)) {
            Some(socket) => socket,
            None => {
                let socket = listening::open(listen)?;
                listening::leave_with_systemd(listen, &socket);
                socket
            }
        };
        let (sender, receiver) = watch::channel(targets);
        let attached = self.attached.clone();
        let task = match listen.protocol {
            Protocol::Tcp => {
                let listener = TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                tokio::spawn(tcp::serve(tokio::net::TcpListener::from_std(listener)?, receiver, attached))
            }
            Protocol::Udp => {
                let socket = std::net::UdpSocket::from(socket);
                socket.set_nonblocking(true)?;
                tokio::spawn(udp::serve(tokio::net::UdpSocket::from_std(socket)?, receiver, attached))
            }
        };
        log::info!("{listen} is held");
        Ok(Port { targets: sender, task })
    }
}

/// How many connections each container carries.
#[derive(Clone, Debug, Default)]
pub struct Attached(Arc<Mutex<BTreeMap<String, usize>>>);

/// One of them, for as long as it lives.
#[derive(Debug)]
pub struct Counted {
    attached: Attached,
    id: String,
}

impl Attached {
    pub fn count(&self, id: &str) -> Counted {
        *self.lock().entry(id.to_owned()).or_default() += 1;
        Counted { attached: self.clone(), id: id.to_owned() }
    }

    fn counts(&self) -> BTreeMap<String, usize> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.attached.lock();
        if let Some(count) = counts.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.id);
            }
        }
    }
}
