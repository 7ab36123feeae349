use hostwright_core::yaml::{Entry, Node, Scalar, Value};

/// How one document is merged into what came before: cloud-init's mergers, of which the first that knows a kind of
/// value decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merging(Vec<Merger>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Merger {
    Dict { replace: bool, recurse_str: bool, recurse_list: bool, allow_delete: bool },
    List { method: ListMethod, recurse_str: bool, recurse_dict: bool, recurse_list: bool },
    Str { append: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListMethod {
    Append,
    Prepend,
    Replace,
    Keep,
}

/// Between the parts of one user-data: a later part's key takes the place of an earlier one's.
pub const BETWEEN_PARTS: &str = "dict(replace)+list()+str()";
/// Between user-data, vendor-data and the image's configuration: what came first stays, mappings are filled up.
const BETWEEN_SOURCES: &str = "list()+dict()+str()";

impl Merging {
    /// Reads `merge_how:` or `merge_type:` off a document, and then the header's; the default where neither is there.
    pub fn take(document: &mut Node, header: &str) -> Result<Self, String> {
        let mut mergers = Vec::new();
        if let Value::Mapping(mapping) = &mut document.value {
            for key in ["merge_how", "merge_type"] {
                let Some(at) = mapping.entries.iter().position(|entry| entry.key == key) else { continue };
                let value = mapping.entries.remove(at).value;
                if value.is_null() {
                    continue;
                }
                mergers = of_node(&value)?;
                break;
            }
        }
        mergers.extend(of_text(header)?);
        if mergers.is_empty() {
            mergers = of_text(BETWEEN_PARTS)?;
        }
        Ok(Self(mergers))
    }

    /// The rule between the sources of configuration.
    pub fn between_sources() -> Self {
        Self(of_text(BETWEEN_SOURCES).unwrap_or_default())
    }

    /// Merges `new` into `old`.
    pub fn merge(&self, old: Node, new: Node) -> Result<Node, String> {
        match kind(&old) {
            Kind::Dict => match self.0.iter().find(|merger| matches!(merger, Merger::Dict { .. })) {
                Some(merger) if new.mapping().is_some() => self.dicts(merger, old, new),
                _ => Ok(old),
            },
            Kind::List => match self.0.iter().find(|merger| matches!(merger, Merger::List { .. })) {
                Some(merger) => self.lists(merger, old, new),
                None => Ok(old),
            },
            Kind::Str => match self.0.iter().find(|merger| matches!(merger, Merger::Str { .. })) {
                Some(Merger::Str { append: true }) => joined(&old, &new),
                Some(_) => Ok(new),
                None => Ok(old),
            },
            Kind::Other => Ok(old),
        }
    }

    fn dicts(&self, merger: &Merger, mut old: Node, new: Node) -> Result<Node, String> {
        let Merger::Dict { replace, recurse_str, recurse_list, allow_delete } = *merger else { return Ok(old) };
        let (Value::Mapping(into), Value::Mapping(from)) = (&mut old.value, new.value) else { return Ok(old) };
        for entry in from.entries {
            let Some(at) = into.entries.iter().position(|old| old.key == entry.key) else {
                into.entries.push(entry);
                continue;
            };
            if allow_delete && entry.value.is_null() {
                into.entries.remove(at);
                continue;
            }
            let recurses = match kind(&entry.value) {
                Kind::List => recurse_list,
                Kind::Str => recurse_str,
                Kind::Dict => true,
                Kind::Other => false,
            };
            if replace {
                into.entries[at] = entry;
            } else if recurses {
                let before = into.entries[at].value.clone();
                let value = self.merge(before, entry.value)?;
                into.entries[at] = Entry { value, key: entry.key, place: entry.place };
            }
        }
        Ok(old)
    }

    fn lists(&self, merger: &Merger, old: Node, new: Node) -> Result<Node, String> {
        let Merger::List { method, recurse_str, recurse_dict, recurse_list } = *merger else { return Ok(old) };
        if method == ListMethod::Replace && new.sequence().is_none() {
            return Ok(new);
        }
        let place = old.place;
        let (mut before, after) = (items(old)?, items(new)?);
        let merged = match method {
            ListMethod::Append => [before, after].concat(),
            ListMethod::Prepend => [after, before].concat(),
            ListMethod::Keep => before,
            ListMethod::Replace => {
                for (slot, item) in before.iter_mut().zip(after) {
                    let recurses = match kind(&item) {
                        Kind::List => recurse_list,
                        Kind::Str => recurse_str,
                        Kind::Dict => recurse_dict,
                        Kind::Other => false,
                    };
                    *slot = if recurses { self.merge(slot.clone(), item)? } else { item };
                }
                before
            }
        };
        Ok(Node { place, tag: None, value: Value::Sequence(merged) })
    }
}

enum Kind {
    Dict,
    List,
    Str,
    Other,
}

fn kind(node: &Node) -> Kind {
    match &node.value {
        Value::Mapping(_) => Kind::Dict,
        Value::Sequence(_) => Kind::List,
        Value::Scalar { .. } if matches!(node.scalar(), Some(Scalar::String(_))) => Kind::Str,
        Value::Scalar { .. } => Kind::Other,
    }
}

/// What Python's `list.extend` takes: a list, a mapping's keys, a string's characters.
fn items(node: Node) -> Result<Vec<Node>, String> {
    let place = node.place;
    let text = |text: String| Node { place, tag: None, value: Value::Scalar { text, plain: false } };
    match node.value {
        Value::Sequence(items) => Ok(items),
        Value::Mapping(mapping) => Ok(mapping.entries.into_iter().map(|entry| text(entry.key)).collect()),
        Value::Scalar { text: string, .. } if !string.is_empty() => {
            Ok(string.chars().map(|c| text(c.to_string())).collect())
        }
        Value::Scalar { .. } => Err("a list cannot be merged with a single value".into()),
    }
}

fn joined(old: &Node, new: &Node) -> Result<Node, String> {
    let place = old.place;
    match (old.text(), new.text(), kind(new)) {
        (Some(before), Some(after), Kind::Str) => {
            Ok(Node { place, tag: None, value: Value::Scalar { text: format!("{before}{after}"), plain: false } })
        }
        _ => Err(format!("a string cannot be merged with {}", new.kind())),
    }
}

/// `list(append)+dict(no_replace,recurse_list)+str()`
fn of_text(text: &str) -> Result<Vec<Merger>, String> {
    let mut mergers = Vec::new();
    for item in text.split('+') {
        let item = item.to_lowercase().trim().replace('-', "_");
        if item.is_empty() {
            continue;
        }
        let parsed = item.split_once('(').and_then(|(name, rest)| Some((name, rest.strip_suffix(')')?)));
        let Some((name, options)) = parsed.filter(|(name, _)| is_name(name)) else {
            return Err(format!("{item:?} is no merger; write such as list(append)+dict(recurse_array)+str()"));
        };
        let options: Vec<String> = options.split(',').map(|option| option.trim().to_owned()).collect();
        mergers.push(merger(name, &options)?);
    }
    Ok(mergers)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A text, or a list of `{name: …, settings: […]}` or of `[name, option…]`.
fn of_node(node: &Node) -> Result<Vec<Merger>, String> {
    if let Some(text) = node.text() {
        return of_text(text);
    }
    let wrong = || "merge_how takes a text such as list(append)+dict()+str(), or a list of {name, settings}".to_owned();
    let mut mergers = Vec::new();
    for item in node.sequence().ok_or_else(wrong)? {
        let (name, options): (Option<&str>, Vec<String>) = match item.sequence() {
            Some(words) => (words.first().and_then(Node::text), texts(words.get(1..).unwrap_or_default())),
            None => {
                let settings = item.get("settings").ok_or_else(wrong)?;
                (
                    item.get("name").and_then(Node::text),
                    texts(settings.sequence().unwrap_or(std::slice::from_ref(settings))),
                )
            }
        };
        let name = name.ok_or_else(wrong)?.replace('-', "_");
        if !name.trim().is_empty() {
            mergers.push(merger(name.trim(), &options)?);
        }
    }
    Ok(mergers)
}

fn texts(nodes: &[Node]) -> Vec<String> {
    nodes.iter().filter_map(Node::text).map(str::to_owned).collect()
}

fn merger(name: &str, options: &[String]) -> Result<Merger, String> {
    let has = |names: &[&str]| options.iter().any(|option| names.contains(&option.as_str()));
    let (recurse_str, recurse_list) = (has(&["recurse_str"]), has(&["recurse_array", "recurse_list"]));
    match name.strip_prefix("m_").unwrap_or(name) {
        "dict" => Ok(Merger::Dict {
            replace: has(&["replace"]),
            recurse_str,
            recurse_list,
            allow_delete: has(&["allow_delete"]),
        }),
        "list" => {
            // The first of them counts, in this order.
            let methods = [
                ("append", ListMethod::Append),
                ("prepend", ListMethod::Prepend),
                ("replace", ListMethod::Replace),
                ("no_replace", ListMethod::Keep),
            ];
            let method = methods.into_iter().find(|(name, _)| has(&[name])).map_or(ListMethod::Replace, |(_, m)| m);
            Ok(Merger::List { method, recurse_str, recurse_dict: has(&["recurse_dict"]), recurse_list })
        }
        "str" => Ok(Merger::Str { append: has(&["append"]) }),
        _ => Err(format!("there is no merger {name:?}; known: dict, list, str")),
    }
}

#[cfg(test)]
mod tests {
    use super::Merging;
    use hostwright_core::yaml::{Duplicates, Node, emit, load};

    fn node(text: &str) -> Node {
        load(text, Duplicates::LastWins).expect("YAML").root
    }

    fn merged(old: &str, new: &str, header: &str) -> String {
        let mut new = node(new);
        let merging = Merging::take(&mut new, header).expect("mergers");
        emit(&merging.merge(node(old), new).expect("merged")).replace('\n', " ").trim_end().to_owned()
    }

    #[test]
    fn documents_merge_as_cloud_init_merges_them() {
        let (old, new) = ("a: [1]\nb: {x: 1}\nc: s\n", "a: [2]\nb: {y: 2}\nc: t\n");
        for (header, expected) in [
            ("", "a:   - 2 b:   y: 2 c: t"),
            ("list(append)+dict(recurse_array)+str()", "a:   - 1   - 2 b:   x: 1   y: 2 c: s"),
            ("list(prepend)+dict(recurse_list,recurse_str)+str(append)", "a:   - 2   - 1 b:   x: 1   y: 2 c: st"),
            ("list(append)", "a:   - 1 b:   x: 1 c: s"),
        ] {
            assert_eq!(merged(old, new, header), expected, "{header}");
        }
        let own = "merge_how: [{name: list, settings: [append]}, {name: dict, settings: [no_replace, recurse_list]}]\na: [2]\n";
        assert_eq!(
            merged(old, own, "dict(replace)"),
            "a:   - 1   - 2 b:   x: 1 c: s",
            "the body counts before the header"
        );
        assert_eq!(merged("a: 1\nb: 2\n", "a:\n", "dict(allow_delete)"), "b: 2");
        assert_eq!(merged("a: [1, 2, 3]\n", "a: [4]\n", "dict(recurse_list)+list()"), "a:   - 4   - 2   - 3");
    }

    #[test]
    fn mergers_that_nobody_knows_are_told() {
        for (text, why) in [("set()", "no merger"), ("list", "list(append)"), ("9(x)", "list(append)")] {
            assert!(Merging::take(&mut node("a: 1"), text).expect_err("refused").contains(why), "{text}");
        }
    }
}
