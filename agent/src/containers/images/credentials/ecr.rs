//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html>

use super::Login;
use crate::aws::Identity;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hostwright_core::config::aws::Credentials;
use hostwright_core::config::tls::ClientTls;
use hostwright_core::secret::Secret;
use hostwright_core::tls;
use hostwright_duty::http::Answer;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, SystemTime};

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const ANSWER: Duration = Duration::from_secs(20);
/// A token lasts 12 hours at most, and ends with the role's session, which may be earlier: it is used for half of its
/// time, and never longer than this.
const LONGEST_USE: Duration = Duration::from_secs(6 * 3600);

/// Where tokens for a registry are given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    url: String,
    region: String,
}

/// Tokens, each until half of its time is over.
#[derive(Debug, Default)]
pub struct Ecr {
    tokens: BTreeMap<Place, Token>,
}

#[derive(Debug)]
struct Token {
    login: Login,
    until: SystemTime,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    authorization_data: Vec<Datum>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Datum {
    authorization_token: String,
    /// Seconds since 1970.
    expires_at: f64,
}

impl Place {
    /// What `123456789012.dkr.ecr.eu-west-1.amazonaws.com` says, unless the configuration says otherwise.
    pub fn of(host: &str, url: Option<&str>, region: Option<&str>) -> Result<Self, String> {
        let found = parts(host);
        let region = region.or(found.map(|(region, _)| region)).ok_or_else(|| {
            format!("the name {host} does not say in which region its tokens are given; set ecr: {{region: …}}")
        })?;
        let own = || {
            let (_, domain) = found.unwrap_or((region, "amazonaws.com"));
            format!("https://api.ecr.{region}.{domain}")
        };
        Ok(Self { url: url.map_or_else(own, |url| url.trim_end_matches('/').to_owned()), region: region.to_owned() })
    }
}

/// Region and domain of an ECR registry's host.
fn parts(host: &str) -> Option<(&str, &str)> {
    let (account, rest) = host.split_once(".dkr.ecr")?;
    let rest = rest.strip_prefix("-fips").unwrap_or(rest).strip_prefix('.')?;
    let (region, domain) = rest.split_once('.')?;
    let is_account = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit());
    (is_account && domain.starts_with("amazonaws.com")).then_some((region, domain))
}

impl Ecr {
    pub async fn login(&mut self, place: &Place, credentials: &Credentials) -> Result<Login, String> {
        let now = SystemTime::now();
        if let Some(token) = self.tokens.get(place).filter(|token| token.until > now) {
            return Ok(token.login.clone());
        }
        let token = ask(place, credentials, now).await?;
        let login = token.login.clone();
        self.tokens.insert(place.clone(), token);
        Ok(login)
    }

    pub fn forget(&mut self) {
        self.tokens.clear();
    }
}

async fn ask(place: &Place, credentials: &Credentials, now: SystemTime) -> Result<Token, String> {
    let failed = |why: &dyn std::fmt::Display| format!("cannot get a token for ECR from {}: {why}", place.url);
    let identity = Identity::new(credentials.clone()).credentials().await.map_err(|why| failed(&why))?;
    let url = format!("{}/", place.url);
    let request = signed(&url, &place.region, identity).map_err(|error| failed(&error))?;
    let answer = match request.send().await {
        Ok(response) => Answer::read(response).await,
        Err(error) => Err(error),
    };
    let answer = answer.map_err(|error| failed(&error.without_url()))?;
    if !answer.status.is_success() {
        let text = String::from_utf8_lossy(&answer.body);
        let words: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
        return Err(failed(&format!(
            "it answered {}: {words}; the credentials must allow ecr:GetAuthorizationToken",
            answer.status
        )));
    }
    token(&answer.body, now).ok_or_else(|| failed(&"what it answered is no token"))
}

fn signed(
    url: &str,
    region: &str,
    credentials: aws_credential_types::Credentials,
) -> Result<reqwest::RequestBuilder, Box<dyn Error>> {
    const BODY: &[u8] = b"{}";
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("ecr")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?;
    let own = [("content-type", CONTENT_TYPE), ("x-amz-target", TARGET)];
    let request = SignableRequest::new("POST", url, own.into_iter(), SignableBody::Bytes(BODY))?;
    let (instructions, _) = sign(request, &params.into())?.into_parts();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER)
        .tls_backend_preconfigured((*tls::client(&ClientTls::default())?).clone())
        .build()?;
    let mut request = client.post(url).body(BODY);
    for (name, value) in instructions.headers().chain(own) {
        request = request.header(name, value);
    }
    Ok(request)
}

fn token(body: &[u8], now: SystemTime) -> Option<Token> {
    let given: Given = serde_json::from_slice(body).ok()?;
    let datum = given.authorization_data.into_iter().next()?;
    let decoded = String::from_utf8(STANDARD.decode(datum.authorization_token).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    let end = SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(datum.expires_at).ok()?;
    let lasts = end.duration_since(now).unwrap_or_default();
    let login = Login::User { name: name.to_owned(), password: Secret::new(password.to_owned()) };
    Some(Token { login, until: now + (lasts / 2).min(LONGEST_USE) })
}

#[cfg(test)]
mod tests {
    use super::{Ecr, Place, parts, token};
    use crate::containers::images::credentials::Login;
    use hostwright_core::config::aws::{Credentials, Key};
    use hostwright_core::secret::{Secret, SecretRef};
    use hostwright_testing::canned::Canned;
    use std::time::{Duration, SystemTime};

    #[test]
    fn the_host_says_the_region() {
        assert_eq!(parts("1.dkr.ecr.eu-west-1.amazonaws.com"), Some(("eu-west-1", "amazonaws.com")));
        assert_eq!(parts("1.dkr.ecr-fips.us-east-1.amazonaws.com"), Some(("us-east-1", "amazonaws.com")));
        assert_eq!(parts("1.dkr.ecr.cn-north-1.amazonaws.com.cn"), Some(("cn-north-1", "amazonaws.com.cn")));
        for other in ["x.dkr.ecr.eu-west-1.amazonaws.com", "1.dkr.ecr.eu-west-1.example.com", "r.example"] {
            assert_eq!(parts(other), None, "{other}");
        }
        assert!(Place::of("r.example", None, None).is_err());
    }

    #[test]
    fn a_token_is_used_for_half_of_its_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let until = |expires: u64| {
            // AWS:hunter2
            let body = format!(
                r#"{{"authorizationData":[{{"authorizationToken":"QVdTOmh1bnRlcjI=","expiresAt":{expires}.25,"proxyEndpoint":"x"}}]}}"#
            );
            token(&body.into_bytes(), now).expect("a token").until.duration_since(now).expect("later").as_secs()
        };
        assert_eq!((until(1_003_600), until(1_043_200), until(999_999)), (1800, 21_600, 0));
        assert!(token(b"{}", now).is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_token_is_asked_for_once_with_a_signature_and_again_when_forgotten() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            SecretRef::File(path)
        };
        let key = Key { access_key: file("a", "AKIA1"), secret_key: file("s", "hunter2"), session_token: None };
        let credentials = Credentials::Key(key);
        let given = "200 OK\r\n\r\n{\"authorizationData\":[{\"authorizationToken\":\"QVdTOnBhc3M=\",\"expiresAt\":4102444800}]}";
        let mut service = Canned::start([given, given]).await;
        let place = Place::of("r.example", Some(&service.url), Some("eu-west-3")).expect("a place");
        let mut ecr = Ecr::default();
        let expected = Login::User { name: "AWS".into(), password: Secret::new("pass".into()) };
        for _ in 0..2 {
            assert_eq!(ecr.login(&place, &credentials).await, Ok(expected.clone()));
        }
        ecr.forget();
        assert_eq!(ecr.login(&place, &credentials).await, Ok(expected));
        let head = service.request().await.head;
        assert!(
            head.contains("x-amz-target: amazonec2containerregistry_v20150921.getauthorizationtoken\r\n"),
            "{head}"
        );
        assert!(head.contains("credential=akia1/") && head.contains("/eu-west-3/ecr/aws4_request"), "{head}");
        assert!(!head.contains("hunter2"));
        service.request().await;
    }
}
