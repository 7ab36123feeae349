use super::Findings;
use super::values::{Flag, Text};
use hostwright_core::config::section::Section;
use serde::Serialize;

/// `ca_certs:`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Certificates {
    /// Whether the distribution's own are trusted no more.
    pub remove_defaults: bool,
    /// Further ones, as PEM.
    pub trusted: Vec<String>,
}

impl Certificates {
    /// Reads the top-level key in either spelling.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Option<Self> {
        let [newer, older] = ["ca_certs", "ca-certs"].map(|key| root.node(key));
        if let (Some(_), Some(older)) = (newer, older) {
            findings.warning(older.place, "ca-certs", "ca_certs counts, and not this".to_owned());
        }
        findings.whole(newer.or(older)?, "ca_certs", certificates)
    }
}

fn certificates(mut section: Section<'_>, findings: &mut Findings) -> Option<Certificates> {
    let [newer, older] = ["remove_defaults", "remove-defaults"].map(|key| section.optional::<Flag>(key));
    let trusted: Vec<String> =
        section.list::<Text>("trusted").unwrap_or_default().into_iter().map(|text| text.0).collect();
    if trusted.iter().any(|text| !text.contains("-----BEGIN ")) {
        let message = "this does not look like a certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned();
        findings.warning(section.place(), "ca_certs.trusted", message);
    }
    section.finish();
    Some(Certificates { remove_defaults: newer.or(older).is_some_and(|flag| flag.0), trusted })
}
