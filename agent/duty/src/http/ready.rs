use super::address;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hostwright_core::config::endpoint::{Auth, Endpoint};
use hostwright_core::config::proxy::{Kind, Proxy};
use hostwright_core::config::values::MaybeSecret;
use hostwright_core::secret::{Secret, SecretRef};
use hostwright_core::tls;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(5);
/// Platforms and what stands before them close idle connections after a minute or more: ours is given up before.
const IDLE: Duration = Duration::from_secs(30);

/// What is needed to send requests.
pub struct Ready {
    pub client: reqwest::Client,
    pub url: Url,
    pub headers: HeaderMap,
    /// Never to be shown, even if the platform says them.
    pub secrets: Vec<Secret>,
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

impl Ready {
    /// Reads secrets and certificates. Connects to nothing.
    pub fn new(endpoint: &Endpoint, suffix: &str) -> Result<Self, String> {
        let mut secrets = Vec::new();
        let mut headers = headers(endpoint, &mut secrets)?;
        let url = joined(&endpoint.url.0, suffix);
        let mut url = Url::parse(&url).map_err(|error| format!("{} is no URL: {error}", endpoint.url.0))?;
        let builder = reqwest::Client::builder()
            .user_agent(concat!("hostwright-agent/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .http1_only()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1);
        let mut builder = match &endpoint.proxy {
            Some(proxy) => builder.proxy(through(proxy, &mut secrets)?),
            None => builder,
        };
        if let Some(name) = &endpoint.tls.server_name {
            // Connects to the URL's host all the same, and asks there for this name.
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let authority = address(endpoint).split_once("://").map_or("", |(_, authority)| authority);
            headers.entry(HOST).or_insert(value(authority, false)?);
            builder = builder.no_proxy().dns_resolver(Arc::new(Fixed { host }));
            url.set_host(Some(name)).map_err(|error| format!("tls.server_name {name:?}: {error}"))?;
        }
        let tls = match url.scheme() {
            "https" => tls::client(&endpoint.tls),
            _ => tls::client_of_nobody(),
        };
        let tls = tls.map_err(|error| error_text(&error))?;
        let client = builder.tls_backend_preconfigured((*tls).clone()).build();
        let client = client.map_err(|error| format!("cannot set up the way to {}: {error}", address(endpoint)))?;
        Ok(Self { client, url, headers, secrets })
    }
}

/// A URL with a path behind its own one, unless it ends so already; what either has of a query is in it.
fn joined(url: &str, suffix: &str) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (path, more) = suffix.split_once('?').unwrap_or((suffix, ""));
    let base = if path.is_empty() { base } else { base.strip_suffix(path).unwrap_or(base).trim_end_matches('/') };
    let and = if query.is_empty() || more.is_empty() { "" } else { "&" };
    let mark = if query.is_empty() && more.is_empty() { "" } else { "?" };
    format!("{base}{path}{mark}{query}{and}{more}")
}

/// Looks up the same host whatever is asked for.
#[derive(Debug)]
struct Fixed {
    host: String,
}

impl Resolve for Fixed {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.host.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The header fields of every request; the secrets in them are noted.
fn headers(endpoint: &Endpoint, secrets: &mut Vec<Secret>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    if let Some(auth) = &endpoint.auth {
        headers.insert(AUTHORIZATION, value(&authorization(auth, secrets)?, true)?);
    }
    for (name, given) in &endpoint.headers {
        let is_secret = matches!(given, MaybeSecret::Secret(_));
        let text = value(resolved(given, secrets)?.expose(), is_secret)?;
        let name = HeaderName::try_from(name).map_err(|_| format!("{name:?} cannot be a header field's name"))?;
        headers.insert(name, text);
    }
    Ok(headers)
}

fn authorization(auth: &Auth, secrets: &mut Vec<Secret>) -> Result<String, String> {
    let mut of = |reference: &SecretRef| resolved(&MaybeSecret::Secret(reference.clone()), secrets);
    match auth {
        Auth::Bearer(token) => Ok(format!("Bearer {}", of(token)?.expose())),
        Auth::ApiKey(key) => Ok(format!("ApiKey {}", of(key)?.expose())),
        Auth::Basic(user, password) => {
            let password = of(password)?;
            let user = resolved(user, secrets)?;
            let pair = STANDARD.encode(format!("{}:{}", user.expose(), password.expose()));
            secrets.push(Secret::new(pair.clone()));
            Ok(format!("Basic {pair}"))
        }
    }
}

fn resolved(given: &MaybeSecret, secrets: &mut Vec<Secret>) -> Result<Secret, String> {
    let secret = given.resolve().map_err(|error| error_text(&error))?;
    if matches!(given, MaybeSecret::Secret(_)) {
        secrets.push(secret.clone());
    }
    Ok(secret)
}

fn value(text: &str, is_secret: bool) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| "a secret or header field of the output is not printable ASCII; see what its reference holds")?;
    value.set_sensitive(is_secret);
    Ok(value)
}

fn through(proxy: &Proxy, secrets: &mut Vec<Secret>) -> Result<reqwest::Proxy, String> {
    let scheme = match proxy.kind {
        Kind::Http => "http",
        Kind::Socks5 => "socks5h",
    };
    let unusable = |error: reqwest::Error| format!("the proxy {} cannot be used: {error}", proxy.address.0);
    let mut through = reqwest::Proxy::all(format!("{scheme}://{}", proxy.address.0)).map_err(unusable)?;
    if let Some(login) = &proxy.login {
        let password = resolved(&MaybeSecret::Secret(login.password.clone()), secrets)?;
        // What the proxy is sent, and might tell back.
        secrets.push(Secret::new(STANDARD.encode(format!("{}:{}", login.user, password.expose()))));
        through = through.basic_auth(&login.user, password.expose());
    }
    Ok(through)
}

/// An error with its causes.
fn error_text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn a_path_is_added_once_and_before_the_query() {
        for (url, suffix, whole) in [
            ("http://x", "/_bulk?a=b", "http://x/_bulk?a=b"),
            ("http://x/es?c=d", "/_bulk?a=b", "http://x/es/_bulk?c=d&a=b"),
            ("http://x/es/_bulk", "/_bulk", "http://x/es/_bulk"),
            ("http://x/es/?c=d", "/_bulk", "http://x/es/_bulk?c=d"),
            ("http://x/in?a=b", "", "http://x/in?a=b"),
            ("http://x/in/", "", "http://x/in/"),
            ("http://x", "/", "http://x/"),
        ] {
            assert_eq!(joined(url, suffix), whole);
        }
    }
}
