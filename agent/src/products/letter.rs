use super::manifest::Manifest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// A product that somebody is to be told, with those who have not heard of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// The same for the same content under the same key, so that whoever hears of it twice knows.
    pub id: String,
    pub to: Vec<String>,
    pub manifest: Manifest,
}

/// `v1,` and the HMAC of id, time and body. A secret of the form `whsec_…` is Base64, another one its own bytes.
pub fn sign(secret: &str, parts: [&str; 3]) -> Result<String, String> {
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => {
            STANDARD.decode(encoded).map_err(|_| "the webhook's secret begins with whsec_, but is no Base64")?
        }
        None => secret.as_bytes().to_vec(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| "the webhook's secret is empty")?;
    mac.update(parts.join(".").as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::sign;

    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        // The example of the specification's libraries.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let parts = ["msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "{\"test\": 2432232314}"];
        assert_eq!(sign(secret, parts).as_deref(), Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert!(sign("whsec_!", parts).is_err());
        assert_ne!(sign("plain", parts), sign("other", parts));
    }
}
