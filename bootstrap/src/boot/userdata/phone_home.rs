use super::Findings;
use hostwright_core::config::section::Section;
use serde::Serialize;

/// `phone_home:`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PhoneHome {
    /// Where to; `$INSTANCE_ID` stands for the instance's id.
    pub url: String,
    /// What is told.
    pub post: Vec<String>,
    /// How often it is tried.
    pub tries: u32,
}

/// What can be told.
pub const FIELDS: [&str; 6] = ["pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519", "instance_id", "hostname", "fqdn"];

impl PhoneHome {
    /// Reads the top-level key.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Option<Self> {
        findings.whole(root.node("phone_home")?, "phone_home", phone_home)
    }
}

fn phone_home(mut section: Section<'_>, findings: &mut Findings) -> Option<PhoneHome> {
    let url = section.required::<String>("url");
    if url.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        section.problem_with("url", "expected http://… or https://…");
    }
    let mut post = FIELDS.map(str::to_owned).to_vec();
    if let Some(node) = section.node("post").filter(|node| node.text() != Some("all")) {
        post = section.list("post").unwrap_or_default();
        if let Some(odd) = post.iter().find(|field| !FIELDS.contains(&field.as_str())) {
            findings.tolerated(node.place, "phone_home.post", &format!("{odd:?} is not known and told as N/A"));
        }
    }
    let tries = section.node("tries").map(|node| (node.place, node.text().and_then(|text| text.parse().ok())));
    let tries = match tries {
        Some((_, Some(tries))) if (1..=1000).contains(&tries) => tries,
        Some((place, _)) => {
            findings.tolerated(place, "phone_home.tries", "expected a number from 1; it is tried 10 times");
            10
        }
        None => 10,
    };
    section.finish();
    Some(PhoneHome { url: url?, post, tries })
}
