//! A proxy between the agent and its receivers (`forward-proxy`), as a process: killed, it forgets what it has read.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::port::Port;
use crate::process::binary;
use crate::server::Server;

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Takes HTTP and SOCKS 5. The port stays the same through `kill` and `start_again`.
#[derive(Debug)]
pub struct ForwardProxy {
    server: Server,
    port: Port,
    login: Option<(String, String)>,
    folder: TempDir,
}

impl ForwardProxy {
    /// One that serves only this user, if one is given, with this password.
    pub fn start(login: Option<(&str, &str)>) -> Result<Self> {
        let (port, folder) = (Port::reserve()?, tempfile::tempdir()?);
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let server = launch(port.address(), login.as_ref(), &folder)?;
        Ok(Self { server, port, login, folder })
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// What it was asked for, and whom it refused, in lines.
    pub fn told(&self) -> String {
        self.server.log()
    }

    /// Begins an outage: what it has read and not written is lost.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill_group()
    }

    /// Ends the outage.
    pub fn start_again(&mut self) -> Result<()> {
        self.server = launch(self.address(), self.login.as_ref(), &self.folder)?;
        Ok(())
    }
}

fn launch(address: SocketAddr, login: Option<&(String, String)>, folder: &TempDir) -> Result<Server> {
    let mut command = Command::new(binary("forward-proxy")?);
    command.arg(address.to_string()).args(login.into_iter().flat_map(|(user, password)| [user, password]));
    let mut server = Server::start(&command, &folder.path().join("told"))?;
    server.wait_until("the proxy listens", START_TIMEOUT, || TcpStream::connect(address).map_err(Into::into))?;
    Ok(server)
}
