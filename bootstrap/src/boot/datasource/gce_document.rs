use super::Metadata;
use super::seed::{About, Bytes, Seed};
use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// Makes a seed of the one document, with the keys of the default user.
///
/// # Errors
/// It tells no instance id.
pub fn seed(data: &Value, base: &str, user: &str) -> anyhow::Result<Seed> {
    let of = |path: &str| data.pointer(path);
    let text = |path: &str| of(path).and_then(Value::as_str).map(str::to_owned);
    let id = of("/instance/id").and_then(|id| match id {
        Value::Number(number) => Some(number.to_string()),
        id => id.as_str().filter(|id| !id.is_empty()).map(str::to_owned),
    });
    let id = id.with_context(|| format!("{base} tells no instance id"))?;
    let zone = text("/instance/zone").map(|zone| zone.rsplit('/').next().unwrap_or_default().to_owned());
    let mut seed = Seed {
        datasource: format!("gce ({base})"),
        metadata: Metadata {
            instance_id: Some(id),
            local_hostname: text("/instance/hostname"),
            public_keys: public_keys(data, user),
        },
        about: About {
            cloud: "gce".into(),
            platform: "gce".into(),
            subplatform: format!("metadata ({base})"),
            region: zone.as_ref().and_then(|zone| zone.rsplit_once('-')).map(|(region, _)| region.to_owned()),
            availability_zone: zone,
            launch_index: None,
            meta_data: data.get("instance").cloned().unwrap_or_default(),
        },
        ..Seed::default()
    };
    let user_data = text("/instance/attributes/user-data").unwrap_or_default();
    seed.user_data = match text("/instance/attributes/user-data-encoding").as_deref() {
        Some("base64") => {
            let packed: String = user_data.split_whitespace().collect();
            Bytes(BASE64_STANDARD.decode(packed).context("the user-data is said to be base64 and is not")?)
        }
        None => Bytes(user_data.into_bytes()),
        Some(other) => {
            seed.warnings.push(format!("user-data-encoding is {other:?}, which nobody knows; known: base64"));
            Bytes(user_data.into_bytes())
        }
    };
    Ok(seed)
}

/// `user:key` a line, of the instance and, where it is not blocked, of the project; those of the default user.
fn public_keys(data: &Value, user: &str) -> Vec<String> {
    let text = |path: &str| data.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let is_blocked = text("/instance/attributes/block-project-ssh-keys").eq_ignore_ascii_case("true")
        || !text("/instance/attributes/sshKeys").is_empty();
    let mut lines: Vec<&str> =
        ["ssh-keys", "sshKeys"].iter().flat_map(|key| text(&format!("/instance/attributes/{key}")).lines()).collect();
    if !is_blocked {
        lines
            .extend(["ssh-keys", "sshKeys"].iter().flat_map(|key| text(&format!("/project/attributes/{key}")).lines()));
    }
    let key = |line: &&str| {
        line.trim()
            .split_once(':')
            .filter(|(name, _)| *name == user || *name == "cloudinit")
            .map(|(_, key)| key.to_owned())
    };
    lines.iter().filter_map(key).filter(|key| !is_expired(key)).collect()
}

/// `… google-ssh {"userName": …, "expireOn": "2026-11-21T12:00:00+0000"}`
fn is_expired(key: &str) -> bool {
    let Some((_, details)) = key.split_once("google-ssh ") else { return false };
    let details: Value = serde_json::from_str(details.trim()).unwrap_or_default();
    let until = details.get("expireOn").and_then(Value::as_str).unwrap_or_default();
    match jiff::fmt::strtime::parse("%Y-%m-%dT%H:%M:%S%z", until).and_then(|time| time.to_timestamp()) {
        Ok(until) => until < jiff::Timestamp::now(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::seed;
    use serde_json::json;

    #[test]
    fn one_document_holds_everything() {
        let data = json!({"instance": {"id": 42, "hostname": "web.c.x.internal", "zone": "projects/1/zones/europe-west1-b",
            "attributes": {"user-data": "I2Nsb3VkLWNvbmZpZwo=", "user-data-encoding": "base64",
                "ssh-keys": "debian:ssh-ed25519 A\nother:ssh-ed25519 B\ndebian:ssh-rsa C google-ssh {\"userName\":\"x\",\"expireOn\":\"2020-01-01T00:00:00+0000\"}"}},
            "project": {"attributes": {"ssh-keys": "cloudinit:ssh-ed25519 D"}}});
        for none in [json!({}), json!({"instance": {"id": null}}), json!({"instance": {"id": ""}})] {
            assert!(seed(&none, "x", "debian").is_err(), "{none}");
        }
        let seed = seed(&data, "x", "debian").expect("seed");
        assert_eq!(seed.metadata.instance_id.as_deref(), Some("42"));
        assert_eq!(seed.metadata.public_keys, ["ssh-ed25519 A", "ssh-ed25519 D"]);
        assert_eq!(
            (seed.about.region.as_deref(), &seed.user_data[..]),
            (Some("europe-west1"), &b"#cloud-config\n"[..])
        );
    }
}
