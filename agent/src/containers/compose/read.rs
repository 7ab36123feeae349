//! Attributes of a canonical model, whose types are known already.

use super::model::{Tree, Value, read_duration};
use std::collections::BTreeMap;
use std::time::Duration;

pub fn text(tree: &Tree, key: &str) -> Option<String> {
    tree.get_text(key).map(str::to_owned)
}

pub fn flag(tree: &Tree, key: &str) -> Option<bool> {
    match tree.get(key)?.value {
        Value::Bool(flag) => Some(flag),
        _ => None,
    }
}

pub fn is_set(tree: &Tree, key: &str) -> bool {
    flag(tree, key) == Some(true)
}

pub fn integer(tree: &Tree, key: &str) -> Option<i64> {
    match &tree.get(key)?.value {
        Value::Int(number) => Some(*number),
        // Sizes are texts of digits.
        Value::Text(digits) => digits.parse().ok(),
        _ => None,
    }
}

pub fn number(tree: &Tree, key: &str) -> Option<f64> {
    match tree.get(key)?.value {
        Value::Int(number) => Some(number as f64),
        Value::Float(number) => Some(number),
        _ => None,
    }
}

/// A share from 0 to 1.
pub fn thousandths(tree: &Tree, key: &str) -> Option<u32> {
    number(tree, key).map(|share| (share.clamp(0.0, 1.0) * 1000.0).round() as u32)
}

/// Processors in billionths.
pub fn nano_cpus(tree: &Tree, key: &str) -> Option<i64> {
    number(tree, key).map(|cpus| (cpus * 1e9).round() as i64)
}

pub fn span(tree: &Tree, key: &str) -> Option<Duration> {
    tree.get_text(key).and_then(read_duration)
}

pub fn list<'t>(tree: &'t Tree, key: &str) -> &'t [Tree] {
    tree.get(key).and_then(Tree::as_list).unwrap_or_default()
}

pub fn texts(tree: &Tree, key: &str) -> Vec<String> {
    list(tree, key).iter().filter_map(|item| item.as_text().map(str::to_owned)).collect()
}

/// The words of a command; nothing where the image's own counts.
pub fn words(tree: &Tree, key: &str) -> Option<Vec<String>> {
    tree.get(key)?.as_list()?;
    Some(texts(tree, key))
}

pub fn members<'t>(tree: &'t Tree, key: &str) -> impl Iterator<Item = (&'t String, &'t Tree)> + use<'t> {
    tree.get(key).and_then(Tree::as_map).into_iter().flatten()
}

pub fn pairs(tree: &Tree, key: &str) -> BTreeMap<String, String> {
    members(tree, key).filter_map(|(name, value)| Some((name.clone(), value.printed()?))).collect()
}
