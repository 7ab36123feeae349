//! Moves the persistent connections of clients of other hosts off a container that is to be stopped.
//!
//! In: the containers that are draining. The packet filter hands over what clients send to them on connections that are
//! under way (`queue`). Where a client begins a request of HTTP/1 after an answer (`border`), that packet goes no further:
//! the host takes the connection over as its own (`taken`) and gives it, with the request, to the process that holds the
//! ports, which carries it on to the new container. Out: the client has noticed nothing, and the old container has one
//! idle connection. Nothing survives a restart: without a listener all packets pass as if there were no rule.

/// Where one connection may be moved.
mod border;
/// The packets that the packet filter hands over.
mod queue;
/// What is of interest in a packet.
mod segment;
/// A connection that the host has made its own.
mod taken;

use super::command::iptables;
use super::flows;
use crate::host_ports::moved;
use border::{Borders, Verdict};
use queue::Queue;
use segment::Segment;
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Instant;

/// How the rules are told from others; `packaging/deb/prerm` removes them by this word.
const COMMENT: &str = "hostwright-moves";
const CHAIN: [&str; 4] = ["-w", "3", "-t", "mangle"];

/// Moves connections for as long as containers are draining.
#[derive(Debug)]
pub struct Moving {
    /// Of the packet filter's queue. Several agents on one host keep out of each other's way.
    number: u16,
    /// Where the process that holds the ports takes connections.
    socket: PathBuf,
    leaving: BTreeSet<Ipv4Addr>,
    worker: Option<Worker>,
    /// One that was told to end has the queue for up to a second more.
    ending: Option<JoinHandle<()>>,
    /// Whether what an agent before this one has left is removed.
    is_clean: bool,
}

#[derive(Debug)]
struct Worker {
    is_ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.dismiss();
    }
}

impl Moving {
    /// With the name of the agent's table, and the folder of the process that holds the ports.
    pub fn new(table: &str, folder: &Path) -> Self {
        let fold = |sum: u16, byte: u8| sum.wrapping_mul(31).wrapping_add(byte.into());
        // Programs that people set up take small ones.
        let number = table.bytes().fold(0, fold) | 1 << 15;
        let (socket, leaving) = (folder.join(moved::SOCKET_NAME), BTreeSet::new());
        Self { number, socket, leaving, worker: None, ending: None, is_clean: false }
    }

    /// Moves what these containers have, and nothing of others.
    pub async fn set(&mut self, leaving: BTreeSet<Ipv4Addr>) {
        if self.leaving == leaving && self.is_clean {
            return;
        }
        self.clean().await;
        if leaving.is_empty() {
            self.dismiss();
        } else if let Err(error) = self.begin(&leaving).await {
            log::info!("persistent connections of other hosts' clients stay until they end: {error}");
            self.dismiss();
        }
        self.leaving = leaving;
    }

    /// The one that works goes on: it knows how far the connections are.
    async fn begin(&mut self, leaving: &BTreeSet<Ipv4Addr>) -> Result<(), String> {
        if self.worker.as_ref().is_none_or(|worker| worker.thread.is_finished()) {
            self.dismiss();
            if let Some(ending) = self.ending.take() {
                let _ = tokio::task::spawn_blocking(|| ending.join()).await;
            }
            self.worker = Some(self.hire()?);
        }
        for container in leaving {
            iptables(&words(&rule(*container, self.number))).await?;
        }
        Ok(())
    }

    fn hire(&self) -> Result<Worker, String> {
        let ports = UnixDatagram::unbound().and_then(|ports| ports.connect(&self.socket).map(|()| ports));
        let ports =
            ports.map_err(|error| format!("hostwright-ports takes none ({error}); it may be of an earlier version"))?;
        let queue =
            Queue::open(self.number).map_err(|error| format!("the kernel has no queue for packets: {error}"))?;
        let is_ended = Arc::new(AtomicBool::new(false));
        let told = is_ended.clone();
        let thread = std::thread::Builder::new().name("move".into()).spawn(move || {
            if let Err(error) = work(queue, &ports, &told) {
                log::warn!("persistent connections are no longer moved: {error}");
            }
        });
        Ok(Worker { is_ended, thread: thread.map_err(|error| error.to_string())? })
    }

    fn dismiss(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.is_ended.store(true, Relaxed);
            self.ending = Some(worker.thread);
        }
    }

    /// Removes the rules that are there.
    async fn clean(&mut self) {
        let number = self.number.to_string();
        // A host without the program, or the right to use it, has no rules of ours.
        if let Ok(rules) = iptables(&words(&["-S".into(), "PREROUTING".into()])).await {
            for rule in rules.lines().filter(|rule| rule.contains(COMMENT)) {
                let mut rule: Vec<String> = rule.split_ascii_whitespace().map(str::to_owned).collect();
                if rule.contains(&number) && rule.first().is_some_and(|word| word == "-A") {
                    rule[0] = "-D".into();
                    let _ = iptables(&words(&rule)).await;
                }
            }
        }
        self.is_clean = true;
    }
}

fn words(more: &[String]) -> Vec<&str> {
    CHAIN.into_iter().chain(more.iter().map(String::as_str)).collect()
}

/// What clients send on our connections to a container. While nobody listens all of it passes.
fn rule(container: Ipv4Addr, number: u16) -> Vec<String> {
    let mark = format!("{0:#x}/{0:#x}", super::rules::MARK);
    let rule = format!(
        "-I PREROUTING 1 -p tcp -m connmark --mark {mark} -m conntrack --ctstate ESTABLISHED --ctreplsrc {container} \
         --ctdir ORIGINAL -m comment --comment {COMMENT} -j NFQUEUE --queue-num {number} --queue-bypass"
    );
    rule.split(' ').map(str::to_owned).collect()
}

fn work(mut queue: Queue, ports: &UnixDatagram, is_ended: &AtomicBool) -> io::Result<()> {
    let mut borders = Borders::new(Instant::now());
    while !is_ended.load(Relaxed) {
        for (id, packet) in queue.next()? {
            let verdict = Segment::of(&packet).map_or(Verdict::Pass, |segment| borders.look(&segment));
            let goes_on = match verdict {
                Verdict::Pass => true,
                Verdict::Gone => false,
                Verdict::Border => {
                    let moved = Segment::of(&packet).map_or(Ok(()), |segment| take(&segment, ports));
                    if let Err(error) = &moved {
                        log::debug!("a connection could not be moved: {error}");
                        Segment::of(&packet).iter().for_each(|segment| borders.keep(segment));
                    }
                    moved.is_err()
                }
            };
            queue.decide(id, goes_on)?;
        }
    }
    Ok(())
}

/// Makes the connection the host's own and hands it on. An error comes only while it is still the container's.
fn take(segment: &Segment<'_>, ports: &UnixDatagram) -> io::Result<()> {
    let flow = flows::of_segment(segment.client, segment.host)?;
    let taken = taken::take(segment, &flow.scales)?;
    flows::forget_one(&flow)?;
    // From here on what fails is the client's loss.
    let given = taken::let_go_on(&taken).and_then(|()| moved::give(ports, &taken, segment.payload));
    if let Err(error) = given {
        log::warn!("a connection of {} was lost when it was to be moved: {error}", segment.client);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{COMMENT, rule};

    #[test]
    fn the_package_removes_rules_by_the_word_that_is_in_each() {
        assert!(rule([172, 18, 0, 2].into(), 7).iter().any(|word| word == COMMENT));
        assert!(include_str!("../../../../../packaging/deb/prerm").contains(COMMENT));
    }
}
