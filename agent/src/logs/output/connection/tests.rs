use super::{Broken, Connection};
use hostwright_core::config::api::Certificate;
use hostwright_core::config::logs::output::Receiver;
use hostwright_core::config::proxy::{Kind, Proxy};
use hostwright_core::config::tls::ClientTls;
use hostwright_core::config::values::HostPort;
use hostwright_core::tls;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A receiver with a certificate for `localhost`, which is its own authority.
struct Server {
    listener: TcpListener,
    certificate: PathBuf,
    key: PathBuf,
    _folder: TempDir,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (certificate, key) = tls::self_signed(folder.path(), "host").expect("made");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        Self { listener, certificate, key, _folder: folder }
    }

    fn receiver(&self, tls: Option<ClientTls>) -> Receiver {
        let port = self.listener.local_addr().expect("address").port();
        Receiver { address: HostPort(format!("localhost:{port}")), tls: tls.map(Box::new), proxy: None }
    }

    fn trusted(&self) -> ClientTls {
        ClientTls { ca: Some(self.certificate.clone()), ..ClientTls::default() }
    }

    async fn accept_plain(&self) -> TcpStream {
        self.listener.accept().await.expect("accepted").0
    }

    async fn accept(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let config = tls::server(&self.certificate, &self.key, None).expect("usable");
        TlsAcceptor::from(config).accept(self.accept_plain().await).await
    }

    async fn connected(&self) -> (Connection, TlsStream<TcpStream>) {
        let receiver = self.receiver(Some(self.trusted()));
        let (connection, stream) = tokio::join!(Connection::open(&receiver), self.accept());
        (connection.expect("connected"), stream.expect("accepted"))
    }
}

async fn ended(connection: &mut Connection) -> Broken {
    loop {
        if let Err(broken) = connection.check() {
            return broken;
        }
        let _ = connection.spoken().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_arrive_over_tls_and_are_acknowledged() {
    let server = Server::start().await;
    let (mut connection, mut stream) = server.connected().await;
    let sent: Vec<u8> = (0..1_000_000u32).map(|number| number as u8).collect();
    let mut received = vec![0; sent.len()];
    let (result, read) = tokio::join!(connection.send(&sent), stream.read_exact(&mut received));
    result.expect("sent");
    read.expect("received");
    assert!(received == sent);
    while connection.unacknowledged().expect("asked") > 0 {
        tokio::task::yield_now().await;
    }
    stream.write_all(b"hello").await.expect("written");
    stream.flush().await.expect("flushed");
    let mut answer = [0; 5];
    assert_eq!(connection.receive(&mut answer).await.expect("received"), 5);
    assert_eq!(connection.try_receive(&mut answer).expect("nothing is there"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_nobody_reads_stay_unacknowledged_at_least_as_many_as_there_are() {
    let server = Server::start().await;
    let (mut connection, mut stream) = server.connected().await;
    let mut sent = 0;
    let piece = vec![7; 100_000];
    while tokio::time::timeout(std::time::Duration::from_millis(300), connection.send(&piece)).await.is_ok() {
        sent += piece.len() as u64;
    }
    let unacknowledged = connection.unacknowledged().expect("asked");
    assert!(unacknowledged > 0, "of {sent} bytes none is said to be unacknowledged");
    let (mut buffer, mut read) = (vec![0; 1 << 16], 0);
    // What the kernel had acknowledged was there to read, whatever becomes of the rest.
    while read < sent - unacknowledged {
        read += stream.read(&mut buffer).await.expect("read") as u64;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_in_order_is_told_from_a_reset() {
    for (unread, over_tls) in [(false, false), (true, false), (false, true), (true, true)] {
        let server = Server::start().await;
        let mut connection = if over_tls {
            let (mut connection, mut stream) = server.connected().await;
            connection.send(b"x").await.expect("sent");
            stream.read_u8().await.expect("read");
            if unread {
                connection.send(b"x").await.expect("sent");
                while connection.unacknowledged().expect("asked") > 0 {}
            }
            // Closed without a word of TLS, as a process that dies does.
            drop(stream);
            connection
        } else {
            let receiver = server.receiver(None);
            let (connection, mut stream) = tokio::join!(Connection::open(&receiver), server.accept_plain());
            let mut connection = connection.expect("connected");
            connection.send(b"xx").await.expect("sent");
            stream.read_u8().await.expect("read");
            if !unread {
                stream.read_u8().await.expect("read");
            }
            drop(stream);
            connection
        };
        let broken = ended(&mut connection).await;
        assert_eq!(broken.reset, unread, "over TLS: {over_tls}: {broken}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_knows_how_a_connection_through_a_proxy_ended() {
    let server = Server::start().await;
    let proxy = server.receiver(None).address;
    let target = HostPort("logs.example:1".into());
    let proxy = Proxy { kind: Kind::Http, address: proxy, login: None };
    let receiver = Receiver { address: target, tls: None, proxy: Some(Box::new(proxy)) };
    let answering = async {
        let mut stream = server.accept_plain().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("asked"));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("answered");
        stream
    };
    let (connection, mut stream) = tokio::join!(Connection::open(&receiver), answering);
    let mut connection = connection.expect("connected");
    connection.send(b"x").await.expect("sent");
    stream.read_u8().await.expect("read");
    drop(stream);
    assert!(ended(&mut connection).await.reset);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_tls_announces_is_in_order_when_tcp_ends_so_too() {
    let server = Server::start().await;
    let (mut connection, mut stream) = server.connected().await;
    stream.shutdown().await.expect("shut down");
    drop(stream);
    // Both have arrived before the first look.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!ended(&mut connection).await.reset);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_certificate_is_said_with_the_remedy() {
    let server = Server::start().await;
    let other = Server::start().await;
    let wrong_name = ClientTls { server_name: Some("elsewhere.example".into()), ..server.trusted() };
    for (tls, remedy) in [(other.trusted(), "tls: {ca: …}"), (wrong_name, "tls: {server_name: …}")] {
        let receiver = server.receiver(Some(tls));
        let (opened, _) = tokio::join!(Connection::open(&receiver), server.accept());
        let why = opened.expect_err("refused").why;
        assert!(why.contains(remedy) && why.starts_with("cannot connect to localhost:"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_without_tls_is_said_to_be_one() {
    let server = Server::start().await;
    let receiver = server.receiver(Some(server.trusted()));
    let serving = async { server.accept_plain().await.write_all(b"220 mail ESMTP\r\n").await };
    let (opened, _) = tokio::join!(Connection::open(&receiver), serving);
    let why = opened.expect_err("refused").why;
    assert!(why.contains("see whether it speaks TLS at that port"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_goes_through_a_proxy_to_the_receiver_by_its_name() {
    let server = Server::start().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = HostPort(proxy.local_addr().expect("address").to_string());
    let settings = Proxy { kind: Kind::Http, address, login: None };
    let receiver = Receiver { proxy: Some(Box::new(settings)), ..server.receiver(Some(server.trusted())) };
    let target = receiver.address.0.clone();
    let proxying = tokio::spawn(async move {
        let (mut client, _) = proxy.accept().await.expect("accepted");
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(client.read_u8().await.expect("asked"));
        }
        assert!(asked.starts_with(format!("CONNECT {target} HTTP/1.1\r\n").as_bytes()), "{}", asked.escape_ascii());
        let mut onward = TcpStream::connect(&target).await.expect("connected");
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("answered");
        let _ = tokio::io::copy_bidirectional(&mut client, &mut onward).await;
    });
    let (connection, stream) = tokio::join!(Connection::open(&receiver), server.accept());
    let (mut connection, mut stream) = (connection.expect("connected"), stream.expect("accepted"));
    connection.send(b"x").await.expect("sent");
    assert_eq!(stream.read_u8().await.expect("received"), b'x');
    proxying.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_to_a_receiver_that_asks() {
    let server = Server::start().await;
    let pair = Certificate { certificate: server.certificate.clone(), key: server.key.clone() };
    let receiver = server.receiver(Some(ClientTls { certificate: Some(pair), ..server.trusted() }));
    let config = tls::server(&server.certificate, &server.key, Some(&server.certificate)).expect("usable");
    let accepting = async { TlsAcceptor::from(Arc::clone(&config)).accept(server.accept_plain().await).await };
    let (opened, accepted) = tokio::join!(Connection::open(&receiver), accepting);
    opened.expect("connected");
    // (A certificate that may sign others is no good as a client's, which is the server's to say.)
    match accepted {
        Ok(stream) => assert!(stream.get_ref().1.peer_certificates().is_some()),
        Err(error) => assert!(error.to_string().contains("certificate"), "{error}"),
    }
}
