use super::{Answer, Cause, Client, NoAnswer, Request};
use bytes::Bytes;
use hostwright_core::config::endpoint::{Auth, Compress, Endpoint};
use hostwright_core::config::proxy::{Kind, Login, Proxy};
use hostwright_core::config::values::HostPort;
use hostwright_core::secret::SecretRef;
use hostwright_core::tls;
use hostwright_testing::canned::{Canned, endpoint};
use reqwest::header::{HeaderMap, HeaderValue};
use std::io::Read;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

async fn post(client: &mut Client) -> Result<Answer, NoAnswer> {
    let body = Bytes::from_static(b"a body");
    client.post(Request { content_type: "text/plain", headers: HeaderMap::new(), body }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_read_again_when_it_was_not_accepted_and_never_shown() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "hunter2\n").expect("written");
    let mut server =
        Canned::start(["401 Unauthorized\r\n\r\nno token\nhunter2\u{7} here", "204 No Content\r\nx: y"]).await;
    let mut settings = endpoint(&server.url);
    settings.auth = Some(Auth::Bearer(SecretRef::File(token.clone())));
    let mut client = Client::new(&settings, String::new());
    let answer = post(&mut client).await.expect("an answer");
    let said = client.said(&answer);
    assert_eq!(said, format!("{} answered 401 Unauthorized: no token (secret)  here", server.url));
    assert!(!format!("{client:?}").contains("hunter2"));
    client.read_again();
    std::fs::write(&token, "hunter3").expect("written");
    assert_eq!(post(&mut client).await.expect("an answer").status.as_u16(), 204);
    assert!(server.request().await.head.contains("authorization: bearer hunter2\r\n"));
    assert!(server.request().await.head.contains("authorization: bearer hunter3\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_compressed_as_the_header_says() {
    for (compress, name) in [(Compress::Gzip, "gzip"), (Compress::Zstd, "zstd")] {
        let mut server = Canned::start(["200 OK"]).await;
        let mut client = Client::new(&Endpoint { compress, ..endpoint(&server.url) }, "/p?q".into());
        post(&mut client).await.expect("an answer");
        let seen = server.request().await;
        assert!(seen.head.starts_with("post /p?q http/1.1\r\n"), "{}", seen.head);
        assert!(seen.head.contains(&format!("content-encoding: {name}\r\n")), "{}", seen.head);
        let mut text = String::new();
        match compress {
            Compress::Gzip => flate2::read::GzDecoder::new(&seen.body[..]).read_to_string(&mut text),
            _ => zstd::stream::read::Decoder::new(&seen.body[..]).expect("zstd").read_to_string(&mut text),
        }
        .expect("decompressed");
        assert_eq!(text, "a body");
    }
}

#[tokio::test]
async fn a_platform_that_is_not_there_is_named_with_the_reason() {
    let url = "http://127.0.0.1:1";
    let error = post(&mut Client::new(&endpoint(url), String::new())).await.expect_err("nobody there");
    assert_eq!(error.cause, Cause::Connection);
    assert!(error.why.starts_with("cannot connect to http://127.0.0.1:1: Connection refused"), "{error:?}");
}

/// A server with a certificate for this name, and the file of its authority.
async fn server_named(name: &str, folder: &Path) -> (Canned, PathBuf) {
    let (certificate, key) = tls::self_signed(folder, name).expect("a certificate");
    let acceptor = TlsAcceptor::from(tls::server(&certificate, &key, None).expect("TLS"));
    (Canned::start_with(["200 OK", "200 OK"], Some(acceptor)).await, certificate)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_known_by_its_own_authority_and_by_another_name() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut server, authority) = server_named("logs.example", folder.path()).await;
    let mut settings = endpoint(&server.url);
    settings.tls.ca = Some(authority);
    let Err(NoAnswer { why, .. }) = post(&mut Client::new(&settings, String::new())).await else {
        panic!("a certificate for another name was taken")
    };
    assert!(why.contains("certificate"), "{why}");
    settings.tls.server_name = Some("logs.example".into());
    post(&mut Client::new(&settings, String::new())).await.expect("an answer");
    let host = server.url.strip_prefix("https://").expect("https").to_owned();
    assert!(server.request().await.head.contains(&format!("host: {host}\r\n")), "asked for what the URL names");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_an_unknown_authority_is_not_trusted_and_the_remedy_is_named() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (server, _) = server_named("localhost", folder.path()).await;
    let mut settings = endpoint(&server.url.replace("127.0.0.1", "localhost"));
    settings.tls.ca = Some(tls::self_signed(other.path(), "other").expect("a certificate").0);
    let Err(NoAnswer { why, .. }) = post(&mut Client::new(&settings, String::new())).await else { panic!("trusted") };
    assert!(why.contains("see that tls: {ca: …} names the authority of its certificate"), "{why}");
}

/// A proxy that answers its client's greeting as told, notes what it was asked, and then passes everything on.
async fn proxy(greetings: Vec<(usize, Vec<u8>)>, to: String) -> (HostPort, oneshot::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (asked, asking) = oneshot::channel();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut all = Vec::new();
        for (length, answer) in greetings {
            let before = all.len();
            // A length of 0: up to the end of a header section.
            while if length == 0 { !all.ends_with(b"\r\n\r\n") } else { all.len() < before + length } {
                client.read_buf(&mut all).await.expect("a greeting");
            }
            client.write_all(&answer).await.expect("answered");
        }
        asked.send(all).expect("somebody waits");
        let mut server = TcpStream::connect(to).await.expect("the server");
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    (HostPort(address), asking)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_or_one_request_was_told_is_not_shown_either() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let password = folder.path().join("password");
    std::fs::write(&password, "pw").expect("written");
    let server = Canned::start(["407 No\r\n\r\nyou said Basic dTpwdw== and Signature=abc"]).await;
    let mut settings = endpoint("http://logs.example.org");
    let address = HostPort(server.url.strip_prefix("http://").expect("http").to_owned());
    let login = Some(Login { user: "u".into(), password: SecretRef::File(password) });
    settings.proxy = Some(Proxy { kind: Kind::Http, address, login });
    let mut client = Client::new(&settings, String::new());
    let mut signature = HeaderValue::from_static("Signature=abc");
    signature.set_sensitive(true);
    let headers = HeaderMap::from_iter([(reqwest::header::AUTHORIZATION, signature)]);
    let request = Request { content_type: "text/plain", headers, body: Bytes::new() };
    let answer = client.post(request).await.expect("an answer");
    assert_eq!(
        client.said(&answer),
        "http://logs.example.org answered 407 Proxy Authentication Required: you said Basic (secret) and (secret)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn https_goes_through_proxies_of_both_kinds_with_a_password() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let password = folder.path().join("password");
    std::fs::write(&password, "pw").expect("written");
    let login = Login { user: "u".into(), password: SecretRef::File(password) };
    let connect = vec![(0, b"HTTP/1.1 200 OK\r\n\r\n".to_vec())];
    // RFC 1928: methods, of which user and password are chosen (RFC 1929), then the request.
    let name = "localhost".len();
    let socks = vec![
        (3, vec![5, 2]),
        (1 + 1 + 1 + 1 + 2, vec![1, 0]),
        (4 + 1 + name + 2, vec![5, 0, 0, 1, 127, 0, 0, 1, 0, 0]),
    ];
    for (kind, greetings) in [(Kind::Http, connect), (Kind::Socks5, socks)] {
        let (server, authority) = server_named("localhost", folder.path()).await;
        let target = server.url.strip_prefix("https://").expect("https").to_owned();
        let mut settings = endpoint(&server.url.replace("127.0.0.1", "localhost"));
        settings.tls.ca = Some(authority);
        let (address, asked) = proxy(greetings, target).await;
        settings.proxy = Some(Proxy { kind, address, login: Some(login.clone()) });
        post(&mut Client::new(&settings, String::new())).await.expect("an answer");
        let asked = asked.await.expect("asked");
        let text = String::from_utf8_lossy(&asked).to_lowercase();
        match kind {
            // "u:pw"
            Kind::Http => assert!(
                text.starts_with("connect localhost:") && text.contains("proxy-authorization: basic dtpwdw=="),
                "{text}"
            ),
            Kind::Socks5 => assert!(text.contains("\u{1}\u{1}u\u{2}pw") && text.contains("localhost"), "{asked:?}"),
        }
    }
}
