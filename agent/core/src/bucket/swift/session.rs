use super::answers;
use super::clouds::{Login, Proof};
use crate::bucket::error::Reason;
use crate::bucket::http;
use crate::secret::Secret;
use jiff::{Timestamp, ToSpan as _};
use reqwest::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

const LIMIT: Duration = Duration::from_secs(30);
/// A token is renewed so long before it ends: uploads that have begun with it may take their time.
const MINUTES_LEFT: i64 = 5;
/// What is believed of a token that tells no end.
const HOURS: i64 = 1;

/// Gives tokens, each for as long as it holds.
#[derive(Debug)]
pub(super) struct Session {
    http: reqwest::Client,
    login: Login,
    granted: Mutex<Option<Arc<Granted>>>,
}

/// What a token opens.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) token: Secret,
    /// The account's URL.
    pub(super) url: String,
    ends: Timestamp,
}

impl Session {
    pub(super) fn new(http: reqwest::Client, login: Login) -> Self {
        Self { http, login, granted: Mutex::new(None) }
    }

    /// A token; all that want one wait for the one request.
    pub(super) async fn granted(&self) -> Result<Arc<Granted>, Reason> {
        let mut granted = self.granted.lock().await;
        if let Some(granted) = granted.as_ref().filter(|granted| Timestamp::now() < granted.ends) {
            return Ok(granted.clone());
        }
        let asked = async {
            match &self.login.proof {
                Proof::Own { user, key } => self.of_swift(user, key).await,
                _ => self.of_keystone().await,
            }
        };
        let fresh = tokio::time::timeout(LIMIT, asked).await.unwrap_or(Err(Reason::Stalled { after: LIMIT }))?;
        Ok(granted.insert(Arc::new(fresh)).clone())
    }

    /// A token that is refused is not used again: it may have been revoked.
    pub(super) async fn heard(&self, status: u16) {
        if status == 401 {
            *self.granted.lock().await = None;
        }
    }

    async fn of_swift(&self, user: &str, key: &Secret) -> Result<Granted, Reason> {
        let request = self.http.get(&self.login.url).header("x-auth-user", user).header("x-auth-key", key.expose());
        let answer = answered(request).await?;
        let text = |name: &str| header(&answer, name).ok_or_else(|| strange(&self.login.url));
        let seconds = header(&answer, "x-auth-token-expires").and_then(|seconds| seconds.parse::<i64>().ok());
        Ok(Granted {
            token: Secret::new(text("x-auth-token")?),
            url: text("x-storage-url")?.trim_end_matches('/').to_owned(),
            ends: Timestamp::now() + (seconds.unwrap_or(HOURS * 3600) - MINUTES_LEFT * 60).max(0).seconds(),
        })
    }

    async fn of_keystone(&self) -> Result<Granted, Reason> {
        let base = self.login.url.trim_end_matches('/').trim_end_matches("/v3");
        let url = format!("{base}/v3/auth/tokens");
        let body = self.question().to_string();
        let request = self.http.post(&url).header("content-type", "application/json").body(body);
        let answer = answered(request).await?;
        let token = header(&answer, "x-subject-token").ok_or_else(|| strange(&url))?;
        let text = answer.text().await.map_err(|error| http::no_answer(&error))?;
        let body: Value = serde_json::from_str(&text).map_err(|_| strange(&url))?;
        let ends = body["token"]["expires_at"].as_str().and_then(|ends| ends.parse::<Timestamp>().ok());
        Ok(Granted {
            token: Secret::new(token),
            url: answers::store(&body["token"]["catalog"], self.login.region.as_deref(), self.login.interface.word())
                .map_err(|cause| Reason::Setup { cause })?,
            ends: ends.unwrap_or_else(|| Timestamp::now() + HOURS.hours()) - MINUTES_LEFT.minutes(),
        })
    }

    fn question(&self) -> Value {
        match &self.login.proof {
            Proof::ApplicationCredential { id, secret } => json!({"auth": {"identity": {
                "methods": ["application_credential"],
                "application_credential": {"id": id.expose(), "secret": secret.expose()},
            }}}),
            Proof::Password { user, password, user_domain, project, project_domain } => json!({"auth": {
                "identity": {"methods": ["password"], "password": {
                    "user": user.with_domain(user_domain, [("password", password.expose())].into()),
                }},
                "scope": {"project": project.with_domain(project_domain, [].into())},
            }}),
            Proof::Own { .. } => Value::Null,
        }
    }
}

async fn answered(request: reqwest::RequestBuilder) -> Result<Response, Reason> {
    let answer = request.send().await.map_err(|error| http::no_answer(&error))?;
    let code = |whose: &str| format!("{} of {whose}", answer.status().as_u16());
    match answer.status().as_u16() {
        200..=299 => Ok(answer),
        401 | 404 => Err(Reason::BadCredentials { code: code("the service that gives tokens") }),
        403 => Err(Reason::Denied { code: code("the service that gives tokens") }),
        429 | 500..=599 => Err(Reason::Busy { code: code("the service that gives tokens") }),
        _ => Err(Reason::Refused { code: code("the service that gives tokens") }),
    }
}

fn header(answer: &Response, name: &str) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn strange(url: &str) -> Reason {
    Reason::Setup { cause: format!("what answers at {url} gives no tokens; see that the URL is that of Keystone v3") }
}
