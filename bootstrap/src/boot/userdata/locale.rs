use super::Findings;
use hostwright_core::config::section::Section;
use hostwright_core::config::values::AbsolutePath;
use hostwright_core::yaml::Scalar;
use serde::Serialize;
use std::path::PathBuf;

/// `locale:` and `locale_configfile:`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Locale {
    /// Such as `fr_FR.UTF-8`.
    pub name: String,
    /// Its file, where it is not the distribution's.
    pub path: Option<PathBuf>,
}

/// `keyboard:`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Keyboard {
    /// `XKBLAYOUT`
    pub layout: String,
    /// `XKBMODEL`
    pub model: String,
    /// `XKBVARIANT`
    pub variant: String,
    /// `XKBOPTIONS`
    pub options: String,
}

impl Locale {
    /// Reads the top-level keys; nothing where the image's locale stays.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Option<Self> {
        let path = root.optional::<AbsolutePath>("locale_configfile").map(|path| path.0);
        let node = root.node("locale")?;
        let text = node.text().unwrap_or_default();
        match node.scalar() {
            Some(Scalar::Bool(false)) => return None,
            // True says no more than that there shall be one.
            Some(Scalar::Bool(true)) => return None,
            // As for cloud-init, an empty one is none; templates leave it so.
            Some(Scalar::String(text)) if text.is_empty() => return None,
            _ => {}
        }
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || "_.@-".contains(c)) {
            findings.error(node.place, "locale", "expected a locale such as fr_FR.UTF-8, or false".to_owned());
            return None;
        }
        Some(Self { name: text.to_owned(), path })
    }
}

impl Keyboard {
    /// Reads the top-level key.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Option<Self> {
        findings.whole(root.node("keyboard")?, "keyboard", |section, _| keyboard(section))
    }
}

fn keyboard(mut section: Section<'_>) -> Option<Keyboard> {
    let layout = section.required::<String>("layout");
    let mut text = |key: &'static str, default: &str| {
        section.optional::<super::values::Text>(key).map_or_else(|| default.to_owned(), |text| text.0)
    };
    let (model, variant, options) = (text("model", "pc105"), text("variant", ""), text("options", ""));
    let fits = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_,:()-+. ".contains(c));
    if ![layout.as_deref().unwrap_or_default(), &model, &variant, &options].iter().all(|text| fits(text)) {
        section.problem(section.place(), "expected words such as layout: fr, variant: oss, options: 'ctrl:nocaps'");
    }
    section.finish();
    Some(Keyboard { layout: layout?, model, variant, options })
}
