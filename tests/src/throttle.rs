//! What is between a server and its client and lets only so much through.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::port::Port;

const PIECE: usize = 16 << 10;

/// Forwards connections until the test's end.
#[derive(Debug)]
pub struct Throttle(Port);

impl Throttle {
    /// To this server, whose answers come at so many bytes a second each.
    pub fn start(server: SocketAddr, rate: u32) -> Result<Self> {
        let port = Port::reserve()?;
        let listener = std::net::TcpListener::bind(port.address())?;
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                thread::spawn(move || forward(client, server, rate));
            }
        });
        Ok(Self(port))
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.0.address().to_string()
    }
}

fn forward(mut client: TcpStream, server: SocketAddr, rate: u32) -> Result<()> {
    let mut server = TcpStream::connect(server)?;
    let (mut asking, mut asked) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut asking, &mut asked);
        asked.shutdown(Shutdown::Write)
    });
    let (began, mut sent, mut piece) = (Instant::now(), 0_u32, vec![0; PIECE]);
    loop {
        let count = server.read(&mut piece)?;
        if count == 0 {
            client.shutdown(Shutdown::Write)?;
            return Ok(());
        }
        client.write_all(&piece[..count])?;
        sent += count as u32;
        let due = Duration::from_secs_f64(f64::from(sent) / f64::from(rate));
        thread::sleep(due.saturating_sub(began.elapsed()));
    }
}
