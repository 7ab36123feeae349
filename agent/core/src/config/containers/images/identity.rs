//! Who must have signed an image without a key of its own: a name that an OpenID Connect provider vouches for, and the
//! files that say which authority and which log are believed.

use crate::config::expression;
use crate::config::section::Section;
use crate::config::values::{AbsolutePath, FromNode, mismatch};
use crate::yaml::Node;
use regex::Regex;
use std::fmt;
use std::path::PathBuf;

/// Who must have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The OpenID Connect provider that knows the signer.
    pub issuer: Wanted,
    /// The signer: an e-mail address, or the URI of a workflow.
    pub subject: Wanted,
    /// What is believed.
    pub trust: Trust,
}

/// A text that is wanted.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// This one.
    Exactly(String),
    /// One that fits as a whole.
    Fitting(Regex),
}

/// The files with what is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Sigstore's `trusted_root.json`.
    Root(PathBuf),
    /// The certificates of the authority, and the public key of the log: PEM.
    Files {
        /// Roots, and what is between them and signers.
        authorities: PathBuf,
        /// Rekor's.
        log: PathBuf,
    },
}

/// An expression for whole texts.
struct Whole(Regex);

impl Identity {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let issuer = Wanted::read(&mut section, "issuer", "issuer_pattern");
        let subject = Wanted::read(&mut section, "subject", "subject_pattern");
        let mut path = |key| section.optional::<AbsolutePath>(key).map(|path| path.0);
        let (root, authorities, log) = (path("trusted_root"), path("authorities"), path("log_key"));
        section.exactly_one(&["trusted_root", "authorities"]);
        section.at_most_one(&["trusted_root", "log_key"]);
        if section.has("authorities") && !section.has("log_key") {
            section.problem_with("authorities", "the log_key that belongs to it is missing: the public key of Rekor");
        }
        section.finish();
        let trust = match (root, authorities, log) {
            (Some(root), _, _) => Trust::Root(root),
            (None, Some(authorities), Some(log)) => Trust::Files { authorities, log },
            _ => return None,
        };
        Some(Self { issuer: issuer?, subject: subject?, trust })
    }
}

impl Wanted {
    fn read(section: &mut Section<'_>, exactly: &'static str, fitting: &'static str) -> Option<Self> {
        let exact = section.optional::<String>(exactly).map(Self::Exactly);
        let whole = section.optional::<Whole>(fitting).map(|whole| Self::Fitting(whole.0));
        section.exactly_one(&[exactly, fitting]);
        exact.or(whole)
    }

    /// Whether a text is what is wanted.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == text,
            Self::Fitting(regex) => regex.is_match(text),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(text) => f.write_str(text),
            Self::Fitting(regex) => {
                let text = regex.as_str();
                let inner = text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$"));
                write!(f, "/{}/", inner.unwrap_or(text))
            }
        }
    }
}

impl PartialEq for Wanted {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exactly(one), Self::Exactly(other)) => one == other,
            (Self::Fitting(one), Self::Fitting(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl Eq for Wanted {}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.subject, self.issuer)
    }
}

impl FromNode for Whole {
    const EXPECTED: &'static str = "a regular expression for the whole text such as https://github\\.com/team/.*";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().filter(|text| !text.is_empty()).ok_or_else(|| mismatch::<Self>(node))?;
        expression::whole(text).map(Self)
    }
}
