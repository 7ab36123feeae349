use super::gce_document::seed;
use super::seed::Seed;
use super::service::Service;
use crate::boot::host::Host;
use crate::boot::steps::users::default_user;
use anyhow::Context as _;
use serde_json::Value;

const ADDRESS: &str = "http://169.254.169.254";

/// Asks the metadata server of Google Compute Engine, with one request.
///
/// # Errors
/// It does not answer, or gives no instance id.
pub fn fetch(host: &Host, base: Option<String>) -> anyhow::Result<Seed> {
    let mut service = Service::at(&[base.unwrap_or_else(|| ADDRESS.to_owned())]);
    service.headers.push(("Metadata-Flavor", "Google".to_owned()));
    let content = host.block_on(service.get("/computeMetadata/v1/?recursive=true"))?;
    let content = content.with_context(|| format!("{} has no /computeMetadata/v1/", service.base))?;
    let data: Value = serde_json::from_slice(&content).context("the metadata server's answer is not JSON")?;
    let user = default_user(host).name;
    seed(&data, &service.base, &user)
}
