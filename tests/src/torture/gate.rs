use super::lock;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

/// Keeps the agent from being ended while files live in its open descriptors alone.
#[derive(Debug, Default)]
pub struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The agent's process, while it runs.
    agent: Option<i32>,
    holds: usize,
    /// Somebody waits for the holds to end: no new ones.
    closing: bool,
}

/// The agent is not ended before this is dropped.
#[derive(Debug)]
pub struct Hold(Arc<Gate>);

impl Gate {
    pub fn started(&self, agent: i32) {
        lock(&self.0).agent = Some(agent);
    }

    /// Whether the agent may be ended now; then it counts as ended. If not, nothing new hinders it: to be asked again.
    pub fn may_end(&self) -> bool {
        let mut state = lock(&self.0);
        state.closing = state.holds > 0;
        if state.holds == 0 {
            state.agent = None;
        }
        state.holds == 0
    }

    /// Keeps the agent running, if it runs.
    pub fn hold(self: &Arc<Self>) -> Option<Hold> {
        self.hold_if(|_| true)
    }

    /// Keeps the agent running, if it runs and has this file open.
    pub fn hold_with_file(self: &Arc<Self>, file: &File) -> Option<Hold> {
        self.hold_if(|agent| has_open(agent, file))
    }

    /// Keeps the agent running, if it runs and a connection from this address is its own, not one that it left behind
    /// when it was ended.
    pub fn hold_with_connection(self: &Arc<Self>, from: SocketAddr) -> Option<Hold> {
        self.hold_if(|agent| has_connection(agent, from))
    }

    fn hold_if(self: &Arc<Self>, allowed: impl FnOnce(i32) -> bool) -> Option<Hold> {
        let mut state = lock(&self.0);
        if state.closing || !allowed(state.agent?) {
            return None;
        }
        state.holds += 1;
        Some(Hold(self.clone()))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.0.0).holds -= 1;
    }
}

fn has_open(process: i32, file: &File) -> bool {
    let Ok(wanted) = file.metadata() else { return false };
    let Ok(descriptors) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    descriptors
        .filter_map(|entry| entry.ok()?.path().metadata().ok())
        .any(|open| open.ino() == wanted.ino() && open.dev() == wanted.dev())
}

fn has_connection(process: i32, from: SocketAddr) -> bool {
    // proc(5): the local address is the second column, the inode the tenth; both ends of a connection are here.
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = format!(":{:04X}", from.port());
    let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let inode =
        columns.filter(|columns| columns.len() > 9 && columns[1].ends_with(&port)).map(|columns| columns[9].to_owned());
    let sockets: Vec<_> = inode.map(|inode| format!("socket:[{inode}]")).collect();
    let Ok(descriptors) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}
