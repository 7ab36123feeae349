use super::Metadata;
use super::disk::Mounted;
use super::dmi::Dmi;
use super::labels::FileSystem;
use super::seed::{About, Bytes, Seed};
use super::service::{Refusal, Service, patiently};
use crate::boot::host::{Host, read_bounded};
use crate::boot::steps::{Action, Context, Failure, Outcome};
use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::{Method, StatusCode};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
        (Ok(data), _) => seed(&data, environment.as_ref(), dmi, &service.base),
        // The disk has the user-data; the service would only add to it.
        (Err(error), Some(_)) => {
            let mut seed = seed(&json!({"compute": {}}), environment.as_ref(), dmi, &service.base)?;
            seed.warnings.push(format!("{error:#}; the provisioning disk alone counts"));
            Ok(seed)
        }
        (Err(error), None) => Err(error),
    }
}

fn seed(data: &Value, disk: Option<&Environment>, dmi: &Dmi, base: &str) -> anyhow::Result<Seed> {
    let compute = data.get("compute").context("the metadata service says nothing of compute")?;
    let text =
        |path: &str| compute.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let keys = compute.get("publicKeys").and_then(Value::as_array).into_iter().flatten();
    let mut public_keys: Vec<String> = keys
        .filter_map(|key| key.get("keyData").and_then(Value::as_str))
        .map(|key| key.replace(['\r', '\n'], "").trim().to_owned())
        .collect();
    if let Some(disk) = disk.filter(|_| public_keys.is_empty()) {
        public_keys.extend(disk.keys.iter().cloned());
    }
    let custom = disk.map(|disk| disk.custom_data.clone()).filter(|content| !content.is_empty());
    let user_data = match (custom, text("/userData")) {
        (Some(custom), _) => custom,
        (None, Some(packed)) => {
            BASE64_STANDARD.decode(packed.trim()).context("the metadata service's userData is not base64")?
        }
        (None, None) => Vec::new(),
    };
    let user = text("/osProfile/adminUsername").or_else(|| disk.and_then(|disk| disk.of("UserName")));
    Ok(Seed {
        datasource: format!("azure ({base})"),
        metadata: Metadata {
            instance_id: Some(text("/vmId").unwrap_or_else(|| dmi.product_uuid.clone()).to_ascii_lowercase()),
            local_hostname: text("/osProfile/computerName").or_else(|| disk.and_then(|disk| disk.of("HostName"))),
            public_keys: public_keys.clone(),
        },
        // The administrator that was asked for takes the default user's place, unless the user-data names users.
        vendor_data: user.map(|name| administrator(&name, &public_keys)).into_iter().collect(),
        user_data: Bytes(user_data),
        about: About {
            cloud: "azure".into(),
            platform: "azure".into(),
            subplatform: format!("imds ({base})"),
            region: text("/location"),
            availability_zone: text("/zone"),
            launch_index: None,
            meta_data: json!({"imds": data}),
        },
        warnings: disk
            .and_then(|disk| disk.of("UserPassword"))
            .map(|_| "the administrator's password is not set: use an SSH key, or passwd in the user-data".to_owned())
            .into_iter()
            .collect(),
        ..Seed::default()
    })
}

fn administrator(name: &str, keys: &[String]) -> Bytes {
    let user = json!({"name": name, "gecos": "Administrator", "groups": ["adm", "sudo"], "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL", "lock_passwd": true, "ssh_authorized_keys": keys});
    Bytes(format!("#cloud-config\n{}\n", json!({"users": [user]})).into_bytes())
}

/// What `ovf-env.xml` says.
#[derive(Debug, Default)]
struct Environment {
    values: BTreeMap<String, String>,
    custom_data: Vec<u8>,
    keys: Vec<String>,
}

impl Environment {
    fn of(&self, key: &str) -> Option<String> {
        self.values.get(key).filter(|text| !text.is_empty()).cloned()
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut found = Self::default();
        let mut reader = Reader::from_str(text);
        let mut path: Vec<String> = Vec::new();
        loop {
            match reader.read_event().context("ovf-env.xml is not XML")? {
                Event::Start(element) => path.push(element.local_name().as_ref().to_owned()),
                Event::End(_) => drop(path.pop()),
                Event::Text(content) => {
                    let content = content.as_ref().trim().to_owned();
                    found.note(&path, &content)?;
                }
                Event::Eof => break,
                _ => {}
            }
        }
        anyhow::ensure!(found.values.contains_key("HostName"), "ovf-env.xml names no HostName: it is not Azure's");
        Ok(found)
    }

    fn note(&mut self, path: &[String], content: &str) -> anyhow::Result<()> {
        if content.is_empty() || !path.iter().any(|name| name == "LinuxProvisioningConfigurationSet") {
            return Ok(());
        }
        let last = path.last().map(String::as_str).unwrap_or_default();
        match last {
            "CustomData" => {
                let packed: String = content.split_whitespace().collect();
                self.custom_data = BASE64_STANDARD.decode(packed).context("CustomData in ovf-env.xml is not base64")?;
            }
            "Value" if path.iter().any(|name| name == "PublicKey") => self.keys.push(content.to_owned()),
            _ => drop(self.values.insert(last.to_owned(), content.to_owned())),
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::{Environment, seed};
    use crate::boot::datasource::dmi::Dmi;
    use serde_json::json;

    const XML: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<ns0:Environment xmlns:ns0="http://schemas.dmtf.org/ovf/environment/1" xmlns:wa="http://schemas.microsoft.com/windowsazure">
 <wa:ProvisioningSection><wa:Version>1.0</wa:Version>
  <wa:LinuxProvisioningConfigurationSet>
   <wa:HostName>web</wa:HostName><wa:UserName>azureuser</wa:UserName>
   <wa:CustomData>I2Nsb3VkLWNvbmZpZwo=</wa:CustomData>
   <wa:SSH><wa:PublicKeys><wa:PublicKey><wa:Value>ssh-ed25519 A</wa:Value></wa:PublicKey></wa:PublicKeys></wa:SSH>
  </wa:LinuxProvisioningConfigurationSet>
 </wa:ProvisioningSection>
</ns0:Environment>"#;

    #[test]
    fn the_provisioning_disk_and_the_service_make_a_seed() {
        let disk = Environment::parse(XML).expect("parsed");
        let mut dmi = Dmi::default();
        dmi.product_uuid.push_str("UUID");
        let alone = seed(&json!({"compute": {}}), Some(&disk), &dmi, "x").expect("seed of the disk alone");
        assert_eq!(
            (alone.metadata.instance_id.as_deref(), &alone.user_data[..]),
            (Some("uuid"), &b"#cloud-config\n"[..])
        );
        let data = json!({"compute": {"vmId": "ABC", "location": "westeurope", "userData": "eA==", "publicKeys": [],
            "osProfile": {"adminUsername": "", "computerName": ""}}});
        let seed = seed(&data, Some(&disk), &Dmi::default(), "x").expect("seed");
        assert_eq!(seed.metadata.instance_id.as_deref(), Some("abc"));
        assert_eq!(seed.metadata.local_hostname.as_deref(), Some("web"));
        assert_eq!(seed.metadata.public_keys, ["ssh-ed25519 A"]);
        assert_eq!(&seed.user_data[..], b"#cloud-config\n", "custom data counts before user data");
        assert!(String::from_utf8_lossy(&seed.vendor_data[0]).contains("azureuser"));
    }

    #[test]
    fn what_is_no_provisioning_disk_is_refused() {
        for wrong in ["<a>", "<a/>", "no", "<a></b>"] {
            assert!(Environment::parse(wrong).is_err(), "{wrong}");
        }
    }
}
