use super::Keys;
use crate::bucket::error::Reason;
use crate::bucket::http;
use crate::config::buckets::Connection;
use crate::secret::Secret;
use jiff::Timestamp;
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const LIMIT: Duration = Duration::from_secs(5);
/// EC2's metadata service; the variable is the one that AWS' SDKs know.
const INSTANCE: &str = "http://169.254.169.254";
const INSTANCE_VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const ROLES: &str = "latest/meta-data/iam/security-credentials";
/// Where ECS answers under the path of `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
const CONTAINER: &str = "http://169.254.170.2";
/// EKS Pod Identity answers here too.
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// A role whose temporary keys a service of the cloud gives.
#[derive(Debug)]
pub(super) struct Role {
    client: reqwest::Client,
    service: Service,
}

#[derive(Debug)]
enum Service {
    Instance { base: String },
    Container { url: String, token: Option<Token> },
}

#[derive(Debug)]
enum Token {
    Given(Secret),
    /// Read at each request: it is replaced before it ends.
    File(PathBuf),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<Timestamp>,
}

impl Role {
    /// The role of this EC2 instance.
    pub(super) fn of_instance() -> Result<Self, Reason> {
        let base = std::env::var(INSTANCE_VARIABLE).unwrap_or_else(|_| INSTANCE.to_owned());
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { client: http::client(&Connection::default(), &base)?, service: Service::Instance { base } })
    }

    /// The role of this container (ECS, EKS Pod Identity).
    pub(super) fn of_container() -> Result<Self, Reason> {
        let variable = |ending: &str| std::env::var(format!("AWS_CONTAINER_{ending}")).ok();
        let relative = variable("CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER}{path}"));
        let Some(url) = relative.or_else(|| variable("CREDENTIALS_FULL_URI")) else {
            let why = "neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set; they are where a role is given to the container".into();
            return Err(Reason::Keys { place: "the container's role".into(), why });
        };
        if !may_be_asked(&url) {
            let why = "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor of this host".into();
            return Err(Reason::Keys { place: "the container's role".into(), why });
        }
        let file = variable("AUTHORIZATION_TOKEN_FILE").map(|path| Token::File(path.into()));
        let token = file.or_else(|| variable("AUTHORIZATION_TOKEN").map(|token| Token::Given(Secret::new(token))));
        Ok(Self { client: http::client(&Connection::default(), &url)?, service: Service::Container { url, token } })
    }

    /// Asks for keys.
    pub(super) async fn keys(&self) -> Result<Keys, Reason> {
        match &self.service {
            Service::Instance { base } => self.of_metadata(base).await,
            Service::Container { url, token } => {
                let mut request = self.client.get(url);
                if let Some(token) = token {
                    request = request.header("Authorization", token.read()?);
                }
                self.given("the container's role", request).await
            }
        }
    }

    async fn of_metadata(&self, base: &str) -> Result<Keys, Reason> {
        let place = "the instance's role";
        let request = self.client.put(format!("{base}/latest/api/token"));
        let session = self.answer(place, request.header("X-aws-ec2-metadata-token-ttl-seconds", "21600")).await?;
        let ask = |path: &str| self.client.get(format!("{base}/{path}")).header("X-aws-ec2-metadata-token", &session);
        let roles = self.answer(place, ask(&format!("{ROLES}/"))).await?;
        let Some(role) = roles.lines().next().map(str::trim).filter(|role| !role.is_empty()) else {
            let why = "the instance has no role; attach an instance profile to it".into();
            return Err(Reason::Keys { place: place.into(), why });
        };
        self.given(place, ask(&format!("{ROLES}/{role}"))).await
    }

    async fn given(&self, place: &str, request: reqwest::RequestBuilder) -> Result<Keys, Reason> {
        let text = self.answer(place, request).await?;
        let none = || Reason::Keys { place: place.into(), why: "the service gave no keys".into() };
        // serde's own words could quote the content.
        let given: Given = serde_json::from_str(&text).map_err(|_| none())?;
        Ok(Keys {
            access_key: given.access_key_id.map(Secret::new).ok_or_else(none)?,
            secret_key: given.secret_access_key.map(Secret::new).ok_or_else(none)?,
            session_token: given.token.map(Secret::new),
            expires: given.expiration.map(SystemTime::from),
        })
    }

    async fn answer(&self, place: &str, request: reqwest::RequestBuilder) -> Result<String, Reason> {
        let failed = |why: String| Reason::Keys { place: place.to_owned(), why };
        let asked = async {
            let answer = request.send().await.map_err(|error| failed(http::with_causes(&error)))?;
            match answer.status().as_u16() {
                200 => answer.text().await.map_err(|error| failed(http::with_causes(&error))),
                404 => Err(failed("the service knows of none; attach a role".into())),
                status => Err(failed(format!("the service answers with status {status}"))),
            }
        };
        let late = || failed(format!("no answer within {} s; is this host in that cloud?", LIMIT.as_secs()));
        tokio::time::timeout(LIMIT, asked).await.unwrap_or_else(|_| Err(late()))
    }
}

impl Token {
    fn read(&self) -> Result<String, Reason> {
        match self {
            Self::Given(token) => Ok(token.expose().to_owned()),
            Self::File(path) => {
                let secret = crate::secret::SecretRef::File(path.clone()).resolve().map_err(Reason::Credentials)?;
                Ok(secret.expose().to_owned())
            }
        }
    }
}

/// Keys are asked for over TLS, or of this host and its cloud's own addresses.
fn may_be_asked(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let own = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme() == "https" || url.scheme() == "http" && (own || CONTAINER_HOSTS.contains(&host))
}

#[cfg(test)]
mod tests {
    use super::may_be_asked;

    #[test]
    fn keys_are_asked_of_nobody_else_in_plain_text() {
        for url in ["https://x.example/a", "http://127.0.0.1:1/a", "http://[::1]/a", "http://169.254.170.2/v2"] {
            assert!(may_be_asked(url), "{url}");
        }
        for url in ["http://x.example/a", "http://169.254.169.254/", "ftp://127.0.0.1/", "x"] {
            assert!(!may_be_asked(url), "{url}");
        }
    }
}
