//! <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>

use serde::Deserialize;

const KIND: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// Whether a payload, whose signature is good, is about an image.
pub fn check(payload: &[u8], digest: &str) -> Result<(), String> {
    let payload: Payload = serde_json::from_slice(payload).map_err(|_| "its payload cannot be read".to_owned())?;
    if payload.critical.kind != KIND {
        return Err("its payload is not that of an image's signature".into());
    }
    if payload.critical.image.docker_manifest_digest != digest {
        return Err("it is the signature of another image".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_payload_names_the_image_and_says_that_it_is_a_signature() {
        let payload = |kind: &str| {
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"r.example/a"}},"image":{{"docker-manifest-digest":"sha256:1"}},"type":"{kind}"}},"optional":null}}"#
            )
        };
        let good = payload("cosign container image signature");
        assert_eq!(check(good.as_bytes(), "sha256:1"), Ok(()));
        assert!(check(good.as_bytes(), "sha256:2").is_err_and(|why| why.contains("another image")));
        assert!(check(payload("atomic").as_bytes(), "sha256:1").is_err());
        assert!(check(b"{}", "sha256:1").is_err());
    }
}
