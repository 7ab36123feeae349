use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections that a thread serves, for another one to end them when that one hangs.
#[derive(Debug, Default)]
pub struct Connections(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    next: u64,
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    socket: TcpStream,
    /// Whether HTTP/1.1 is spoken without TLS.
    is_plain: bool,
    waits: Arc<AtomicBool>,
}

/// One of them; it is forgotten with this.
#[derive(Debug)]
pub struct Connection {
    all: Arc<Connections>,
    number: u64,
    waits: Arc<AtomicBool>,
}

impl Connections {
    /// Takes in a connection. Without a descriptor for it, it cannot be ended by others, and works all the same.
    pub fn open(self: Arc<Self>, socket: &impl AsFd, is_plain: bool) -> Connection {
        let waits = Arc::<AtomicBool>::default();
        let mut all = self.lock();
        let number = all.next;
        all.next += 1;
        if let Ok(socket) = socket.as_fd().try_clone_to_owned() {
            all.open.insert(number, Open { socket: socket.into(), is_plain, waits: waits.clone() });
        }
        drop(all);
        Connection { all: self, number, waits }
    }

    /// Ends all of them: who waits for an answer is told why, as far as that can be done without the thread that hangs;
    /// the others come again over a new connection.
    pub fn cut_off(&self, why: &str) {
        let text = format!("{why}\n");
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        for open in self.lock().open.values_mut() {
            if open.is_plain && open.waits.load(Ordering::Acquire) {
                // It does not block, and who takes nothing gets nothing.
                let _ = open.socket.write(answer.as_bytes());
            }
            // It may have ended already.
            let _ = open.socket.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// A request has come, of which nothing is answered yet; false when it is.
    pub fn waits(&self, waits: bool) {
        self.waits.store(waits, Ordering::Release);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::Connections;
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    #[test]
    fn who_waits_is_told_why_and_the_others_are_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("address");
        let connections = Arc::<Connections>::default();
        let mut pairs: Vec<_> = [true, true, false]
            .map(|is_plain| {
                let client = TcpStream::connect(address).expect("connected");
                let (server, _) = listener.accept().expect("accepted");
                let kept = connections.clone().open(&server, is_plain);
                (client, server, kept)
            })
            .into();
        pairs[0].2.waits(true);
        pairs[2].2.waits(true);
        connections.cut_off("it hangs");
        let told = pairs.iter_mut().map(|(client, ..)| {
            let mut text = String::new();
            client.read_to_string(&mut text).expect("ended");
            text
        });
        let told: Vec<_> = told.collect();
        assert!(told[0].starts_with("HTTP/1.1 503 ") && told[0].ends_with("\r\n\r\nit hangs\n"), "{told:?}");
        assert_eq!((told[1].as_str(), told[2].as_str()), ("", ""), "idle, and TLS");
        drop(pairs);
        assert!(connections.lock().open.is_empty());
    }
}
