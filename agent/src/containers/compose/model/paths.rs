use super::fault::{Checked, Fault, one};
use super::path::{Path as Keys, Table};
use super::tree::{Map, Tree, Value};
use std::path::Path;
use std::sync::LazyLock;

/// How a path of the file becomes one of the host.
#[derive(Clone, Copy, Debug)]
enum Resolve {
    Plain,
    /// A folder, or a place elsewhere that the builder knows.
    Context,
    Mount,
    /// As `Plain`; Compose takes an empty one for the project's folder.
    Whole,
    DriverOptions,
}

static RESOLVE: LazyLock<Table<Resolve>> = LazyLock::new(|| {
    Table::new(&[
        ("services.*.build.context", Resolve::Context),
        ("services.*.build.additional_contexts.*", Resolve::Context),
        ("services.*.build.ssh.*", Resolve::Plain),
        ("services.*.env_file.[].path", Resolve::Plain),
        ("services.*.label_file.[]", Resolve::Plain),
        ("services.*.extends.file", Resolve::Plain),
        ("services.*.develop.watch.[].path", Resolve::Plain),
        ("services.*.volumes.[]", Resolve::Mount),
        ("configs.*.file", Resolve::Whole),
        ("secrets.*.file", Resolve::Whole),
        ("volumes.*", Resolve::DriverOptions),
    ])
});

/// Makes the paths of a canonical model absolute: those that are relative begin at `folder`.
pub fn resolve(model: &mut Map, folder: &Path) -> Checked<()> {
    mapping(model, &mut Keys::default(), folder)
}

fn mapping(map: &mut Map, keys: &mut Keys, folder: &Path) -> Checked<()> {
    map.iter_mut().try_for_each(|(key, member)| keys.within(key, |keys| tree(member, keys, folder)))
}

fn tree(value: &mut Tree, keys: &mut Keys, folder: &Path) -> Checked<()> {
    if let Some(rule) = RESOLVE.find(keys) {
        return by_rule(rule, value, keys, folder);
    }
    match &mut value.value {
        Value::Map(map) => mapping(map, keys, folder),
        Value::List(items) => items.iter_mut().try_for_each(|item| keys.within("[]", |keys| tree(item, keys, folder))),
        _ => Ok(()),
    }
}

fn by_rule(rule: Resolve, value: &mut Tree, keys: &Keys, folder: &Path) -> Checked<()> {
    match rule {
        Resolve::Plain => make_absolute(value, folder),
        Resolve::Whole => {
            if let Value::Text(text) = &mut value.value {
                *text = absolute(text, folder);
            }
        }
        Resolve::Context => {
            let elsewhere = |text: &str| {
                text.contains("://")
                    || ["service:", "github.com/", "git@"].iter().any(|prefix| text.starts_with(prefix))
            };
            if value.as_text().is_none() && !value.is_null() {
                return one(Fault::new(
                    value.at,
                    keys,
                    format!("expected a folder or an address, found {}", value.kind()),
                ));
            }
            if !value.as_text().is_some_and(elsewhere) {
                make_absolute(value, folder);
            }
        }
        Resolve::Mount => {
            if value.get_text("type") == Some("bind") {
                let at = value.at;
                let Some(source) = value.as_map_mut().and_then(|mount| mount.get_mut("source")) else {
                    return one(Fault::new(at, keys, "a bind needs a source, the file or folder of the host"));
                };
                // Compose takes an empty one for the project's folder.
                if let Value::Text(text) = &mut source.value {
                    *text = absolute(text, folder);
                }
            }
        }
        Resolve::DriverOptions => {
            let is_bind = |options: &Map| options.get("o").and_then(Tree::as_text) == Some("bind");
            if value.get_text("driver") == Some("local")
                && let Some(options) = value.as_map_mut().and_then(|map| map.get_mut("driver_opts")?.as_map_mut())
                && is_bind(options)
                && let Some(device) = options.get_mut("device")
            {
                make_absolute(device, folder);
            }
        }
    }
    Ok(())
}

fn make_absolute(value: &mut Tree, folder: &Path) {
    if let Value::Text(text) = &mut value.value
        && !text.is_empty()
    {
        *text = absolute(text, folder);
    }
}

/// An absolute path stays as it is written; a relative one begins at `folder`, `~` at the home folder.
pub fn absolute(text: &str, folder: &Path) -> String {
    if let Some(rest) = text.strip_prefix('~')
        && let Ok(home) = std::env::var("HOME")
    {
        return clean(&format!("{home}/{rest}"));
    }
    let windows = text.get(1..3).is_some_and(|drive| [":/", r":\"].contains(&drive)) || text.starts_with(r"\\");
    if text.starts_with('/') || windows {
        return text.to_owned();
    }
    clean(&format!("{}/{text}", folder.display()))
}

/// Without `.`, `..` and double slashes, as far as the text alone tells.
pub fn clean(text: &str) -> String {
    let rooted = text.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".into(),
        (false, joined) => joined,
    }
}
