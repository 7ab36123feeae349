//! <https://distribution.github.io/distribution/spec/auth/token/>

use super::{Login, RegistryError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use reqwest::{Client, Url};
use serde::Deserialize;

/// Tokens are a few kilobytes.
const LONGEST: usize = 1 << 20;
/// A name for those who look at the token service's log.
const CLIENT: &str = "hostwright-agent";

/// What a registry asks for (RFC 9110, 11.6.1).
#[derive(Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer(Bearer),
}

/// Where a token is given.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bearer {
    pub realm: String,
    pub service: Option<String>,
    pub scope: Option<String>,
}

/// What asking for a token takes.
pub struct Token<'a> {
    pub client: &'a Client,
    pub bearer: &'a Bearer,
    pub login: &'a Login,
    /// The registry that sends us there.
    pub api: &'a str,
}

#[derive(Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
}

impl Challenge {
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut bearer = Bearer::default();
        for (name, value) in parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => bearer.realm = value,
                "service" => bearer.service = Some(value),
                "scope" => bearer.scope = Some(value),
                _ => {}
            }
        }
        (!bearer.realm.is_empty()).then_some(Self::Bearer(bearer))
    }
}

/// `name="value", name=value`; a comma inside quotes belongs to the value.
fn parameters(mut rest: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_owned();
        let mut value = String::new();
        let after = after.trim_start();
        if let Some(quoted) = after.strip_prefix('"') {
            let mut characters = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, c)) = characters.next() {
                match c {
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    '\\' => value.extend(characters.next().map(|(_, c)| c)),
                    c => value.push(c),
                }
            }
            rest = &quoted[end..];
        } else {
            let end = after.find(',').unwrap_or(after.len());
            value.push_str(after[..end].trim());
            rest = &after[end..];
        }
        all.push((name, value));
    }
    all
}

/// The login itself, where there is one that can be shown so.
pub fn basic(login: &Login) -> Option<HeaderValue> {
    let Login::User { name, password } = login else { return None };
    let pair = STANDARD.encode(format!("{name}:{}", password.expose()));
    secret(&format!("Basic {pair}"))
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Token<'_> {
    /// A token that lets read a repository.
    pub async fn get(&self, repository: &str) -> Result<HeaderValue, RegistryError> {
        let realm = &self.bearer.realm;
        let url = self.url()?;
        let scope = self.bearer.scope.clone().unwrap_or_else(|| format!("repository:{repository}:pull"));
        let service = self.bearer.service.iter().map(|service| ("service", service.as_str()));
        let request = match self.login {
            Login::IdentityToken(token) => {
                let form = [("grant_type", "refresh_token"), ("client_id", CLIENT), ("scope", &scope)];
                let form = form.into_iter().chain(service).chain([("refresh_token", token.expose())]);
                self.client
                    .post(url)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(form_encoded(form))
            }
            login => {
                let mut url = url;
                url.query_pairs_mut().extend_pairs(service).append_pair("scope", &scope);
                let request = self.client.get(url);
                match basic(login) {
                    Some(basic) => request.header("authorization", basic),
                    None => request,
                }
            }
        };
        let unreachable = |error: reqwest::Error| {
            RegistryError::Unreachable(format!("no token from {realm}: {}", error.without_url()))
        };
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        if !status.is_success() {
            let why = format!("{realm} gives no token: it answered {status}; see that the login is right");
            return Err(if status.is_server_error() {
                RegistryError::Unreachable(why)
            } else {
                RegistryError::Denied(why)
            });
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST {
                break;
            }
        }
        let given = serde_json::from_slice::<Given>(&body).ok();
        given
            .and_then(|given| given.token.or(given.access_token))
            .and_then(|token| secret(&format!("Bearer {token}")))
            .ok_or_else(|| RegistryError::Strange(format!("what {realm} gives is no token")))
    }

    /// The login is not sent without TLS, unless the registry itself is asked so.
    fn url(&self) -> Result<Url, RegistryError> {
        let realm = &self.bearer.realm;
        let url = Url::parse(realm).map_err(|_| {
            RegistryError::Strange(format!("{} sends us for a token to {realm:?}, which is no URL", self.api))
        })?;
        let is_open = url.scheme() != "https" && !self.api.starts_with("http://");
        if is_open {
            return Err(RegistryError::Strange(format!(
                "{} sends us for a token to {realm}, which is not https: no login is sent there",
                self.api
            )));
        }
        Ok(url)
    }
}

fn form_encoded<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    // The encoding of a query and of a form are the same; any base will do.
    let mut url = match Url::parse("http://form") {
        Ok(url) => url,
        Err(_) => return String::new(),
    };
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Bearer, Challenge};

    #[test]
    fn challenges_are_read_with_quotes_commas_and_none() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            Some(Challenge::Bearer(Bearer { realm: realm.into(), service: own(service), scope: own(scope) }))
        };
        assert_eq!(
            Challenge::parse(r#"Bearer realm="https://a/t",service="r",scope="repository:x:pull,push""#),
            bearer("https://a/t", Some("r"), Some("repository:x:pull,push"))
        );
        assert_eq!(
            Challenge::parse(r#"bearer Realm=https://a/t , service="a\"b""#),
            bearer("https://a/t", Some("a\"b"), None)
        );
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("basic"), Some(Challenge::Basic));
        for wrong in ["", "Negotiate", "Bearer", "Bearer realm=\"\"", "Bearer realm=\"", "Bearer ==\",\"="] {
            assert_eq!(Challenge::parse(wrong), None, "{wrong}");
        }
    }
}
