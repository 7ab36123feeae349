use super::answer::kind;
use crate::aws::Identity;
use crate::logs::output::request::Undelivered;
use crate::logs::output::request::http::{Answer, Client, Request, again};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use hostwright_core::config::logs::output::cloudwatch::CloudWatch;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::time::SystemTime;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// Calls of the API, signed (Signature Version 4).
#[derive(Debug)]
pub struct Signed {
    client: Client,
    url: String,
    region: String,
    identity: Identity,
}

impl Signed {
    pub fn new(settings: &CloudWatch) -> Self {
        Self {
            client: Client::new(&settings.endpoint, "/".into()),
            url: format!("{}/", settings.endpoint.url.0),
            region: settings.region.clone(),
            identity: Identity::new(settings.credentials.clone()),
        }
    }

    pub fn address(&self) -> &str {
        self.client.address()
    }

    pub async fn call(&mut self, action: &str, body: Bytes) -> Result<Answer, Undelivered> {
        let credentials = self.identity.credentials().await.map_err(|why| again(why, None))?;
        let headers = self.headers(action, &body, credentials).map_err(|why| again(why, None))?;
        self.client.post(Request { content_type: CONTENT_TYPE, headers, body }).await
    }

    pub fn said(&self, answer: &Answer) -> String {
        self.client.said(answer)
    }

    /// What an error means: its name tells more than its status, which is nearly always 400.
    pub fn undelivered(&mut self, answer: &Answer) -> Undelivered {
        let said = self.said(answer);
        match kind(&answer.body).as_str() {
            "ResourceNotFoundException" => {
                again(format!("{said}; create the log group and stream, or set create: true"), None)
            }
            "ThrottlingException"
            | "LimitExceededException"
            | "ServiceUnavailableException"
            | "OperationAbortedException" => again(format!("{said} (lines wait in their files)"), None),
            "UnrecognizedClientException"
            | "AccessDeniedException"
            | "ExpiredTokenException"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "InvalidClientTokenId"
            | "MissingAuthenticationTokenException"
            | "OptInRequired" => {
                self.identity.forget();
                again(
                    format!(
                        "{said}; see that the credentials are right and allow logs:PutLogEvents, and the clock too"
                    ),
                    None,
                )
            }
            _ => self.client.undelivered(answer),
        }
    }

    fn headers(&self, action: &str, body: &[u8], credentials: Credentials) -> Result<HeaderMap, String> {
        let identity = credentials.into();
        let target = format!("Logs_20140328.{action}");
        let unsigned = |error: &dyn std::error::Error| format!("cannot sign a request for {}: {error}", self.url);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("logs")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsigned(&error))?;
        let own = [("content-type", CONTENT_TYPE), ("x-amz-target", target.as_str())];
        let request = SignableRequest::new("POST", &self.url, own.into_iter(), SignableBody::Bytes(body))
            .map_err(|error| unsigned(&error))?;
        let (instructions, _) = sign(request, &params.into()).map_err(|error| unsigned(&error))?.into_parts();
        let mut headers = HeaderMap::new();
        for (name, value) in instructions.headers().chain([("x-amz-target", target.as_str())]) {
            let name = HeaderName::try_from(name).map_err(|error| unsigned(&error))?;
            let mut value = HeaderValue::from_str(value).map_err(|error| unsigned(&error))?;
            value.set_sensitive(matches!(name.as_str(), "authorization" | "x-amz-security-token"));
            headers.insert(name, value);
        }
        Ok(headers)
    }
}
