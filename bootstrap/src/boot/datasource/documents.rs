use super::Metadata;
use super::seed::{About, Bytes, Network, Seed};
use anyhow::Context as _;
use serde_json::Value;

/// OpenStack's documents as they were read.
#[derive(Default)]
pub struct Documents {
    /// `meta_data.json`
    pub meta_data: Vec<u8>,
    /// `user_data`
    pub user_data: Option<Vec<u8>>,
    /// `vendor_data.json`
    pub vendor_data: Option<Vec<u8>>,
    /// `vendor_data2.json`
    pub vendor_data2: Option<Vec<u8>>,
    /// `network_data.json`
    pub network_data: Option<Vec<u8>>,
}

impl Documents {
    /// Reads who the instance is off them. What else is wrong with them never loses the user-data.
    ///
    /// # Errors
    /// `meta_data.json` is none, or has no uuid.
    pub fn seed(self, datasource: &str, subplatform: &str) -> anyhow::Result<Seed> {
        let meta_data: Value = serde_json::from_slice(&self.meta_data).context("meta_data.json cannot be read")?;
        anyhow::ensure!(meta_data.is_object(), "meta_data.json is no JSON object");
        let text =
            |key: &str| meta_data.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        let mut seed = Seed {
            datasource: datasource.to_owned(),
            user_data: Bytes(self.user_data.unwrap_or_default()),
            ..Seed::default()
        };
        seed.vendor_data = vendor_data("vendor_data.json", self.vendor_data, &mut seed.warnings);
        seed.vendor_data2 = vendor_data("vendor_data2.json", self.vendor_data2, &mut seed.warnings);
        if let Some(content) = self.network_data.filter(|content| !content.trim_ascii().is_empty()) {
            match String::from_utf8(content) {
                Ok(text) => seed.network = Some(Network::NetworkData(text)),
                Err(_) => seed.warnings.push("network_data.json is not UTF-8: it is passed over".to_owned()),
            }
        }
        if meta_data.get("files").and_then(Value::as_array).is_some_and(|files| !files.is_empty()) {
            seed.left_out.push(
                "the files that were injected with the instance are not written; use write_files in the user-data"
                    .to_owned(),
            );
        }
        seed.metadata = Metadata {
            instance_id: Some(text("uuid").context("meta_data.json has no uuid: it is not an instance's")?),
            local_hostname: text("hostname"),
            public_keys: public_keys(&meta_data),
        };
        seed.about = About {
            cloud: "openstack".into(),
            platform: "openstack".into(),
            subplatform: subplatform.to_owned(),
            region: text("region"),
            availability_zone: text("availability_zone"),
            launch_index: meta_data.get("launch_index").and_then(Value::as_i64),
            meta_data: meta_data.clone(),
        };
        // Secret, and another one at each request.
        if let Some(map) = seed.about.meta_data.as_object_mut() {
            map.remove("random_seed");
            map.remove("admin_pass");
        }
        Ok(seed)
    }
}

fn public_keys(meta_data: &Value) -> Vec<String> {
    let named = meta_data.get("public_keys").and_then(Value::as_object).into_iter().flatten();
    let keys = named.filter_map(|(_, key)| key.as_str());
    keys.flat_map(str::lines).map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

/// A text or a list of texts, or a mapping with one of them under `cloud-init`.
fn vendor_data(name: &str, content: Option<Vec<u8>>, warnings: &mut Vec<String>) -> Vec<Bytes> {
    let Some(content) = content.filter(|content| !content.trim_ascii().is_empty()) else { return Vec::new() };
    let parsed: Value = match serde_json::from_slice(&content) {
        Ok(parsed) => parsed,
        Err(error) => {
            warnings.push(format!("{name} is passed over: it is not JSON: {error}"));
            return Vec::new();
        }
    };
    let inner = parsed.as_object().map_or(Some(&parsed), |map| map.get("cloud-init"));
    match inner {
        Some(Value::String(text)) => vec![Bytes(text.clone().into_bytes())],
        Some(Value::Array(items)) => {
            items.iter().filter_map(Value::as_str).map(|text| Bytes(text.to_owned().into_bytes())).collect()
        }
        Some(Value::Null) | None => Vec::new(),
        Some(_) => {
            warnings.push(format!("{name} is passed over: what stands under cloud-init is neither a text nor a list"));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Documents, Network};

    const META: &[u8] =
        br#"{"uuid": "u-1", "hostname": "web.novalocal", "availability_zone": "nova", "launch_index": 2,
        "public_keys": {"mine": "ssh-ed25519 A\n"}, "random_seed": "xxx", "meta": {"role": "db"}}"#;

    #[test]
    fn the_documents_become_a_seed() {
        let documents = Documents {
            meta_data: META.to_vec(),
            user_data: Some(b"#cloud-config\n".to_vec()),
            vendor_data: Some(br##"{"cloud-init": ["#cloud-config\na: 1\n", "x"]}"##.to_vec()),
            vendor_data2: Some(br#"{"static": {"cloud-init": "x"}}"#.to_vec()),
            network_data: Some(b"{}".to_vec()),
        };
        let seed = documents.seed("openstack (x)", "x").expect("seed");
        assert_eq!(seed.metadata.instance_id.as_deref(), Some("u-1"));
        assert_eq!(seed.metadata.public_keys, ["ssh-ed25519 A"]);
        assert_eq!((seed.about.launch_index, seed.about.availability_zone.as_deref()), (Some(2), Some("nova")));
        assert_eq!((seed.vendor_data.len(), seed.vendor_data2.len()), (2, 0));
        assert_eq!(seed.network, Some(Network::NetworkData("{}".into())));
        assert!(seed.about.meta_data.get("random_seed").is_none());
    }

    #[test]
    fn what_is_no_metadata_is_refused_and_broken_vendor_data_is_passed_over() {
        for wrong in [&b"<html>"[..], b"[]", b"{}", b"{\"uuid\""] {
            let documents = Documents { meta_data: wrong.to_vec(), ..Documents::default() };
            assert!(documents.seed("x", "x").is_err(), "{}", String::from_utf8_lossy(wrong));
        }
        let documents =
            Documents { meta_data: META.to_vec(), vendor_data: Some(b"{".to_vec()), ..Documents::default() };
        let seed = documents.seed("x", "x").expect("seed");
        assert!(seed.warnings[0].contains("vendor_data.json"), "{:?}", seed.warnings);
    }
}
