use super::host::Host;
use hostwright_core::backoff::Backoff;
use hostwright_core::config::tls::ClientTls;
use hostwright_core::tls;
use std::time::{Duration, Instant};

/// From the connection to the answer's last byte.
const DEADLINE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);
/// A server that is away for a moment is no reason to leave a host unconfigured.
const PATIENCE: Duration = Duration::from_secs(60);
/// No file that belongs into a user-data is larger.
const MAX_BYTES: usize = 16 << 20;

/// Why a place on the web could not be had.
#[derive(Debug)]
pub struct Refusal {
    /// What the server answered, if it did.
    pub status: Option<u16>,
    /// As a sentence, without what may be secret in the URL.
    pub why: String,
}

/// What to do where a server points elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// It comes from the place that was named or from nowhere.
    Refused,
    /// A few, and never from https to http.
    Followed,
}

/// A URL without what may be a signature or password in it.
pub fn shown(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    match plain.split_once("://").map(|(scheme, rest)| (scheme, rest, rest.split('/').next().unwrap_or_default())) {
        Some((scheme, rest, host)) if host.contains('@') => {
            format!("{scheme}://…@{}", rest.split_once('@').map_or("", |(_, rest)| rest))
        }
        _ => plain.to_owned(),
    }
}

/// Whether a user or a password is in one of the URLs of a text.
pub fn has_login(text: &str) -> bool {
    let authorities = text.split("://").skip(1).map(|rest| rest.split(['/', '?', '#', ' ', '\n']).next());
    authorities.flatten().any(|authority| authority.contains('@'))
}

/// The content of an `http://` or `https://` URL.
///
/// # Errors
/// The server does not answer in time, refuses, or answers with more than belongs into a user-data.
pub fn fetch(host: &Host, url: &str, redirects: Redirects) -> Result<Vec<u8>, Refusal> {
    let refused = |why: String| Refusal { status: None, why };
    let tls = if url.starts_with("https://") { tls::client(&ClientTls::default()) } else { tls::client_of_nobody() };
    let tls = tls.map_err(|error| refused(error.to_string()))?;
    let policy = match redirects {
        Redirects::Refused => reqwest::redirect::Policy::none(),
        Redirects::Followed => reqwest::redirect::Policy::custom(|attempt| {
            let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
            if attempt.previous().len() > 5 || was_secure && attempt.url().scheme() != "https" {
                return attempt.stop();
            }
            attempt.follow()
        }),
    };
    let client = reqwest::Client::builder()
        .user_agent(concat!("hostwright-bootstrap/", env!("CARGO_PKG_VERSION")))
        .redirect(policy)
        .referer(false)
        .connect_timeout(CONNECT)
        .timeout(DEADLINE)
        .tls_backend_preconfigured((*tls).clone())
        .build()
        .map_err(|error| refused(error.without_url().to_string()))?;
    host.block_on(patiently(&client, url))
}

async fn patiently(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, Refusal> {
    let until = Instant::now() + PATIENCE;
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let refusal = match once(client, url).await {
            Ok(content) => return Ok(content),
            Err(refusal) => refusal,
        };
        let may_pass = refusal.status.is_none_or(|status| status >= 500 || status == 429);
        let delay = backoff.next_delay();
        if !may_pass || Instant::now() + delay > until {
            return Err(refusal);
        }
        tokio::time::sleep(delay).await;
    }
}

async fn once(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, Refusal> {
    let told = |error: reqwest::Error| Refusal { status: None, why: chain(&error.without_url()) };
    let mut response = client.get(url).send().await.map_err(told)?;
    let status = response.status();
    if !status.is_success() {
        let elsewhere = if status.is_redirection() { ": redirects to there are not followed" } else { "" };
        return Err(Refusal { status: Some(status.as_u16()), why: format!("the server answered {status}{elsewhere}") });
    }
    let mut content = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        content.extend_from_slice(&chunk);
        if content.len() > MAX_BYTES {
            let why = format!("the answer is larger than {} MiB", MAX_BYTES >> 20);
            return Err(Refusal { status: Some(413), why });
        }
    }
    Ok(content)
}

/// An error and what it came from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{has_login, shown};

    #[test]
    fn an_address_is_shown_without_what_lets_others_in() {
        for (url, want) in [
            ("https://x.example.org/a?X-Amz-Signature=s", "https://x.example.org/a"),
            ("https://ann:pw@x.example.org/a@b#f", "https://…@x.example.org/a@b"),
            ("s3://bucket/a@b", "s3://bucket/a@b"),
            ("/a?b", "/a"),
        ] {
            assert_eq!(shown(url), want);
        }
        assert!(has_login("deb [a=b] https://ann:pw@x.example.org/debian main"));
        assert!(!has_login("deb https://x.example.org/debian@1 main # a@b"));
    }
}
