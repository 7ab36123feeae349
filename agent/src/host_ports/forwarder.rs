use super::attached::Attached;
use super::listening;
use super::table::{Answer, Listen, Protocol, Route, Target, Targets};
use super::{tcp, udp};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// The ports that are held, and their tasks.
#[derive(Debug)]
pub struct Forwarder {
    /// The threads that carry connections.
    workers: Vec<Handle>,
    /// What each owner wants.
    wanted: BTreeMap<String, Vec<Route>>,
    open: BTreeMap<Listen, Port>,
    failed: BTreeMap<String, String>,
    attached: Attached,
    /// For the connections of all ports together: what they take leaves descriptors for sockets and for tables.
    places: Arc<Semaphore>,
    /// Left by an earlier process and not yet asked for.
    left: HashMap<String, OwnedFd>,
}

#[derive(Debug)]
struct Port {
    targets: watch::Sender<Vec<Target>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Port {
    fn drop(&mut self) {
        // Ends the listening; connections have tasks of their own and go on.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Forwarder {
    /// With threads to carry so many connections, and the sockets that an earlier process has left.
    pub fn new(workers: Vec<Handle>, most: usize, left: HashMap<String, OwnedFd>) -> Self {
        let (wanted, open, failed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let places = Arc::new(Semaphore::new(most));
        Self { workers, wanted, open, failed, attached: Attached::default(), places, left }
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
        let draining: Vec<String> =
            wanted.values().flatten().filter(|target| target.draining).map(|target| target.id.clone()).collect();
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
        // After the ports know, so that who is connected just now is either told here or finds out itself.
        draining.iter().for_each(|id| self.attached.leave(id));
    }

    /// What is wanted, for the next process.
    pub fn wanted(&self) -> &BTreeMap<String, Vec<Route>> {
        &self.wanted
    }

    pub fn answer(&self) -> Answer {
        Answer { failed: self.failed.clone(), attached: self.attached.counts() }
    }

    /// Carries on a connection to one of the ports, from which `read` was read already.
    pub fn take(&mut self, connection: std::net::TcpStream, read: Vec<u8>) -> io::Result<()> {
        let address = connection.local_addr()?;
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
        let port =
            [address, any].into_iter().find_map(|address| self.open.get(&Listen { protocol: Protocol::Tcp, address }));
        let port = port.ok_or_else(|| io::Error::other(format!("{address} is not held")))?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(io::Error::other)?;
        let (targets, attached) = (port.targets.subscribe(), self.attached.clone());
        connection.set_nonblocking(true)?;
        connection.set_nodelay(true)?;
        self.workers.rotate_left(1);
        let worker = self.workers.first().ok_or_else(|| io::Error::other("there is no thread"))?;
        worker.spawn(async move {
            match tokio::net::TcpStream::from_std(connection) {
                Ok(client) => tcp::carry_on(client, read, targets, attached).await,
                Err(error) => log::warn!("a moved connection cannot be carried on: {error}"),
            }
            drop(place);
        });
        Ok(())
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
        let tasks = match listen.protocol {
            Protocol::Tcp => self.carry_tcp(&TcpListener::from(socket), &receiver)?,
            Protocol::Udp => {
                let socket = std::net::UdpSocket::from(socket);
                socket.set_nonblocking(true)?;
                let socket = tokio::net::UdpSocket::from_std(socket)?;
                vec![tokio::spawn(udp::serve(socket, receiver, self.attached.clone()))]
            }
        };
        log::info!("{listen} is held");
        Ok(Port { targets: sender, tasks })
    }

    /// Each thread takes connections from the same queue and keeps those that it took.
    fn carry_tcp(&self, listener: &TcpListener, targets: &Targets) -> io::Result<Vec<JoinHandle<()>>> {
        listener.set_nonblocking(true)?;
        let carry = |worker: &Handle| {
            let (listener, targets) = (listener.try_clone()?, targets.clone());
            let (attached, places) = (self.attached.clone(), self.places.clone());
            Ok(worker.spawn(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => tcp::serve(listener, targets, attached, places).await,
                    Err(error) => log::error!("cannot take connections: {error}"),
                }
            }))
        };
        self.workers.iter().map(carry).collect()
    }
}
