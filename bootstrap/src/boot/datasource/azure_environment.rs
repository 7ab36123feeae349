use super::Metadata;
use super::seed::{About, Bytes, Seed};
use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Makes a seed of what the service and the disk say; the machine's own id stands in where the service is silent.
///
/// # Errors
/// The service says nothing of the machine, or its user-data is not what it is said to be.
pub fn seed(data: &Value, disk: Option<&Environment>, machine: &str, base: &str) -> anyhow::Result<Seed> {
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
            instance_id: Some(text("/vmId").unwrap_or_else(|| machine.to_owned()).to_ascii_lowercase()),
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
pub struct Environment {
    values: BTreeMap<String, String>,
    custom_data: Vec<u8>,
    keys: Vec<String>,
}

impl Environment {
    fn of(&self, key: &str) -> Option<String> {
        self.values.get(key).filter(|text| !text.is_empty()).cloned()
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It is not Azure's.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
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

#[cfg(test)]
mod tests {
    use super::{Environment, seed};
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
        let alone = seed(&json!({"compute": {}}), Some(&disk), "UUID", "x").expect("seed of the disk alone");
        assert_eq!(
            (alone.metadata.instance_id.as_deref(), &alone.user_data[..]),
            (Some("uuid"), &b"#cloud-config\n"[..])
        );
        let data = json!({"compute": {"vmId": "ABC", "location": "westeurope", "userData": "eA==", "publicKeys": [],
            "osProfile": {"adminUsername": "", "computerName": ""}}});
        let seed = seed(&data, Some(&disk), "", "x").expect("seed");
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
