use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a server answered.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body, whole.
    pub body: Vec<u8>,
}

/// What is asked of a server.
pub struct Ask<'a> {
    /// GET, PUT or POST.
    pub method: Method,
    /// The server's name, for the header.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Further headers.
    pub headers: &'a [(&'static str, String)],
    /// What is sent.
    pub body: &'a [u8],
}

impl<'a> Ask<'a> {
    /// A plain GET.
    pub fn get(host: &'a str, target: &'a str) -> Self {
        Self { method: Method::GET, host, target, headers: &[], body: &[] }
    }
}

/// One request over a fresh connection. No redirect is followed and no proxy asked: what it fetches decides how the host
/// is configured, so it comes from the place that was named or from nowhere.
///
/// # Errors
/// No answer within the deadline, a body beyond the limit or cut off, or no HTTP at all.
pub async fn send<S>(
    connect: impl Future<Output = std::io::Result<S>>,
    ask: Ask<'_>,
    bounds: Bounds,
) -> anyhow::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let whole = async {
        let stream = connect.await.context("cannot connect")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Its errors come out of the request as well.
        let driver = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(ask.method)
            .uri(ask.target)
            .header(header::HOST, ask.host)
            .header(header::USER_AGENT, concat!("hostwright-bootstrap/", env!("CARGO_PKG_VERSION")));
        for (name, value) in ask.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(ask.body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), bounds.bytes).collect().await.map_err(|error| {
            anyhow::anyhow!("the answer is larger than {} bytes or was cut off: {error}", bounds.bytes)
        })?;
        driver.abort();
        Ok(Answer { status, body: body.to_bytes().to_vec() })
    };
    tokio::time::timeout(bounds.deadline, whole)
        .await
        .with_context(|| format!("no whole answer within {} s", bounds.deadline.as_secs()))?
}

/// What a request may cost.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// From the connection to the answer's last byte.
    pub deadline: Duration,
    /// Of the body.
    pub bytes: usize,
}
