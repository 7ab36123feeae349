//! What we ask a registry ourselves: which digest a tag stands for, which tags there are, and what is signed. Layers are
//! the engine's affair. <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>
//!
//! In: names and digests. Out: content that has been compared with its digest. Nothing survives.

/// Who asks: challenges and tokens.
mod auth;
/// How the registry is known: certificates, as the engine has them.
mod trust;

use super::credentials::Login;
use super::reference::{Reference, is_digest};
use auth::{Challenge, Token};
use hostwright_core::config::tls::ClientTls;
use hostwright_core::hex::hex;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LINK, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::sync::Mutex;

pub use trust::trust;

const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);
/// The specification lets registries refuse larger manifests.
const LONGEST_MANIFEST: usize = 4 << 20;
/// Of tags so many pages are read, each of so many.
const MOST_PAGES: usize = 200;
const PAGE: usize = 1000;
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";

/// One repository of a registry, as one user sees it.
#[derive(Debug)]
pub struct Registry {
    client: reqwest::Client,
    api: String,
    repository: String,
    login: Login,
    authorization: Mutex<Option<HeaderValue>>,
}

/// Why a registry did not give what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No answer: another way to the image may work.
    #[error("{0}")]
    Unreachable(String),
    /// The login is missing, or was not accepted.
    #[error("{0}")]
    Denied(String),
    /// Another answer than a good one.
    #[error("{0}")]
    Strange(String),
}

/// Something that a manifest or an index points to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub artifact_type: String,
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// A manifest or an index, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Manifest {
    pub media_type: String,
    pub artifact_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    pub manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Registry {
    /// Makes a client; nothing is sent.
    pub fn new(reference: &Reference, login: Login, known: Option<&ClientTls>) -> Result<Self, RegistryError> {
        let tls = trust(&reference.host, known).map_err(RegistryError::Strange)?;
        let api = reference.api(tls.is_some());
        let unusable = |error: &dyn std::error::Error| RegistryError::Strange(format!("cannot ask {api}: {error}"));
        let config = hostwright_core::tls::client(&tls.unwrap_or_default()).map_err(|error| unusable(&error))?;
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .tls_backend_preconfigured((*config).clone())
            .build()
            .map_err(|error| unusable(&error))?;
        let repository = reference.repository.clone();
        Ok(Self { client, api, repository, login, authorization: Mutex::new(None) })
    }

    /// The digest that a tag or digest stands for; nothing where there is no such image.
    pub async fn resolve(&self, what: &str) -> Result<Option<String>, RegistryError> {
        let path = format!("manifests/{what}");
        let Some(answer) = self.ask(Method::HEAD, &path, Some(MANIFESTS)).await? else { return Ok(None) };
        let digest = answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        if let Some(digest) = digest.filter(|digest| is_digest(digest)) {
            return Ok(Some(digest.to_owned()));
        }
        // The header may be missing; the content says it as well.
        Ok(self.manifest(what).await?.map(|bytes| digest_of(&bytes)))
    }

    /// A manifest's bytes; those of a digest have been compared with it.
    pub async fn manifest(&self, what: &str) -> Result<Option<Vec<u8>>, RegistryError> {
        let path = format!("manifests/{what}");
        let Some(answer) = self.ask(Method::GET, &path, Some(MANIFESTS)).await? else { return Ok(None) };
        self.content(answer, what, LONGEST_MANIFEST).await.map(Some)
    }

    /// A blob's bytes, compared with its digest.
    pub async fn blob(&self, digest: &str, at_most: usize) -> Result<Option<Vec<u8>>, RegistryError> {
        if !is_digest(digest) {
            return Err(RegistryError::Strange(format!("{}: {digest:?} is no digest", self.place())));
        }
        let Some(answer) = self.ask(Method::GET, &format!("blobs/{digest}"), None).await? else { return Ok(None) };
        self.content(answer, digest, at_most).await.map(Some)
    }

    /// All tags of the repository; none where there is no such repository.
    pub async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        let mut all = Vec::new();
        let mut path = format!("tags/list?n={PAGE}");
        for _ in 0..MOST_PAGES {
            let Some(answer) = self.ask(Method::GET, &path, None).await? else { return Ok(all) };
            let next = answer.headers().get(LINK).and_then(|link| link.to_str().ok()).and_then(next_query);
            let body = self.content(answer, "tags", LONGEST_MANIFEST).await?;
            let page: Tags = serde_json::from_slice(&body).map_err(|_| self.strange("its list of tags"))?;
            all.extend(page.tags.unwrap_or_default());
            match next {
                Some(query) => path = format!("tags/list?{query}"),
                None => return Ok(all),
            }
        }
        Err(RegistryError::Strange(format!("{} has more tags than can be looked at; delete old ones", self.place())))
    }

    /// What refers to a manifest, by the API or, where the registry has none, by the tag that stands for it.
    pub async fn referrers(&self, digest: &str) -> Result<Vec<Descriptor>, RegistryError> {
        let body = match self.ask(Method::GET, &format!("referrers/{digest}"), None).await? {
            Some(answer) => Some(self.content(answer, "referrers", LONGEST_MANIFEST).await?),
            None => self.manifest(&digest.replace(':', "-")).await?,
        };
        let Some(body) = body else { return Ok(Vec::new()) };
        let index: Manifest = serde_json::from_slice(&body).map_err(|_| self.strange("its list of referrers"))?;
        Ok(index.manifests)
    }

    /// `registry.example.org/team/app`, for sentences.
    fn place(&self) -> String {
        let host = self.api.split_once("://").map_or(self.api.as_str(), |(_, host)| host);
        format!("{host}/{}", self.repository)
    }

    fn strange(&self, what: &str) -> RegistryError {
        RegistryError::Strange(format!("{}: {what} cannot be read; see that a registry is there", self.place()))
    }

    /// A good answer, or nothing where there is no such thing.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        accept: Option<&'static str>,
    ) -> Result<Option<Response>, RegistryError> {
        let url = format!("{}/v2/{}/{path}", self.api, self.repository);
        let url = Url::parse(&url).map_err(|_| self.strange("its name"))?;
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        let mut asked_again = false;
        loop {
            if let Some(authorization) = self.authorization.lock().await.clone() {
                headers.insert(AUTHORIZATION, authorization);
            }
            let sent = self.client.request(method.clone(), url.clone()).headers(headers.clone()).send().await;
            let answer = sent.map_err(|error| self.unreachable(&error))?;
            match answer.status() {
                status if status.is_success() => return Ok(Some(answer)),
                StatusCode::UNAUTHORIZED if !asked_again => {
                    asked_again = true;
                    self.authorize(answer.headers()).await?;
                }
                StatusCode::NOT_FOUND => return Ok(None),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.denied(answer.status())),
                status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                    return Err(RegistryError::Unreachable(format!("{} answered {status}", self.place())));
                }
                status => return Err(RegistryError::Strange(format!("{} answered {status}", self.place()))),
            }
        }
    }

    /// Gets what the challenges ask for.
    async fn authorize(&self, headers: &HeaderMap) -> Result<(), RegistryError> {
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenge = challenges.filter_map(Challenge::parse).next();
        let authorization = match challenge {
            Some(Challenge::Basic) => auth::basic(&self.login),
            Some(Challenge::Bearer(bearer)) => {
                let token = Token { client: &self.client, bearer: &bearer, login: &self.login, api: &self.api };
                Some(token.get(&self.repository).await?)
            }
            None => None,
        };
        *self.authorization.lock().await = Some(authorization.ok_or_else(|| self.denied(StatusCode::UNAUTHORIZED))?);
        Ok(())
    }

    fn denied(&self, status: StatusCode) -> RegistryError {
        let why = match self.login {
            Login::Nobody => "give a login under images.registries, or by docker login as root",
            _ => "see that the login is right and may read this image",
        };
        RegistryError::Denied(format!("{} answered {status}; {why}", self.place()))
    }

    fn unreachable(&self, error: &reqwest::Error) -> RegistryError {
        let mut innermost: &dyn std::error::Error = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let reason = innermost.to_string();
        let remedy = if reason.contains("certificate") {
            "; name its authority under images.registries tls: {ca: …}, and for the engine in /etc/docker/certs.d"
        } else {
            ""
        };
        let text = format!("no answer from {}: {reason}{remedy}", self.place());
        // A certificate that is not known is no outage.
        if remedy.is_empty() { RegistryError::Unreachable(text) } else { RegistryError::Strange(text) }
    }

    /// A body in bounds. Where it was asked for by a digest, it is compared with it.
    async fn content(&self, mut answer: Response, what: &str, at_most: usize) -> Result<Vec<u8>, RegistryError> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > at_most {
                return Err(RegistryError::Strange(format!("{}: {what} is larger than {at_most} bytes", self.place())));
            }
            body.extend_from_slice(&chunk);
        }
        if is_digest(what) && digest_of(&body) != what {
            return Err(RegistryError::Strange(format!(
                "{}: the content of {what} has another digest: it was changed on the way or in the registry",
                self.place()
            )));
        }
        Ok(body)
    }
}

/// `sha256:…` of bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// The query of `</v2/team/app/tags/list?last=x&n=1000>; rel="next"`.
fn next_query(link: &str) -> Option<String> {
    let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then_some(url.split_once('?')?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Reference, Registry, RegistryError, digest_of, next_query};
    use crate::containers::images::credentials::Login;
    use hostwright_core::secret::Secret;
    use hostwright_testing::canned::Canned;

    fn registry(service: &Canned, login: Login) -> Registry {
        let host = service.url.strip_prefix("http://").expect("http");
        Registry::new(&Reference::parse(&format!("{host}/team/app")).expect("valid"), login, None).expect("a client")
    }

    fn bot() -> Login {
        Login::User { name: "bot".into(), password: Secret::new("hunter2".into()) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_challenge_is_answered_with_a_token_and_the_request_sent_again() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let mut service = Canned::start([]).await;
        let realm = Canned::start(["200 OK\r\n\r\n{\"token\":\"t0ken\"}"]).await;
        let challenge = format!(
            "401 Unauthorized\r\nwww-authenticate: Bearer realm=\"{}/token\",service=\"reg\",scope=\"repository:team/app:pull\"\r\n\r\n",
            realm.url
        );
        let good = format!("200 OK\r\ndocker-content-digest: {digest}\r\n\r\n");
        service = {
            drop(service);
            Canned::start([challenge.as_str(), good.as_str()]).await
        };
        let registry = registry(&service, bot());
        assert_eq!(registry.resolve("1.2").await, Ok(Some(digest)));
        assert!(!service.request().await.head.contains("authorization"));
        assert!(service.request().await.head.contains("authorization: bearer t0ken\r\n"));
        let mut realm = realm;
        let head = realm.request().await.head;
        assert!(head.starts_with("get /token?service=reg&scope=repository%3ateam%2fapp%3apull "), "{head}");
        assert!(head.contains("authorization: basic ym90omh1bnrlcji=\r\n"), "{head}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_login_that_is_missing_or_wrong_says_what_to_do() {
        let basic = "401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"\r\n\r\n";
        let service = Canned::start([basic, basic, basic]).await;
        let why = registry(&service, Login::Nobody).resolve("1").await.expect_err("denied").to_string();
        assert!(why.contains("docker login"), "{why}");
        let why = registry(&service, bot()).resolve("1").await.expect_err("denied").to_string();
        assert!(why.contains("see that the login is right") && !why.contains("hunter2"), "{why}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn content_with_another_digest_is_refused() {
        let service = Canned::start(["200 OK\r\n\r\nabc", "200 OK\r\n\r\nabd", "404 Not Found\r\n\r\n"]).await;
        let registry = registry(&service, Login::Nobody);
        let digest = digest_of(b"abc");
        assert_eq!(registry.blob(&digest, 10).await, Ok(Some(b"abc".to_vec())));
        let error = registry.blob(&digest, 10).await.expect_err("refused");
        assert!(matches!(error, RegistryError::Strange(why) if why.contains("another digest")));
        assert_eq!(registry.resolve("1").await, Ok(None));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tags_are_read_page_by_page() {
        let first = "200 OK\r\nlink: </v2/team/app/tags/list?last=b&n=1000>; rel=\"next\"\r\n\r\n{\"name\":\"x\",\"tags\":[\"a\",\"b\"]}";
        let mut service = Canned::start([first, "200 OK\r\n\r\n{\"name\":\"x\",\"tags\":null}"]).await;
        assert_eq!(registry(&service, Login::Nobody).tags().await, Ok(vec!["a".into(), "b".into()]));
        service.request().await;
        assert!(service.request().await.head.starts_with("get /v2/team/app/tags/list?last=b&n=1000 "));
        assert_eq!(next_query("<https://r/v2/x/tags/list?n=2>; rel=\"prev\""), None);
    }
}
