//! What cloud-init's schema says of values, for the keys that are carried out.
//!
//! In: a document as it was written. Out: findings beside those of the sections' own readers: a value that cloud-init's
//! schema refuses is taken as cloud-init takes it, and told; so is a form that cloud-init calls deprecated. Keys that are
//! missing or unknown are the readers' affair.

/// Every key with what it takes.
mod keys;

use super::findings::Findings;
use hostwright_core::yaml::{Mapping, Node, Place, Scalar};
use std::collections::BTreeSet;

/// What a key takes.
pub enum Type {
    /// A string; what YAML reads as a number or as true is none.
    Text,
    /// True or false.
    Flag,
    /// A whole number.
    Int,
    /// Nothing.
    Null,
    /// This truth value.
    Is(bool),
    /// One of these strings.
    Word(&'static [&'static str]),
    /// A list, of whatever.
    List,
    /// A mapping, of whatever.
    Map,
    /// A list of these.
    Items(&'static Type),
    /// A list of these, and not an empty one.
    Filled(&'static Type),
    /// A list of two strings.
    Pair,
    /// A mapping with these keys; of others nothing is said.
    Keys(&'static [Key]),
    /// A mapping of any names to these.
    Named(&'static Type),
    /// A mapping with at least one entry.
    NotEmpty(&'static Type),
    /// Any of these.
    OneOf(&'static [Type]),
    /// A form that shall not be used any more, and which one instead.
    Old(&'static Type, &'static str),
}

/// A name, and what it takes.
pub type Key = (&'static str, Type);

/// Tells where a document is not as the schema wants it, or in an old form.
pub fn look(root: &Node, findings: &mut Findings) {
    let known: BTreeSet<Place> = findings.errors.iter().chain(&findings.ignored).map(|problem| problem.place).collect();
    let mut look = Look { findings, known };
    for entry in root.mapping().map(|mapping| &mapping.entries[..]).unwrap_or_default() {
        let found = keys::KEYS.iter().find(|(name, _)| *name == entry.key);
        if let Some((_, wanted)) = found {
            look.entry((entry.place, &entry.value), &entry.key, wanted);
        }
    }
}

struct Look<'a> {
    findings: &'a mut Findings,
    /// Places of which the readers told something already.
    known: BTreeSet<Place>,
}

impl Look<'_> {
    fn entry(&mut self, (key, value): (Place, &Node), path: &str, wanted: &Type) {
        if self.known.contains(&key) {
            return;
        }
        if let Type::Old(inner, instead) = wanted {
            self.findings.warning(key, path, format!("is deprecated: {instead}"));
            return self.value(value, path, inner);
        }
        self.value(value, path, wanted);
    }

    fn value(&mut self, node: &Node, path: &str, wanted: &Type) {
        if self.known.contains(&node.place) {
            return;
        }
        match (wanted, node.sequence(), node.mapping()) {
            (Type::OneOf(forms), ..) => {
                let fits = forms.iter().find(|form| fits(node, form));
                match fits.or_else(|| forms.iter().find(|form| is_same_container(node, form))) {
                    Some(form) => self.value(node, path, form),
                    None => self.refuse(node, path, wanted),
                }
            }
            (Type::Old(inner, instead), ..) if fits(node, inner) => {
                // Where a reader has said more of it already, that is enough.
                if self.findings.warnings.iter().any(|told| told.place == node.place) {
                    return;
                }
                self.findings.warning(node.place, path, format!("is deprecated: {instead}"));
            }
            (Type::Filled(_), Some([]), _) => self.refuse(node, path, wanted),
            (Type::Pair, Some([first, second]), _) => {
                [first, second].into_iter().for_each(|node| self.value(node, path, &Type::Text));
            }
            (Type::Items(item) | Type::Filled(item), Some(items), _) => {
                items.iter().for_each(|node| self.value(node, path, item));
            }
            (Type::NotEmpty(inner), _, Some(mapping)) if !mapping.entries.is_empty() => self.value(node, path, inner),
            (Type::Keys(keys), _, Some(mapping)) => self.keys(mapping, path, keys),
            (Type::Named(inner), _, Some(mapping)) => {
                for entry in &mapping.entries {
                    self.entry((entry.place, &entry.value), &format!("{path}.{}", entry.key), inner);
                }
            }
            _ if !fits(node, wanted) => self.refuse(node, path, wanted),
            _ => {}
        }
    }

    fn keys(&mut self, mapping: &Mapping, path: &str, keys: &[Key]) {
        for entry in &mapping.entries {
            if let Some((_, wanted)) = keys.iter().find(|(name, _)| *name == entry.key) {
                self.entry((entry.place, &entry.value), &format!("{path}.{}", entry.key), wanted);
            }
        }
    }

    fn refuse(&mut self, node: &Node, path: &str, wanted: &Type) {
        // A secret is not told, whatever it is instead of a string.
        let found = match (node.scalar(), node.sequence(), node.mapping()) {
            (Some(Scalar::String(text)), ..) if !text.is_empty() && !path.contains("passw") => format!("{text:?}"),
            (_, Some([]), _) => "an empty list".to_owned(),
            (.., Some(mapping)) if mapping.entries.is_empty() => "an empty mapping".to_owned(),
            _ => node.kind().to_owned(),
        };
        let told = format!("expected {}, found {found}{}", described(wanted, node), remedy(wanted, node));
        self.findings.tolerated(node.place, path, &told);
    }
}

/// What turns the value into what is wanted, where quotes do it.
fn remedy(wanted: &Type, node: &Node) -> &'static str {
    let takes = |scalar: &Scalar| match wanted {
        Type::OneOf(forms) => forms.iter().any(|form| fits_scalar(scalar, form)),
        wanted => fits_scalar(scalar, wanted),
    };
    match node.scalar() {
        Some(Scalar::Int(_) | Scalar::Float(_) | Scalar::Bool(_)) if takes(&Scalar::String(String::new())) => {
            "; put it in quotes"
        }
        Some(Scalar::String(text)) if takes(&Scalar::resolve(&text)) => "; take the quotes away",
        _ => "",
    }
}

fn fits_scalar(scalar: &Scalar, wanted: &Type) -> bool {
    matches!(
        (wanted, scalar),
        (Type::Text, Scalar::String(_)) | (Type::Flag, Scalar::Bool(_)) | (Type::Int, Scalar::Int(_))
    )
}

fn fits(node: &Node, wanted: &Type) -> bool {
    let all = |item: &Type| node.sequence().is_some_and(|items| items.iter().all(|node| fits(node, item)));
    let entries = node.mapping().map(|mapping| &mapping.entries[..]);
    match (wanted, node.scalar()) {
        (Type::Text, Some(Scalar::String(_)))
        | (Type::Flag, Some(Scalar::Bool(_)))
        | (Type::Int, Some(Scalar::Int(_)))
        | (Type::Null, Some(Scalar::Null)) => true,
        (Type::Is(wanted), Some(Scalar::Bool(value))) => *wanted == value,
        (Type::Word(words), Some(Scalar::String(text))) => words.contains(&text.as_str()),
        (Type::List, _) => node.sequence().is_some(),
        (Type::Map, _) => entries.is_some(),
        (Type::Items(item), _) => all(item),
        (Type::Filled(item), _) => node.sequence().is_some_and(|items| !items.is_empty()) && all(item),
        (Type::Pair, _) => {
            node.sequence().is_some_and(|items| items.len() == 2 && items.iter().all(|node| fits(node, &Type::Text)))
        }
        (Type::Keys(keys), _) => entries.is_some_and(|entries| {
            entries.iter().all(|entry| {
                keys.iter().find(|(name, _)| *name == entry.key).is_none_or(|(_, wanted)| fits(&entry.value, wanted))
            })
        }),
        (Type::Named(inner), _) => entries.is_some_and(|entries| entries.iter().all(|entry| fits(&entry.value, inner))),
        (Type::NotEmpty(inner), _) => entries.is_some_and(|entries| !entries.is_empty()) && fits(node, inner),
        (Type::OneOf(forms), _) => forms.iter().any(|form| fits(node, form)),
        (Type::Old(inner, _), _) => fits(node, inner),
        _ => false,
    }
}

/// Whether a list or mapping is wanted where there is one: then what is wrong is inside of it.
fn is_same_container(node: &Node, wanted: &Type) -> bool {
    match wanted {
        Type::Items(_) | Type::Filled(_) | Type::List => node.sequence().is_some(),
        Type::Keys(_) | Type::Named(_) | Type::Map | Type::NotEmpty(_) => node.mapping().is_some(),
        Type::Old(inner, _) => is_same_container(node, inner),
        _ => false,
    }
}

fn described(wanted: &Type, node: &Node) -> String {
    match wanted {
        Type::Text => "a string".to_owned(),
        Type::Flag => "true or false".to_owned(),
        Type::Int => "a whole number".to_owned(),
        Type::Null => "nothing".to_owned(),
        Type::Is(value) => value.to_string(),
        Type::Word(words) => words.join(" or "),
        Type::Filled(_) if node.sequence().is_some() => "a list with at least one item".to_owned(),
        Type::Items(Type::Text) | Type::Filled(Type::Text) => "a list of strings".to_owned(),
        Type::List | Type::Items(_) | Type::Filled(_) => "a list".to_owned(),
        Type::Pair => "a list of a name and a version".to_owned(),
        Type::Map | Type::Keys(_) | Type::Named(_) => "a mapping".to_owned(),
        Type::NotEmpty(_) => "a mapping with at least one key".to_owned(),
        Type::OneOf(forms) => {
            let forms = forms.iter().filter(|form| !matches!(form, Type::Old(..)));
            forms.map(|form| described(form, node)).collect::<Vec<_>>().join(", or ")
        }
        Type::Old(inner, _) => described(inner, node),
    }
}

#[cfg(test)]
mod tests {
    use crate::boot::userdata::read;

    fn told(text: &str) -> (Vec<String>, Vec<String>) {
        let findings = read(format!("#cloud-config\n{text}").as_bytes()).findings;
        let told = |problems: &[hostwright_core::config::section::Problem]| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(findings.errors.is_empty(), "{:?}", findings.errors);
        (told(&findings.ignored), told(&findings.warnings))
    }

    #[test]
    fn values_that_the_schema_refuses_are_told_with_what_it_wants_and_taken() {
        for (text, expected) in [
            (
                "package_update: 'yes'",
                "2:17: package_update: is not as the schema wants it: expected true or false, found \"yes\"; take the quotes away",
            ),
            (
                "runcmd: [[sleep, 1]]",
                "2:18: runcmd: is not as the schema wants it: expected a string, found a number; put it in quotes",
            ),
            (
                "packages: [[jq]]",
                "2:12: packages: is not as the schema wants it: expected a mapping, or a list of a name and a version, or a string, found a list",
            ),
            (
                "runcmd: []",
                "2:9: runcmd: is not as the schema wants it: expected a list with at least one item, found an empty list",
            ),
            ("packages: jq", "2:11: packages: is not as the schema wants it: expected a list, found \"jq\""),
            (
                "ca_certs: {}",
                "2:11: ca_certs: is not as the schema wants it: expected a mapping with at least one key, found an empty mapping",
            ),
            (
                "write_files:\n- {path: /a, permissions: 0644}",
                "3:27: write_files.permissions: is not as the schema wants it: expected a string, found a number; put it in quotes",
            ),
            (
                "password: 7",
                "2:11: password: is not as the schema wants it: expected a string, found a number; put it in quotes",
            ),
        ] {
            assert_eq!(told(text).0, [expected], "{text}");
        }
    }

    #[test]
    fn deprecated_forms_are_taken_with_a_warning_that_names_the_new_one() {
        for (text, expected) in [
            ("apt_update: true", "2:1: apt_update: is deprecated: use package_update"),
            ("users: [{name: a, lock-passwd: true}]", "2:19: users.lock-passwd: is deprecated: use lock_passwd"),
            ("users: [{name: a, uid: '1001'}]", "2:24: users.uid: is deprecated: use a number"),
            ("manage_etc_hosts: template", "2:19: manage_etc_hosts: is deprecated: use true"),
            ("growpart: {mode: false}", "2:18: growpart.mode: is deprecated: use 'off', in quotes"),
        ] {
            assert_eq!(told(text), (Vec::new(), vec![expected.to_owned()]), "{text}");
        }
    }
}
