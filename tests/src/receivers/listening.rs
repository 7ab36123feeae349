//! Connections, accepted at one port through outages, each served on a thread of its own.

use std::fmt;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

use crate::port::Port;

/// The port stays the same through `stop` and `start_again`.
pub struct Listening {
    port: Port,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

type Serve = dyn Fn(&TcpStream, &AtomicBool) + Send + Sync;

struct Shared {
    serve: Box<Serve>,
    stopped: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Listening {
    /// `serve` has a connection until it returns, and is told when an outage has begun.
    pub fn start(serve: impl Fn(&TcpStream, &AtomicBool) + Send + Sync + 'static) -> Result<Self> {
        let shared = Shared { serve: Box::new(serve), stopped: AtomicBool::new(false), connections: Mutex::default() };
        let mut listening = Self { port: Port::reserve()?, shared: Arc::new(shared), accepting: None };
        listening.start_again()?;
        Ok(listening)
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Ends all connections, as servers do with idle ones.
    pub fn close_connections(&self) {
        for connection in self.shared.connections().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Begins an outage: connections break, the port refuses.
    pub fn stop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address());
        self.close_connections();
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }

    /// Ends the outage.
    pub fn start_again(&mut self) -> Result<()> {
        self.shared.stopped.store(false, Ordering::SeqCst);
        let listener = TcpListener::bind(self.address()).with_context(|| format!("binding {}", self.address()))?;
        let shared = self.shared.clone();
        self.accepting = Some(thread::spawn(move || shared.accept(&listener)));
        Ok(())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for connection in listener.incoming() {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let Ok(connection) = connection else { continue };
            let Ok(kept) = connection.try_clone() else { continue };
            self.connections().push(kept);
            let shared = self.clone();
            thread::spawn(move || {
                (shared.serve)(&connection, &shared.stopped);
                let _ = connection.shutdown(Shutdown::Both);
            });
        }
    }

    fn connections(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
