use hostwright_core::yaml::{self, Duplicates, Entry, Node, Value};

/// Applies a `#cloud-config-jsonp` part: RFC 6902's operations on what was merged so far.
///
/// # Errors
/// It is no list of operations, or one of them does not fit; then nothing is changed.
pub fn apply(document: &Node, text: &str) -> Result<Node, String> {
    const PREFIX: &str = "#cloud-config-jsonp";
    let text = text.trim_start();
    let json = text.strip_prefix(PREFIX).unwrap_or(text);
    // JSON is checked as JSON, then read as YAML, which it is, for its places.
    let checked: serde_json::Value =
        serde_json::from_str(json).map_err(|error| format!("this is not JSON: {error}"))?;
    let root = yaml::load(&checked.to_string(), Duplicates::LastWins).map_err(|error| error.to_string())?.root;
    let operations = root.sequence().ok_or("a JSON patch is a list of operations")?;
    operations.iter().try_fold(document.clone(), one)
}

fn one(mut document: Node, operation: &Node) -> Result<Node, String> {
    let text = |key: &str| operation.get(key).and_then(Node::text);
    let path = text("path").ok_or("an operation of a JSON patch needs a path")?;
    let value = || operation.get("value").cloned().ok_or_else(|| format!("the operation on {path:?} needs a value"));
    let from = || text("from").ok_or_else(|| format!("the operation on {path:?} needs a from"));
    match text("op").unwrap_or_default() {
        "add" => add(&mut document, path, value()?)?,
        "remove" => drop(remove(&mut document, path)?),
        "replace" => {
            let value = value()?;
            *find(&mut document, path)? = value;
        }
        "copy" => {
            let copied = find(&mut document, from()?)?.clone();
            add(&mut document, path, copied)?;
        }
        "move" => {
            let moved = remove(&mut document, from()?)?;
            add(&mut document, path, moved)?;
        }
        "test" if !is_equal(find(&mut document, path)?, &value()?) => {
            return Err(format!("the test of {path:?} fails: its value is another one"));
        }
        "test" => {}
        other => return Err(format!("{other:?} is no operation of a JSON patch")),
    }
    Ok(document)
}

/// RFC 6901: `/users/0/name`, with `~1` for a slash and `~0` for a tilde.
fn steps(path: &str) -> Result<Vec<String>, String> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let rest = path.strip_prefix('/').ok_or_else(|| format!("{path:?} is no JSON pointer: it begins with a slash"))?;
    Ok(rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

fn find<'a>(document: &'a mut Node, path: &str) -> Result<&'a mut Node, String> {
    let absent = || format!("there is nothing at {path:?}");
    steps(path)?.iter().try_fold(document, |node, step| {
        match &mut node.value {
            Value::Mapping(mapping) => {
                mapping.entries.iter_mut().find(|entry| entry.key == *step).map(|e| &mut e.value)
            }
            Value::Sequence(items) => index(step, items.len()).and_then(|at| items.get_mut(at)),
            Value::Scalar { .. } => None,
        }
        .ok_or_else(absent)
    })
}

fn index(step: &str, length: usize) -> Option<usize> {
    let plain = step == "0" || !step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit());
    step.parse().ok().filter(|at| plain && *at <= length)
}

fn parent<'a>(document: &'a mut Node, path: &str) -> Result<(&'a mut Node, String), String> {
    let mut steps = steps(path)?;
    let last = steps.pop().ok_or("the whole document cannot be removed")?;
    let at = path.len() - path.rsplit('/').next().map_or(0, str::len) - 1;
    Ok((find(document, &path[..at])?, last))
}

fn add(document: &mut Node, path: &str, value: Node) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (node, step) = parent(document, path)?;
    match &mut node.value {
        Value::Mapping(mapping) => match mapping.entries.iter_mut().find(|entry| entry.key == step) {
            Some(entry) => entry.value = value,
            None => mapping.entries.push(Entry { place: value.place, key: step, value }),
        },
        Value::Sequence(items) if step == "-" => items.push(value),
        Value::Sequence(items) => {
            let at = index(&step, items.len()).ok_or_else(|| format!("there is no place {path:?} in the list"))?;
            items.insert(at, value);
        }
        Value::Scalar { .. } => return Err(format!("there is no list or mapping around {path:?}")),
    }
    Ok(())
}

fn remove(document: &mut Node, path: &str) -> Result<Node, String> {
    let absent = || format!("there is nothing at {path:?}");
    let (node, step) = parent(document, path)?;
    match &mut node.value {
        Value::Mapping(mapping) => {
            let at = mapping.entries.iter().position(|entry| entry.key == step).ok_or_else(absent)?;
            Ok(mapping.entries.remove(at).value)
        }
        Value::Sequence(items) => {
            let at = index(&step, items.len()).filter(|at| *at < items.len()).ok_or_else(absent)?;
            Ok(items.remove(at))
        }
        Value::Scalar { .. } => Err(absent()),
    }
}

fn is_equal(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Sequence(one), Value::Sequence(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_equal(one, other))
        }
        (Value::Mapping(one), Value::Mapping(other)) => {
            let same = |entry: &Entry| other.get(&entry.key).is_some_and(|value| is_equal(&entry.value, value));
            one.entries.len() == other.entries.len() && one.entries.iter().all(same)
        }
        _ => one.scalar().is_some() && one.scalar() == other.scalar(),
    }
}

#[cfg(test)]
mod tests {
    use super::apply;
    use hostwright_core::yaml::{Duplicates, emit, load};

    fn patched(patch: &str) -> Result<String, String> {
        let document = load("a: [1, 2]\nb: {c/d: x}\n", Duplicates::LastWins).expect("YAML").root;
        apply(&document, patch).map(|node| emit(&node).split_whitespace().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn every_operation_does_what_the_rfc_says() {
        for (patch, expected) in [
            (
                r##"#cloud-config-jsonp
[{"op": "add", "path": "/a/1", "value": 9}, {"op": "add", "path": "/a/-", "value": 3}]"##,
                "a: - 1 - 9 - 2 - 3 b: c/d: x",
            ),
            (r#"[{"op": "replace", "path": "/b/c~1d", "value": "y"}, {"op": "remove", "path": "/a"}]"#, "b: c/d: y"),
            (
                r#"[{"op": "move", "from": "/a/0", "path": "/n"}, {"op": "copy", "from": "/n", "path": "/a/0"}]"#,
                "a: - 1 - 2 b: c/d: x n: 1",
            ),
            (
                r#"[{"op": "test", "path": "/a", "value": [1, 2]}, {"op": "add", "path": "/a", "value": null}]"#,
                "a: null b: c/d: x",
            ),
        ] {
            assert_eq!(patched(patch).as_deref(), Ok(expected), "{patch}");
        }
    }

    #[test]
    fn what_does_not_fit_is_told() {
        for (patch, why) in [
            ("{", "not JSON"),
            ("{}", "list of operations"),
            (r#"[{"op": "remove", "path": "/x"}]"#, "nothing at"),
            (r#"[{"op": "add", "path": "/a/7", "value": 1}]"#, "no place"),
            (r#"[{"op": "test", "path": "/a/0", "value": 2}]"#, "another one"),
            (r#"[{"op": "frobnicate", "path": "/a"}]"#, "no operation"),
            (r#"[{"op": "remove", "path": ""}]"#, "whole document"),
            (r#"[{"op": "add", "path": "a", "value": 1}]"#, "slash"),
        ] {
            assert!(patched(patch).expect_err("refused").contains(why), "{patch}");
        }
    }
}
