use hostwright_core::config::endpoint::{Compress, Endpoint, HttpUrl};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

/// A server's settings as they are where its URL alone is given.
pub fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: HttpUrl(url.to_owned()),
        tls: Default::default(),
        proxy: None,
        headers: Default::default(),
        auth: None,
        timeout: Duration::from_secs(5),
        compress: Compress::None,
    }
}

/// A server that gives the answers that it was told, one to each request, and notes the requests.
pub struct Canned {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    requests: UnboundedReceiver<Seen>,
}

/// A request that came in.
pub struct Seen {
    /// Its first line and header fields.
    pub head: String,
    pub body: Vec<u8>,
}

impl Canned {
    /// Each answer is what follows `HTTP/1.1 `: status, header fields, an empty line, the body. An empty one ends the
    /// connection instead.
    pub async fn start(answers: impl IntoIterator<Item = &str>) -> Self {
        Self::start_with(answers, None).await
    }

    /// The same, behind TLS if that is given.
    pub async fn start_with(answers: impl IntoIterator<Item = &str>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().expect("an address"));
        let answers: VecDeque<_> = answers.into_iter().map(str::to_owned).collect();
        let (seen, requests) = unbounded_channel();
        let answers = Arc::new(Answers { left: Mutex::new(answers), given: Notify::new() });
        tokio::spawn(async move {
            while answers.are_left() {
                let connection = tokio::select! {
                    accepted = listener.accept() => accepted.map(|(connection, _)| connection),
                    () = answers.given.notified() => continue,
                };
                let Ok(connection) = connection else { return };
                // A client may begin a connection while it still holds another one.
                let (tls, answers, seen) = (tls.clone(), answers.clone(), seen.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(connection, &answers, &seen).await,
                        Some(tls) => serve(tls.accept(connection).await?, &answers, &seen).await,
                    }
                });
            }
        });
        Self { url, requests }
    }

    /// The next request.
    pub async fn request(&mut self) -> Seen {
        self.requests.recv().await.expect("a request")
    }
}

/// What is to be answered, over whichever connection.
struct Answers {
    left: Mutex<VecDeque<String>>,
    given: Notify,
}

impl Answers {
    fn are_left(&self) -> bool {
        !self.left.lock().expect("no panic").is_empty()
    }

    fn next(&self) -> Option<String> {
        let next = self.left.lock().expect("no panic").pop_front();
        self.given.notify_one();
        next
    }
}

async fn serve(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    answers: &Answers,
    seen: &UnboundedSender<Seen>,
) -> std::io::Result<()> {
    loop {
        let mut bytes = Vec::new();
        let end = loop {
            if connection.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let mut body = bytes.split_off(end);
        while body.len() < length.unwrap_or(0) {
            connection.read_buf(&mut body).await?;
        }
        let _ = seen.send(Seen { head, body });
        let Some(answer) = answers.next().filter(|answer| !answer.is_empty()) else { return Ok(()) };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        connection.write_all(answer.as_bytes()).await?;
        connection.flush().await?;
    }
}
