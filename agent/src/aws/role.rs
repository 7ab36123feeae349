use aws_credential_types::Credentials;
use hostwright_core::config::aws::Role;
use hostwright_core::config::tls::ClientTls;
use hostwright_core::tls;
use hostwright_duty::http::Answer;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder, Url};
use serde::Deserialize;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// The service is on this host or the next one: where it does not answer at once, it is not there.
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);
const INSTANCE: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";
/// Where containers are given theirs without TLS: by ECS, and by EKS.
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
/// How long a session with the instance's metadata service lasts that is used at once.
const SESSION_SECONDS: &str = "60";

/// What the environment says of who gives credentials, under the names that all of AWS' tools know.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The instance's metadata service.
    instance: Option<String>,
    container: Option<Container>,
}

/// Who gives a container's credentials.
#[derive(Debug)]
struct Container {
    url: String,
    authorization: Authorization,
}

#[derive(Debug)]
enum Authorization {
    None,
    Value(HeaderValue),
    /// A file, which changes.
    File(String),
}

/// What is given.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

impl Surroundings {
    pub fn of_environment() -> Self {
        Self::of(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_disabled = variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let instance = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE.into());
        let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER}{path}"));
        let authorization = match variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(path) => Authorization::File(path),
            None => match variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").and_then(|token| secret(&token)) {
                Some(token) => Authorization::Value(token),
                None => Authorization::None,
            },
        };
        let url = relative.or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"));
        Self {
            instance: (!is_disabled).then(|| instance.trim_end_matches('/').to_owned()),
            container: url.map(|url| Container { url, authorization }),
        }
    }

    /// Credentials of whoever has a role: the container before the instance that it runs on.
    pub async fn ask_any(&self) -> Result<Credentials, String> {
        self.ask(if self.container.is_some() { Role::Container } else { Role::Instance }).await
    }

    pub async fn ask(&self, role: Role) -> Result<Credentials, String> {
        match (role, &self.instance, &self.container) {
            (Role::Instance, Some(service), _) => of_instance(service).await,
            (Role::Instance, None, _) => Err("AWS_EC2_METADATA_DISABLED forbids to ask for the instance's role".into()),
            (Role::Container, _, Some(container)) => container.ask().await,
            (Role::Container, _, None) => Err(
                "neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set: this is \
                 no container with a role"
                    .into(),
            ),
        }
    }
}

/// By IMDSv2: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>.
async fn of_instance(service: &str) -> Result<Credentials, String> {
    let session = request(Method::PUT, &format!("{service}/latest/api/token"))?
        .header("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
    let session = text(asked(session, service).await?);
    let session = secret(&session).ok_or_else(|| strange(service))?;
    let get = |path: &str| {
        Ok::<_, String>(request(Method::GET, &format!("{service}{path}"))?.header("x-aws-ec2-metadata-token", &session))
    };
    let roles = asked(get(ROLES)?, service).await.map_err(|why| format!("{why}; see that the instance has a role"))?;
    let roles = text(roles);
    let role = roles.lines().next().filter(|role| !role.is_empty());
    let role = role.ok_or_else(|| format!("{service} says that the instance has no role"))?;
    given(&asked(get(&format!("{ROLES}{role}"))?, service).await?, service)
}

impl Container {
    /// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
    async fn ask(&self) -> Result<Credentials, String> {
        self.check()?;
        let request = request(Method::GET, &self.url)?;
        let request = match &self.authorization {
            Authorization::None => request,
            Authorization::Value(token) => request.header(AUTHORIZATION, token),
            Authorization::File(path) => {
                let token = tokio::fs::read_to_string(path).await;
                let token = token.map_err(|error| format!("cannot read the container's token in {path}: {error}"))?;
                let token = secret(token.trim()).ok_or_else(|| format!("{path} holds no token"))?;
                request.header(AUTHORIZATION, token)
            }
        };
        given(&asked(request, &self.url).await?, &self.url)
    }

    /// Nobody on the way may read the token or give credentials.
    fn check(&self) -> Result<(), String> {
        let url = Url::parse(&self.url).map_err(|error| format!("{} is no URL: {error}", self.url))?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_near = host == "localhost"
            || CONTAINER_HOSTS.contains(&host)
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if url.scheme() == "https" || is_near {
            return Ok(());
        }
        Err(format!("{} is not taken: without https only this host and the platform give credentials", self.url))
    }
}

fn request(method: Method, url: &str) -> Result<RequestBuilder, String> {
    let unusable = |error: &dyn std::error::Error| format!("cannot ask {url} for credentials: {error}");
    let tls = if url.starts_with("https:") { tls::client(&ClientTls::default()) } else { tls::client_of_nobody() };
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .tls_backend_preconfigured((*tls.map_err(|error| unusable(&error))?).clone())
        .build()
        .map_err(|error| unusable(&error))?;
    Ok(client.request(method, url))
}

/// The content of a good answer. What is in another one is not shown: nobody knows what that is.
async fn asked(request: RequestBuilder, whom: &str) -> Result<Vec<u8>, String> {
    let answer = match request.send().await {
        Ok(response) => Answer::read(response).await,
        Err(error) => Err(error),
    };
    let answer = answer.map_err(|error| {
        let reason = if error.is_timeout() { "it does not answer" } else { "the connection failed" };
        format!("cannot ask {whom} for credentials: {reason}")
    })?;
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    Err(format!("{whom} gives no credentials: it answered {}", answer.status))
}

fn text(body: Vec<u8>) -> String {
    String::from_utf8(body).unwrap_or_default().trim().to_owned()
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok().filter(|value| !value.is_empty())?;
    value.set_sensitive(true);
    Some(value)
}

fn given(body: &[u8], whom: &str) -> Result<Credentials, String> {
    let given: Given = serde_json::from_slice(body).map_err(|_| strange(whom))?;
    let end = match given.expiration {
        Some(text) => Some(SystemTime::from(text.parse::<Timestamp>().map_err(|_| strange(whom))?)),
        None => None,
    };
    Ok(Credentials::new(given.access_key_id, given.secret_access_key, given.token, end, "hostwright"))
}

fn strange(whom: &str) -> String {
    format!("what {whom} gives are no credentials; see that it is what it should be")
}

#[cfg(test)]
mod tests {
    use super::{Role, Surroundings};
    use hostwright_testing::canned::Canned;

    const GIVEN: &str = "200 OK\r\n\r\n{\"Code\":\"Success\",\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"hunter2\",\"Token\":\"t\",\"Expiration\":\"2100-01-01T00:00:00Z\"}";

    fn surroundings(all: &[(&str, &str)]) -> Surroundings {
        Surroundings::of(|name| all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_instance_is_asked_in_a_session() {
        let answers = ["200 OK\r\n\r\nsession==", "200 OK\r\n\r\nlogger\n", GIVEN];
        let mut service = Canned::start(answers).await;
        let surroundings = surroundings(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("{}/", service.url))]);
        let credentials = surroundings.ask_any().await.expect("credentials");
        assert_eq!((credentials.access_key_id(), credentials.secret_access_key()), ("ASIA1", "hunter2"));
        assert!(credentials.session_token() == Some("t") && credentials.expiry().is_some());
        let head = service.request().await.head;
        assert!(head.starts_with("put /latest/api/token ") && head.contains("ttl-seconds: 60\r\n"), "{head}");
        for path in ["", "logger"] {
            let head = service.request().await.head;
            assert!(head.starts_with(&format!("get /latest/meta-data/iam/security-credentials/{path} ")), "{head}");
            assert!(head.contains("x-aws-ec2-metadata-token: session==\r\n"), "{head}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_container_is_asked_with_its_token_and_before_the_instance() {
        let mut service = Canned::start([GIVEN, GIVEN]).await;
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("token");
        std::fs::write(&file, "from a file\n").expect("written");
        let file = file.display().to_string();
        for (name, value, expected) in [
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "as it is", "as it is"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file, "from a file"),
        ] {
            let url = format!("{}/v2/x", service.url);
            let surroundings = surroundings(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url), (name, value)]);
            surroundings.ask_any().await.expect("credentials");
            let head = service.request().await.head;
            assert!(
                head.starts_with("get /v2/x ") && head.contains(&format!("authorization: {expected}\r\n")),
                "{head}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn why_there_are_none_is_said_without_what_was_given() {
        let why = |answers: Vec<&'static str>| async move {
            let service = Canned::start(answers).await;
            let surroundings = surroundings(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &service.url)]);
            surroundings.ask(Role::Instance).await.expect_err("none")
        };
        let session = "200 OK\r\n\r\ns";
        assert!(why(vec!["403 Forbidden\r\n\r\n"]).await.contains("403"));
        assert!(why(vec![session, "404 Not Found\r\n\r\n"]).await.contains("see that the instance has a role"));
        assert!(why(vec![session, "200 OK\r\n\r\n"]).await.contains("has no role"));
        let strange = why(vec![session, "200 OK\r\n\r\nr", "200 OK\r\n\r\n{\"AccessKeyId\":\"hunter2\"}"]).await;
        assert!(strange.contains("are no credentials") && !strange.contains("hunter2"), "{strange}");
        let disabled = surroundings(&[("AWS_EC2_METADATA_DISABLED", "true")]);
        assert!(disabled.ask_any().await.expect_err("none").contains("AWS_EC2_METADATA_DISABLED"));
        assert!(disabled.ask(Role::Container).await.expect_err("none").contains("no container with a role"));
    }

    #[tokio::test]
    async fn nobody_far_away_is_asked_without_tls() {
        for url in ["http://10.0.0.1/x", "http://169.254.170.2.example/x", "ftp://h/x"] {
            let why = surroundings(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)]).ask_any().await.expect_err("none");
            assert!(why.contains("is not taken"), "{why}");
        }
    }
}
