use super::request::Request;
use super::{Action, Context, Failure, Outcome};
use crate::boot::userdata::phone_home::PhoneHome;
use serde::Serialize;
use std::collections::BTreeMap;

/// Tells somebody that the host is there, and by which keys it is known.
#[derive(Serialize)]
pub struct CallHome {
    phone: PhoneHome,
    hostname: String,
    fqdn: String,
}

/// Nobody needs to answer more than that it was heard.
const MAX_ANSWER: u64 = 1 << 20;

impl CallHome {
    pub fn new(phone: &PhoneHome, hostname: &str, fqdn: &str) -> Self {
        Self { phone: phone.clone(), hostname: hostname.to_owned(), fqdn: fqdn.to_owned() }
    }

    fn value(&self, context: &Context<'_>, field: &str) -> String {
        let found = match field {
            "instance_id" => Some(context.instance_id.to_owned()),
            "hostname" => Some(self.hostname.clone()),
            "fqdn" => Some(self.fqdn.clone()),
            _ => field.strip_prefix("pub_key_").and_then(|kind| {
                std::fs::read_to_string(context.host.path(format!("/etc/ssh/ssh_host_{kind}_key.pub"))).ok()
            }),
        };
        found.filter(|text| !text.is_empty()).unwrap_or_else(|| "N/A".to_owned())
    }
}

impl Action for CallHome {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let fields = self.phone.post.iter().map(|field| format!("{field}={}", encoded(&self.value(context, field))));
        let body = fields.collect::<Vec<_>>().join("&").into_bytes();
        let id = encoded(context.instance_id);
        let url = self.phone.url.replace("${INSTANCE_ID}", &id).replace("$INSTANCE_ID", &id);
        let none = BTreeMap::new();
        let request = Request {
            body: Some(("application/x-www-form-urlencoded", body)),
            tries: self.phone.tries,
            ..Request::get(&url, &none, MAX_ANSWER)
        };
        request.send(context.host).map(|_| Outcome::Done)
    }
}

/// As forms have it.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn fields_are_encoded_as_forms_are() {
        assert_eq!(encoded("ssh-ed25519 AA+/= a@b\n"), "ssh-ed25519+AA%2B%2F%3D+a%40b%0A");
    }
}
