use super::forwarder::Forwarder;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::sync::Mutex;

/// The socket's name in the process's folder.
pub const SOCKET_NAME: &str = "moved.sock";
/// What a client said in one packet.
const LONGEST: usize = 64 << 10;

/// Gives a connection to the process that holds the ports, with what was read from it.
pub fn give(to: &UnixDatagram, connection: &OwnedFd, read: &[u8]) -> io::Result<()> {
    let descriptors = [connection.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<UnixAddr>(to.as_raw_fd(), &[IoSlice::new(read)], &control, MsgFlags::empty(), None)?;
    Ok(())
}

/// Where connections are given to.
pub fn open(folder: &Path) -> io::Result<tokio::net::UnixDatagram> {
    let path = folder.join(SOCKET_NAME);
    let _ = std::fs::remove_file(&path);
    let socket = tokio::net::UnixDatagram::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(socket)
}

/// Carries on what is given.
pub async fn serve(socket: tokio::net::UnixDatagram, forwarder: Arc<Mutex<Forwarder>>) {
    loop {
        let receive = || receive(socket.as_raw_fd());
        let (connection, read) = match socket.async_io(Interest::READABLE, receive).await {
            Ok(Some(given)) => given,
            Ok(None) => continue,
            Err(error) => {
                log::warn!("moved connections are no longer taken: {error}");
                return;
            }
        };
        if let Err(error) = forwarder.lock().await.take(connection, read) {
            log::warn!("a moved connection cannot be carried on: {error}");
        }
    }
}

fn receive(socket: RawFd) -> io::Result<Option<(TcpStream, Vec<u8>)>> {
    let (mut read, mut control) = (vec![0; LONGEST], cmsg_space!([RawFd; 1]));
    let (length, descriptors) = {
        let mut buffers = [IoSliceMut::new(&mut read)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<UnixAddr>(socket, &mut buffers, Some(&mut control), flags)?;
        let rights = message.cmsgs()?.filter_map(|control| match control {
            ControlMessageOwned::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        (message.bytes, rights.flatten().collect::<Vec<RawFd>>())
    };
    read.truncate(length);
    #[expect(
        unsafe_code,
        reason = "the kernel has just made these descriptors for this process, and nobody else has them"
    )]
    // SAFETY: each comes once, from the message that was just received.
    let mut owned = descriptors.into_iter().map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) });
    Ok(owned.next().map(|connection| (TcpStream::from(connection), read)))
}
