use super::attached::{Attached, Counted};
use super::table::{Target, Targets};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// A client that is silent for this long is forgotten; the kernel's own tracking forgets after 30 to 120 s.
const SILENCE: Duration = Duration::from_secs(60);
/// Clients of one port at the same time; beyond it the most silent one is forgotten.
const MOST: usize = 4096;
const LARGEST: usize = 65_535;

/// What a client sends goes to one container, through a socket of its own by which answers come back.
struct Flow {
    target: Target,
    socket: Arc<UdpSocket>,
    answers: JoinHandle<()>,
    last: Instant,
    _counted: Counted,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

/// Forwards datagrams. While there is no target they are lost, as datagrams may be.
pub async fn serve(socket: UdpSocket, mut targets: Targets, attached: Attached) {
    let socket = Arc::new(socket);
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let (mut buffer, mut turn) = (vec![0; LARGEST], 0_usize);
    let mut ticks = tokio::time::interval(SILENCE / 4);
    loop {
        // Each arm only waits, so each is cancel-safe.
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            changed = targets.changed() => {
                if changed.is_err() {
                    return;
                }
                let current = targets.borrow_and_update().clone();
                flows.retain(|_, flow| current.contains(&flow.target));
                continue;
            }
            _ = ticks.tick() => {
                flows.retain(|_, flow| flow.last.elapsed() < SILENCE);
                continue;
            }
        };
        // An error is an answer to an earlier datagram, such as "port unreachable".
        let Ok((count, client)) = received else { continue };
        if !flows.contains_key(&client) {
            turn = turn.wrapping_add(1);
            make_room(&mut flows);
            let target = choose(&targets.borrow(), turn);
            match flow(&socket, client, target, &attached).await {
                Some(flow) => drop(flows.insert(client, flow)),
                None => continue,
            }
        }
        if let Some(flow) = flows.get_mut(&client) {
            flow.last = Instant::now();
            let _ = flow.socket.send(&buffer[..count]).await;
        }
    }
}

fn choose(targets: &[Target], turn: usize) -> Option<Target> {
    let active: Vec<&Target> = targets.iter().filter(|target| !target.draining).collect();
    active.get(turn % active.len().max(1)).map(|target| (*target).clone())
}

fn make_room(flows: &mut HashMap<SocketAddr, Flow>) {
    if flows.len() < MOST {
        return;
    }
    if let Some(silent) = flows.iter().min_by_key(|(_, flow)| flow.last).map(|(client, _)| *client) {
        flows.remove(&silent);
    }
}

async fn flow(
    outside: &Arc<UdpSocket>,
    client: SocketAddr,
    target: Option<Target>,
    attached: &Attached,
) -> Option<Flow> {
    let target = target?;
    let socket = Arc::new(connected(target.address).await.ok()?);
    let (inside, outside) = (socket.clone(), outside.clone());
    let answers = tokio::spawn(async move {
        let mut buffer = vec![0; LARGEST];
        loop {
            match inside.recv(&mut buffer).await {
                Ok(count) => drop(outside.send_to(&buffer[..count], client).await),
                // The container's port is closed just now.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let counted = attached.count(&target.id);
    Some(Flow { target, socket, answers, last: Instant::now(), _counted: counted })
}

async fn connected(target: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr =
        if target.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(target).await?;
    Ok(socket)
}
