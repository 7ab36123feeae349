use super::error::Reason;
use crate::config::buckets::Connection;
use crate::config::proxy::{Kind, Proxy};
use crate::tls;
use std::error::Error;
use std::time::Duration;

/// What the layers of the client say of themselves, which no operator can do anything about.
const NOISE: [&str; 4] = ["dispatch failure", "io error", "error sending request", "client error (Connect)"];
const CONNECT: Duration = Duration::from_secs(10);
/// Stores close connections that rest; ours are closed before most do.
const IDLE: Duration = Duration::from_secs(20);

/// The one place that builds a bucket's HTTP client. It knows the configuration's proxy, authorities and certificate,
/// and takes nothing from the environment.
pub(super) fn client(connection: &Connection, url: &str) -> Result<reqwest::Client, Reason> {
    let setup = |cause: String| Reason::Setup { cause };
    // Without TLS to do there is no need for authorities, which a small container may not have.
    let config = if url.starts_with("https://") { tls::client(&connection.tls) } else { tls::client_of_nobody() };
    let config = config.map_err(|error| setup(with_causes(&error)))?;
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured((*config).clone())
        .user_agent(concat!("hostwright/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE);
    let builder = match &connection.proxy {
        Some(proxy) => builder.proxy(through(proxy)?),
        None => builder.no_proxy(),
    };
    builder.build().map_err(|error| setup(with_causes(&error)))
}

fn through(proxy: &Proxy) -> Result<reqwest::Proxy, Reason> {
    let scheme = match proxy.kind {
        Kind::Http => "http",
        Kind::Socks5 => "socks5h",
    };
    let unusable = |error: reqwest::Error| Reason::Setup {
        cause: format!("the proxy {} cannot be used: {error}", proxy.address.0),
    };
    let through = reqwest::Proxy::all(format!("{scheme}://{}", proxy.address.0)).map_err(unusable)?;
    let Some(login) = &proxy.login else { return Ok(through) };
    let password = login.password.resolve().map_err(Reason::Credentials)?;
    Ok(through.basic_auth(&login.user, password.expose()))
}

/// Percent-encoding (RFC 3986), with or without the slashes.
pub(super) fn encoded(text: &str, keep_slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            b'/' if keep_slashes => encoded.push('/'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// What a request that got no answer means.
pub(super) fn no_answer(error: &dyn Error) -> Reason {
    match with_causes(error) {
        cause if cause.contains("certificate") => Reason::Untrusted { cause },
        cause => Reason::Unreachable { cause },
    }
}

/// An error and its causes, without what reqwest says of the URL.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        // reqwest's own words name the URL, which the error of the bucket does already.
        let text = text.split_once(" for url (").map_or(text.as_str(), |(text, _)| text).to_owned();
        if !NOISE.contains(&&*text) && !parts.last().is_some_and(|last| last.contains(&text)) {
            parts.push(text);
        }
        next = cause.source();
    }
    parts.join(": ")
}
