use super::clock::Clock;
use crate::bucket::http::with_causes;
use aws_sdk_s3::config::{HttpClient, RuntimeComponents};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::Bytes;
use reqwest::header::DATE;
use std::sync::Arc;

/// Carries the SDK's requests over the bucket's own HTTP client, and hears what time the store has.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) client: reqwest::Client,
    pub(super) clock: Arc<Clock>,
}

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(Box::pin(async move { this.carry(request).await }))
    }
}

impl Connector {
    async fn carry(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let request = request.map(|body| match body.bytes() {
            Some(bytes) => reqwest::Body::from(Bytes::copy_from_slice(bytes)),
            None => reqwest::Body::wrap(body),
        });
        let request = request.try_into().map_err(|error: reqwest::Error| ConnectorError::user(error.into()))?;
        let answer = self.client.execute(request).await.map_err(|error| failed(&error))?;
        if let Some(date) = answer.headers().get(DATE).and_then(|date| date.to_str().ok()) {
            self.clock.heard(date);
        }
        let answer = http::Response::from(answer).map(SdkBody::from_body_1_x);
        HttpResponse::try_from(answer).map_err(|error| ConnectorError::other(error.into(), None))
    }
}

fn failed(error: &reqwest::Error) -> ConnectorError {
    let cause = with_causes(error);
    if error.is_timeout() {
        ConnectorError::timeout(cause.into())
    } else if error.is_builder() {
        ConnectorError::user(cause.into())
    } else {
        ConnectorError::io(cause.into())
    }
}
