use super::azure_environment::{Environment, seed};
use super::disk::Mounted;
use super::dmi::Dmi;
use super::labels::FileSystem;
use super::seed::Seed;
use super::service::{Refusal, Service, patiently};
use crate::boot::host::{Host, read_bounded};
use crate::boot::steps::{Action, Context, Failure, Outcome};
use anyhow::Context as _;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

const ADDRESS: &str = "http://169.254.169.254";
/// The fabric's own server, to which an instance reports that it is ready.
const WIRESERVER: &str = "http://168.63.129.16";
const MAX_BYTES: u64 = 1 << 20;

/// Reads the provisioning disk and asks the metadata service beside it.
///
/// # Errors
/// The service does not answer and there is no provisioning disk.
pub fn fetch(host: &Host, base: Option<String>, dmi: &Dmi) -> anyhow::Result<Seed> {
    let environment = on_disk(host)?;
    let mut service = Service::at(&[base.unwrap_or_else(|| ADDRESS.to_owned())]);
    service.headers.push(("Metadata", "true".to_owned()));
    let path = "/metadata/instance?api-version=2021-08-01&extended=true";
    // It says that it has nothing while it begins to know of the instance.
    let ask = || async {
        service.ask(Method::GET, path, &[]).await.map_err(|refusal| match refusal {
            Refusal::Final(StatusCode::NOT_FOUND | StatusCode::GONE, why) => Refusal::Passing(why),
            other => other,
        })
    };
    let asked = match host.block_on(patiently(ask)) {
        Ok(content) => serde_json::from_slice(&content).context("the metadata service's answer is not JSON"),
        Err(Refusal::Final(_, why) | Refusal::Passing(why)) => {
            Err(why).with_context(|| format!("cannot read {}{path}", service.base))
        }
    };
    match (asked, &environment) {
        (Ok(data), _) => seed(&data, environment.as_ref(), &dmi.product_uuid, &service.base),
        // The disk has the user-data; the service would only add to it.
        (Err(error), Some(_)) => {
            let mut seed = seed(&json!({"compute": {}}), environment.as_ref(), &dmi.product_uuid, &service.base)?;
            seed.warnings.push(format!("{error:#}; the provisioning disk alone counts"));
            Ok(seed)
        }
        (Err(error), None) => Err(error),
    }
}

/// The provisioning disk is a CD; it is gone in later boots.
fn on_disk(host: &Host) -> anyhow::Result<Option<Environment>> {
    let entries = std::fs::read_dir(host.sys("class/block")).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.starts_with("sr"));
    names.sort();
    for name in names {
        let device = std::path::Path::new("/dev").join(&name);
        for file_system in [FileSystem::Udf, FileSystem::Iso9660] {
            let Ok(mounted) = Mounted::new(host, &device, file_system) else { continue };
            if let Ok(content) = read_bounded(&mounted.folder().join("ovf-env.xml"), MAX_BYTES) {
                return Environment::parse(&String::from_utf8_lossy(&content)).map(Some);
            }
        }
    }
    Ok(None)
}

/// Tells the fabric that the instance is ready; without it the platform takes it for failed after some time.
#[derive(Serialize)]
pub struct ReportReady {}

impl Action for ReportReady {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        match report(context.host, &json!({"state": "Ready"})) {
            Ok(()) => Ok(Outcome::Done),
            Err(why) => Err(Failure::new(
                format!("Azure's fabric does not take the report that this instance is ready: {why:#}"),
                "see that 168.63.129.16 is reachable; the next boot tries again",
            )),
        }
    }
}

/// Tells the fabric, if it is there, why the instance cannot become what was asked for: the deployment fails with that
/// reason, and not after its patience.
pub fn report_failure(host: &Host, why: &str) {
    let details = json!({"subStatus": "ProvisioningFailed", "description": why});
    if let Err(error) = report(host, &json!({"state": "NotReady", "details": details})) {
        log::warn!("Azure's fabric does not take the report that this instance is not ready: {error:#}");
    }
}

fn report(host: &Host, health: &Value) -> anyhow::Result<()> {
    let mut service = Service::at(&[std::env::var("HOSTWRIGHT_WIRESERVER").unwrap_or_else(|_| WIRESERVER.to_owned())]);
    service.headers.push(("x-ms-guest-agent-name", format!("hostwright-bootstrap/{}", env!("CARGO_PKG_VERSION"))));
    service.headers.push(("Content-Type", "application/json".to_owned()));
    let body = health.to_string();
    match host.block_on(patiently(|| service.ask(Method::POST, "/provisioning/health", body.as_bytes()))) {
        Ok(_) => Ok(()),
        Err(Refusal::Final(_, why) | Refusal::Passing(why)) => Err(why),
    }
}
