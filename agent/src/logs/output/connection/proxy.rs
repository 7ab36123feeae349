use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hostwright_core::config::proxy::{Kind, Login, Proxy};
use hostwright_core::config::values::HostPort;
use hostwright_core::secret::Secret;
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A longer answer to CONNECT is none.
const ANSWER_AT_MOST: usize = 16 << 10;
/// RFC 1928 and RFC 1929.
const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const WITH_LOGIN: u8 = 2;

/// Makes the connection to a proxy one to `target`.
///
/// # Errors
/// The end of a sentence that begins with the proxy.
pub async fn connect(stream: &mut TcpStream, proxy: &Proxy, target: &HostPort) -> Result<(), String> {
    let login = proxy.login.as_ref().map(resolve).transpose()?;
    let asked = match proxy.kind {
        Kind::Http => ask_http(stream, target, login.as_ref()).await,
        Kind::Socks5 => ask_socks(stream, target, login.as_ref()).await,
    };
    asked.unwrap_or_else(|error| Err(format!("does not answer: {error}")))
}

fn resolve(login: &Login) -> Result<(String, Secret), String> {
    let password = login.password.resolve().map_err(|error| format!("wants a password: {error}"))?;
    Ok((login.user.clone(), password))
}

type Answer = io::Result<Result<(), String>>;

async fn ask_http(stream: &mut TcpStream, target: &HostPort, login: Option<&(String, Secret)>) -> Answer {
    let authorization = login.map(|(user, password)| STANDARD.encode(format!("{user}:{}", password.expose())));
    let authorization = authorization.map(|login| format!("Proxy-Authorization: Basic {login}\r\n"));
    let target = &target.0;
    let request =
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n", authorization.as_deref().unwrap_or_default());
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the answer is the receiver's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == ANSWER_AT_MOST {
            return Ok(Err("gives no answer to CONNECT that could be one".into()));
        }
        answer.push(stream.read_u8().await?);
    }
    let line = String::from_utf8_lossy(answer.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let status = line.split(' ').nth(1).unwrap_or_default();
    if line.starts_with("HTTP/1.") && status.len() == 3 && status.starts_with('2') {
        return Ok(Ok(()));
    }
    let remedy = if status == "407" { "; give it proxy: {url: …, user: …, password: …}" } else { "" };
    Ok(Err(format!("refuses CONNECT {target}: {line:?}{remedy}")))
}

async fn ask_socks(stream: &mut TcpStream, target: &HostPort, login: Option<&(String, Secret)>) -> Answer {
    let method = if login.is_some() { WITH_LOGIN } else { NO_LOGIN };
    stream.write_all(&[VERSION, 1, method]).await?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await?;
    if chosen != [VERSION, method] {
        let remedy = if login.is_some() { "" } else { "; perhaps it wants a user and a password" };
        return Ok(Err(format!("does not take us (it answers {chosen:?}){remedy}")));
    }
    if let Some((user, password)) = login {
        let mut message = vec![LOGIN_VERSION];
        for text in [user.as_str(), password.expose()] {
            let Ok(length) = u8::try_from(text.len()) else { return Ok(Err("takes no login this long".into())) };
            message.push(length);
            message.extend_from_slice(text.as_bytes());
        }
        stream.write_all(&message).await?;
        stream.read_exact(&mut chosen).await?;
        if chosen[1] != 0 {
            return Ok(Err(format!("does not know the user {user:?} with this password")));
        }
    }
    let Some(request) = socks_request(target) else { return Ok(Err("takes no host name this long".into())) };
    stream.write_all(&request).await?;
    socks_answer(stream, target).await
}

/// CONNECT by address, or by name where it is one.
fn socks_request(target: &HostPort) -> Option<Vec<u8>> {
    let mut request = vec![VERSION, 1, 0];
    match target.host().parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            request.extend_from_slice(&[3, u8::try_from(target.host().len()).ok()?]);
            request.extend_from_slice(target.host().as_bytes());
        }
    }
    request.extend_from_slice(&target.port().to_be_bytes());
    Some(request)
}

async fn socks_answer(stream: &mut TcpStream, target: &HostPort) -> Answer {
    const REASONS: [&str; 9] = [
        "",
        "it failed",
        "its rules do not allow it",
        "the network is unreachable",
        "the host is unreachable",
        "the connection was refused",
        "it took too long",
        "it knows no CONNECT",
        "it knows no such address",
    ];
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    if head[0] != VERSION || head[1] != 0 {
        let reason = REASONS.get(usize::from(head[1])).copied().unwrap_or("it does not say why");
        return Ok(Err(format!("gives no connection to {}: {reason}", target.0)));
    }
    // The address that it connects from, which nobody needs.
    let length = match head[3] {
        1 => 4,
        4 => 16,
        _ => usize::from(stream.read_u8().await?),
    };
    stream.read_exact(&mut vec![0; length + 2]).await?;
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::{connect, socks_request};
    use hostwright_core::config::proxy::{Kind, Login, Proxy};
    use hostwright_core::config::values::HostPort;
    use hostwright_core::secret::SecretRef;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// A proxy that expects the pieces of a dialogue and gives the answers; what came of it, with the byte after.
    async fn talk(kind: Kind, login: bool, dialogue: &[(&[u8], &[u8])]) -> Result<u8, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("p"), "pw\n").expect("written");
        let password = SecretRef::File(folder.path().join("p"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = HostPort(listener.local_addr().expect("address").to_string());
        let login = login.then(|| Login { user: "u".into(), password });
        let proxy = Proxy { kind, address: address.clone(), login };
        let mut stream = TcpStream::connect(&address.0).await.expect("connected");
        let serving = async {
            let (mut client, _) = listener.accept().await.expect("accepted");
            for (expected, answer) in dialogue {
                let mut said = vec![0; expected.len()];
                client.read_exact(&mut said).await.expect("asked");
                assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(expected));
                client.write_all(answer).await.expect("answered");
            }
        };
        let target = HostPort("logs.example:6514".into());
        let (connected, ()) = tokio::join!(connect(&mut stream, &proxy, &target), serving);
        connected?;
        Ok(stream.read_u8().await.expect("the receiver's first byte"))
    }

    #[tokio::test]
    async fn an_http_proxy_is_asked_with_connect() {
        let request = b"CONNECT logs.example:6514 HTTP/1.1\r\nHost: logs.example:6514\r\n\r\n";
        let answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n!";
        assert_eq!(talk(Kind::Http, false, &[(request, answer)]).await, Ok(b'!'));
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
        let why = talk(Kind::Http, false, &[(request, refusal)]).await.expect_err("refused");
        assert!(why.contains("407") && why.contains("user: …"), "{why}");
    }

    #[tokio::test]
    async fn an_http_proxy_is_told_who_asks() {
        let request = b"CONNECT logs.example:6514 HTTP/1.1\r\nHost: logs.example:6514\r\nProxy-Authorization: Basic dTpwdw==\r\n\r\n";
        assert_eq!(talk(Kind::Http, true, &[(request, b"HTTP/1.0 200 OK\r\n\r\n!")]).await, Ok(b'!'));
    }

    #[tokio::test]
    async fn a_socks_proxy_is_asked_by_name_and_told_who_asks() {
        let request = b"\x05\x01\x00\x03\x0clogs.example\x19\x72";
        let done = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x01!";
        assert_eq!(talk(Kind::Socks5, false, &[(b"\x05\x01\x00", b"\x05\x00"), (request, done)]).await, Ok(b'!'));
        let login: (&[u8], &[u8]) = (b"\x01\x01u\x02pw", b"\x01\x00");
        let greeting: (&[u8], &[u8]) = (b"\x05\x01\x02", b"\x05\x02");
        assert_eq!(talk(Kind::Socks5, true, &[greeting, login, (request, done)]).await, Ok(b'!'));
        let why = talk(Kind::Socks5, true, &[greeting, (login.0, b"\x01\x01")]).await.expect_err("refused");
        assert!(why.contains("does not know the user") && !why.contains("pw"), "{why}");
        let refusal = b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00";
        let refused = talk(Kind::Socks5, false, &[(b"\x05\x01\x00", b"\x05\x00"), (request, refusal)]).await;
        assert!(refused.expect_err("refused").ends_with("logs.example:6514: the connection was refused"));
    }

    #[test]
    fn a_socks_proxy_gets_addresses_as_such() {
        let request = |target: &str| socks_request(&HostPort(target.into())).expect("short enough");
        assert_eq!(request("10.0.0.1:1"), [5, 1, 0, 1, 10, 0, 0, 1, 0, 1]);
        assert_eq!(request("[::1]:258")[3..], [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2]);
    }
}
