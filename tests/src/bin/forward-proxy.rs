//! `forward-proxy ADDRESS [USER PASSWORD]`: a proxy for HTTP (RFC 9110: CONNECT, and requests in absolute form) and
//! SOCKS 5 (RFC 1928, RFC 1929), which tells what it is asked for on its standard output.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

type Login = Option<(String, String)>;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (address, login) = match &arguments[..] {
        [address] => (address, None),
        [address, user, password] => (address, Some((user.clone(), password.clone()))),
        _ => bail!("usage: forward-proxy ADDRESS [USER PASSWORD]"),
    };
    let login = Arc::new(login);
    for client in TcpListener::bind(address)?.incoming() {
        let (client, login) = (client?, login.clone());
        thread::spawn(move || {
            if let Err(error) = serve(&client, &login) {
                println!("ended: {error:#}");
            }
            let _ = client.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn serve(client: &TcpStream, login: &Login) -> Result<()> {
    let mut first = [0];
    match client.peek(&mut first)? {
        0 => Ok(()),
        _ if first[0] == 5 => serve_socks(client, login.as_ref()),
        _ => serve_http(client, login.as_ref()),
    }
}

/// The head of a request or an answer.
struct Head {
    first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn read(reader: &mut impl BufRead) -> Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.strip_suffix("\r\n").with_context(|| format!("a line without CRLF: {line:?}"))?;
            if line.is_empty() {
                break;
            }
            lines.push(line.to_owned());
        }
        let mut lines = lines.into_iter();
        let first = lines.next().context("no request")?;
        let field = |line: String| {
            let (name, value) = line.split_once(':').with_context(|| format!("no field: {line:?}"))?;
            Ok((name.to_owned(), value.trim().to_owned()))
        };
        Ok(Some(Self { first, fields: lines.map(field).collect::<Result<_>>()? }))
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Passes it on with its content. What is for the proxy alone stays here.
    fn pass(&self, first: &str, from: &mut impl Read, mut to: impl Write) -> Result<()> {
        let mut text = format!("{first}\r\n");
        for (name, value) in self.fields.iter().filter(|(name, _)| !name.to_lowercase().starts_with("proxy-")) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut bytes = (text + "\r\n").into_bytes();
        let length = self.field("content-length").map_or(Ok(0), str::parse)?;
        from.take(length).read_to_end(&mut bytes)?;
        Ok(to.write_all(&bytes)?)
    }
}

fn serve_http(client: &TcpStream, login: Option<&(String, String)>) -> Result<()> {
    let wanted = login.map(|(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
    let mut reader = BufReader::new(client);
    let mut upstream: Option<(String, TcpStream)> = None;
    while let Some(head) = Head::read(&mut reader)? {
        println!("{}", head.first);
        if wanted.is_some() && head.field("proxy-authorization") != wanted.as_deref() {
            println!("refused: nobody that is known");
            let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"p\"\r\n";
            (&*client).write_all(format!("{answer}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())?;
            return Ok(());
        }
        let parts: Vec<_> = head.first.split(' ').collect();
        let [method, target, version @ "HTTP/1.1"] = parts[..] else { bail!("no request: {:?}", head.first) };
        if method == "CONNECT" {
            ensure!(head.field("host") == Some(target), "CONNECT {target} with another Host (RFC 9112, 3.2.3)");
            let server = connected(target, client, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".as_bytes())?;
            (&*client).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            ensure!(reader.buffer().is_empty(), "bytes before the answer to CONNECT");
            return tunnel(client, &server);
        }
        let rest = target.strip_prefix("http://").with_context(|| format!("not in absolute form: {target}"))?;
        let (authority, path) = rest.split_at(rest.find('/').context("no path")?);
        if upstream.as_ref().is_none_or(|(there, _)| there != authority) {
            let server = connected(authority, client, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")?;
            upstream = Some((authority.to_owned(), server));
        }
        let server = upstream.as_ref().map(|(_, server)| server).context("connected")?;
        head.pass(&format!("{method} {path} {version}"), &mut reader, server)?;
        let mut answer = BufReader::new(server);
        let head = Head::read(&mut answer)?.context("the server gave no answer")?;
        match method {
            // It tells the length of what it has not.
            "HEAD" => head.pass(&head.first, &mut io::empty(), client)?,
            _ => head.pass(&head.first, &mut answer, client)?,
        }
    }
    Ok(())
}

fn serve_socks(mut client: &TcpStream, login: Option<&(String, String)>) -> Result<()> {
    let methods = piece(client, 2).and_then(|head| piece(client, head[1].into()))?;
    let wanted = if login.is_some() { 2 } else { 0 };
    if !methods.contains(&wanted) {
        println!("refused: no method that is known");
        return Ok(client.write_all(&[5, 0xff])?);
    }
    client.write_all(&[5, wanted])?;
    if let Some((user, password)) = login {
        ensure!(piece(client, 1)? == [1], "no version of RFC 1929");
        let text = || piece(client, 1).and_then(|length| piece(client, length[0].into()));
        let is_known = (text()?, text()?) == (user.clone().into_bytes(), password.clone().into_bytes());
        client.write_all(&[1, u8::from(!is_known)])?;
        if !is_known {
            println!("refused: nobody that is known");
            return Ok(());
        }
    }
    let head = piece(client, 4)?;
    ensure!(head[..3] == [5, 1, 0], "no CONNECT: {head:?}");
    let host = match head[3] {
        1 => piece(client, 4)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        3 => String::from_utf8(piece(client, 1).and_then(|length| piece(client, length[0].into()))?)?,
        other => bail!("an address of type {other}"),
    };
    let port = piece(client, 2)?;
    let target = format!("{host}:{}", u16::from_be_bytes([port[0], port[1]]));
    println!("SOCKS {target}");
    let server = connected(&target, client, &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0])?;
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0])?;
    tunnel(client, &server)
}

fn piece(mut client: &TcpStream, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A connection to the target; otherwise the client is told so.
fn connected(target: &str, mut client: &TcpStream, refusal: &[u8]) -> Result<TcpStream> {
    TcpStream::connect(target).or_else(|error| {
        client.write_all(refusal)?;
        Err(error).with_context(|| format!("connecting to {target}"))
    })
}

/// Both ways, until one of them ends.
fn tunnel(client: &TcpStream, server: &TcpStream) -> Result<()> {
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let _ = io::copy(&mut &*client, &mut &*server);
    let _ = server.shutdown(Shutdown::Both);
    let _ = back.join();
    Ok(())
}
