use super::attached::Attached;
use super::relay::{End, relay};
use super::table::{Target, Targets};
use hostwright_duty::refusals::Refusals;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long a client waits for a container to take its connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// For one attempt; a container on the same host answers in microseconds.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Between two attempts: a server that is starting should not be noticed late.
const PAUSE: Duration = Duration::from_millis(25);
/// Connections of one port at the same time; each takes two descriptors.
const MOST: usize = 20_000;

/// Takes connections for as long as there is a target; else they wait in the socket's queue.
pub async fn serve(listener: TcpListener, mut targets: Targets, attached: Attached, places: Arc<Semaphore>) {
    let (slots, turn) = (Arc::new(Semaphore::new(MOST)), Arc::new(AtomicUsize::new(0)));
    let name = listener.local_addr().map_or_else(|_| "ports".to_owned(), |address| format!("port {address}"));
    let mut refusals = Refusals::of(name);
    loop {
        // The sender goes when the port is closed.
        if targets.wait_for(|targets| has_active(targets)).await.is_err() {
            return;
        }
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = targets.changed() => if changed.is_ok() { continue } else { return },
        };
        match accepted {
            Ok((client, _)) => {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let carrier = Carrier { targets: targets.clone(), attached: attached.clone(), turn: turn.clone() };
                tokio::spawn(async move {
                    carrier.carry(client, Vec::new()).await;
                    drop((slot, place));
                });
            }
            Err(error) => refusals.wait_after(&error).await,
        }
    }
}

/// Carries on a client whose connection somebody else began; `read` has been read from it.
pub async fn carry_on(client: TcpStream, read: Vec<u8>, targets: Targets, attached: Attached) {
    Carrier { targets, attached, turn: Arc::default() }.carry(client, read).await;
}

fn has_active(targets: &[Target]) -> bool {
    targets.iter().any(|target| !target.draining)
}

struct Carrier {
    targets: Targets,
    attached: Attached,
    turn: Arc<AtomicUsize>,
}

impl Carrier {
    /// Carries a client from container to container until it ends; `pending` was read from it already.
    async fn carry(mut self, mut client: TcpStream, mut pending: Vec<u8>) {
        loop {
            let Some((target, upstream)) = self.connect().await else { return };
            let counted = self.attached.count(&target.id);
            if self.targets.borrow().iter().any(|other| other.draining && other.id == target.id) {
                counted.leave();
            }
            match relay(&mut client, upstream, pending, counted.is_to_leave()).await {
                End::Closed => return,
                End::Leave(request) => pending = request,
            }
            drop(counted);
            // A silent client is connected again when it speaks.
            if pending.is_empty() && (client.readable().await.is_err() || has_ended(&client)) {
                return;
            }
        }
    }

    /// A connection to one of the containers; none when no one takes it in time.
    async fn connect(&mut self) -> Option<(Target, TcpStream)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for target in self.candidates() {
                let attempt = tokio::time::timeout(ATTEMPT, TcpStream::connect(target.address)).await;
                match attempt {
                    // Nothing waits for more to send.
                    Ok(Ok(stream)) if stream.set_nodelay(true).is_ok() => return Some((target, stream)),
                    Ok(Ok(_) | Err(_)) | Err(_) => {}
                }
            }
            if Instant::now() > deadline {
                return None;
            }
            tokio::select! {
                changed = self.targets.changed() => changed.ok()?,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Those that take connections, each in its turn the first.
    fn candidates(&mut self) -> Vec<Target> {
        let targets = self.targets.borrow_and_update();
        let mut active: Vec<Target> = targets.iter().filter(|target| !target.draining).cloned().collect();
        if active.len() > 1 {
            let first = self.turn.fetch_add(1, Relaxed) % active.len();
            active.rotate_left(first);
        }
        active
    }
}

fn has_ended(client: &TcpStream) -> bool {
    use nix::sys::socket::{MsgFlags, recv};
    use std::os::fd::AsRawFd as _;
    // An error other than "not yet" is an end too, and shows at the next read.
    matches!(recv(client.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT), Ok(0))
}
