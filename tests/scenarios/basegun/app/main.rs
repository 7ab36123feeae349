//! Plays Basegun's frontend and backend: a proxy, and a server that stores uploads and writes rotated JSON logs.
//!
//! Only the standard library, so that the image is this file, busybox and libc.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const USAGE: &str = "usage: basegun-app backend | frontend | probe ADDRESS";
/// An upload larger than Basegun takes (5 MB) is cut off.
const MAX_BODY: u64 = 5 << 20;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["backend"] => backend(),
        ["frontend"] => serve(8080, frontend),
        ["probe", address] => probe(address),
        _ => Err(io::Error::other(USAGE)),
    }
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn backend() -> io::Result<()> {
    let logs = PathBuf::from(setting("PATH_LOGS", "/app/logs"));
    let rate: u64 = setting("LINES_PER_SECOND", "20").parse().map_err(io::Error::other)?;
    let rotate: u64 = setting("ROTATE_SECONDS", "86400").parse().map_err(io::Error::other)?;
    std::thread::spawn(move || {
        if let Err(error) = write_log(&logs, rate.max(1), Duration::from_secs(rotate.max(1))) {
            eprintln!("cannot write the log in {}: {error}", logs.display());
            std::process::exit(1);
        }
    });
    serve(5000, store_upload)
}

/// Numbered JSON lines; each `rotate` the file gets the next date as suffix, as Python's TimedRotatingFileHandler
/// does at midnight.
fn write_log(folder: &Path, rate: u64, rotate: Duration) -> io::Result<()> {
    let path = folder.join("log.json");
    let run = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_secs();
    let mut day = run / 86400;
    let (mut file, mut opened) = (append(&path)?, Instant::now());
    let mut seq = 0u64;
    loop {
        for _ in 0..rate.div_ceil(10) {
            seq += 1;
            writeln!(
                file,
                r#"{{"time":"{}","level":"INFO","run":{run},"seq":{seq},"path":"/upload","message":"classified an image"}}"#,
                now()
            )?;
        }
        if opened.elapsed() >= rotate {
            // A container that was restarted finds the suffixes of its earlier days.
            while suffixed(&path, day).exists() {
                day += 1;
            }
            std::fs::rename(&path, suffixed(&path, day))?;
            (file, opened) = (append(&path)?, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn suffixed(path: &Path, day: u64) -> PathBuf {
    let (year, month, day) = civil(day);
    PathBuf::from(format!("{}.{year:04}-{month:02}-{day:02}", path.display()))
}

/// The date of a day since 1970 (Howard Hinnant's days-to-civil algorithm, for years after 1970).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86400);
    let (s, ms) = (since.as_secs() % 86400, since.subsec_millis());
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3600, s / 60 % 60, s % 60)
}

struct Request {
    line: String,
    body: Vec<u8>,
}

fn serve(port: u16, answer: fn(&Request) -> io::Result<(u16, String)>) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            if let Err(error) = exchange(stream, answer) {
                eprintln!("a request failed: {error}");
            }
        });
    }
    Ok(())
}

fn exchange(mut stream: TcpStream, answer: fn(&Request) -> io::Result<(u16, String)>) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = Vec::new();
    reader.take(MAX_BODY.min(length)).read_to_end(&mut body)?;
    let (code, text) = answer(&Request { line, body }).unwrap_or_else(|error| (502, format!("{error}\n")));
    write!(stream, "HTTP/1.1 {code} -\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
}

fn store_upload(request: &Request) -> io::Result<(u16, String)> {
    if !request.line.starts_with("POST ") {
        return Ok((200, "Basegun backend\n".into()));
    }
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let folder = PathBuf::from(setting("PATH_IMAGES", "/app/images"));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("{}-{}.jpg", since.as_millis(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut file = File::create(folder.join(&name))?;
    // In pieces, as a slow client would: a shipper that does not wait uploads a part of it.
    for piece in request.body.chunks(request.body.len().div_ceil(4).max(1)) {
        file.write_all(piece)?;
        std::thread::sleep(Duration::from_millis(200));
    }
    file.sync_all()?;
    Ok((201, format!("{name}\n")))
}

fn frontend(request: &Request) -> io::Result<(u16, String)> {
    let mut words = request.line.split(' ');
    let (method, path) = (words.next().unwrap_or("GET"), words.next().unwrap_or("/"));
    let Some(rest) = path.strip_prefix("/api") else {
        return Ok((200, "<!doctype html><title>Basegun</title><h1>Basegun</h1>\n".into()));
    };
    let mut backend = TcpStream::connect(setting("BACKEND", "basegun-backend:5000"))?;
    write!(backend, "{method} {rest} HTTP/1.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", request.body.len())?;
    backend.write_all(&request.body)?;
    let mut answer = String::new();
    backend.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("the backend did not answer"))?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(502);
    Ok((code, body.to_owned()))
}

fn probe(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(io::Error::other("not well")) }
}
