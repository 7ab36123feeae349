use super::fault::{Checked, Fault};
use super::path::Path;
use super::tree::{At, Map, Tree, Value};
use hostwright_core::config::section::did_you_mean;
use serde_json::Value as Json;
use std::sync::LazyLock;

/// The Compose specification's own schema, without its descriptions.
static SCHEMA: LazyLock<Json> =
    LazyLock::new(|| serde_json::from_str(include_str!("compose-spec.json")).unwrap_or_default());

/// Checks a model against the schema; every fault is told.
pub fn check(model: &Map) -> Checked<()> {
    let mut faults = Vec::new();
    let at = model.values().next().map_or(At::start(0), |first| first.at);
    Checker { faults: &mut faults, path: Path::default() }.mapping(&SCHEMA, at, model);
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

struct Checker<'a> {
    faults: &'a mut Vec<Fault>,
    path: Path,
}

impl Checker<'_> {
    fn fault(&mut self, at: At, message: impl Into<String>) {
        self.faults.push(Fault::new(at, &self.path, message));
    }

    fn tree(&mut self, schema: &Json, tree: &Tree) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap_or_default();
            return self.tree(&SCHEMA["definitions"][name], tree);
        }
        if let Some(branches) = schema["oneOf"].as_array() {
            return self.one_of(branches, tree);
        }
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|name| has_type(tree, name)) {
            return self.fault(tree.at, format!("expected {}, found {}", in_words(&types), tree.kind()));
        }
        match &tree.value {
            Value::Map(map) => self.mapping(schema, tree.at, map),
            Value::List(items) => self.list(schema, items),
            Value::Text(text) => self.text(schema, tree.at, text),
            Value::Int(number) => self.number(schema, tree.at, *number as f64),
            Value::Float(number) => self.number(schema, tree.at, *number),
            Value::Null | Value::Bool(_) | Value::Date(_) => {}
        }
    }

    fn mapping(&mut self, schema: &Json, at: At, map: &Map) {
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if !map.contains_key(key) {
                self.fault(at, format!("the key {key:?} is missing"));
            }
        }
        let patterns: Vec<(&String, &Json)> = schema["patternProperties"].as_object().into_iter().flatten().collect();
        for (key, member) in map {
            let mut schemas: Vec<&Json> = schema["properties"].get(key).into_iter().collect();
            schemas.extend(patterns.iter().filter(|(pattern, _)| fits(pattern, key)).map(|(_, schema)| *schema));
            self.path.push(key);
            if schemas.is_empty() && schema["additionalProperties"] == false {
                self.unknown(schema, member.at, key);
            }
            schemas.into_iter().for_each(|schema| self.tree(schema, member));
            self.path.pop();
        }
    }

    fn unknown(&mut self, schema: &Json, at: At, key: &str) {
        // Among thousands of faults nobody looks for the nearest word, and looking takes long.
        let known = schema["properties"].as_object();
        let message = match known {
            Some(_) if self.faults.len() > 200 => "unknown key".into(),
            Some(known) => format!("unknown key{}", did_you_mean(key, known.keys().map(String::as_str))),
            None => format!("{key:?} cannot be a name here; use letters, digits, '.', '_' and '-'"),
        };
        self.fault(at, message);
    }

    fn list(&mut self, schema: &Json, items: &[Tree]) {
        if let Some(schema) = schema.get("items") {
            self.path.push("[]");
            items.iter().for_each(|item| self.tree(schema, item));
            self.path.pop();
        }
        if schema["uniqueItems"] == true
            && let Some(item) = repeated(items)
        {
            self.fault(item.at, "stands twice in the list");
        }
    }

    fn text(&mut self, schema: &Json, at: At, text: &str) {
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.iter().any(|value| value == text)
        {
            let allowed: Vec<&str> = allowed.iter().filter_map(Json::as_str).collect();
            self.fault(at, format!("expected one of {}, found {text:?}", allowed.join(", ")));
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && !matches(pattern, text)
        {
            self.fault(at, format!("{text:?} is not allowed here; it must match {pattern}"));
        }
    }

    fn number(&mut self, schema: &Json, at: At, number: f64) {
        if let Some(least) = schema["minimum"].as_f64().filter(|least| number < *least) {
            self.fault(at, format!("must be at least {least}"));
        }
        if let Some(most) = schema["maximum"].as_f64().filter(|most| number > *most) {
            self.fault(at, format!("must be at most {most}"));
        }
    }

    /// Exactly one branch must fit. Else what is told is what is wrong by the branch that the value has the type of.
    fn one_of(&mut self, branches: &[Json], tree: &Tree) {
        let mut best: Option<Vec<Fault>> = None;
        let mut fitting = 0;
        let mut expected = Vec::new();
        for branch in branches {
            let mut faults = Vec::new();
            Checker { faults: &mut faults, path: self.path.clone() }.tree(branch, tree);
            expected.extend(types(resolved(branch)));
            if faults.is_empty() {
                fitting += 1;
            } else if types(resolved(branch)).iter().any(|name| has_type(tree, name)) {
                best.get_or_insert(faults);
            }
        }
        match (fitting, best) {
            (1, _) => {}
            (0, Some(faults)) => self.faults.extend(faults),
            _ => self.fault(tree.at, format!("expected {}, found {}", in_words(&expected), tree.kind())),
        }
    }
}

fn resolved(schema: &Json) -> &Json {
    match schema["$ref"].as_str() {
        Some(name) => &SCHEMA["definitions"][name.rsplit('/').next().unwrap_or_default()],
        None => schema,
    }
}

fn types(schema: &Json) -> Vec<&str> {
    match (&schema["type"], schema["oneOf"].as_array()) {
        (Json::String(name), _) => vec![name],
        (Json::Array(names), _) => names.iter().filter_map(Json::as_str).collect(),
        (_, Some(branches)) => branches.iter().flat_map(|branch| types(resolved(branch))).collect(),
        _ => Vec::new(),
    }
}

fn has_type(tree: &Tree, name: &str) -> bool {
    match &tree.value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Int(_) => name == "integer" || name == "number",
        Value::Float(number) => name == "number" || name == "integer" && number.fract() == 0.0,
        Value::Text(_) => name == "string",
        // Compose refuses dates wherever a type is asked for.
        Value::Date(_) => false,
        Value::List(_) => name == "array",
        Value::Map(_) => name == "object",
    }
}

fn in_words(types: &[&str]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for name in types {
        let word = match *name {
            "string" => "a string",
            "boolean" => "true or false",
            "integer" => "a whole number",
            "number" => "a number",
            "array" => "a list",
            "object" => "a mapping",
            _ => "nothing",
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(" or ")
}

/// The few patterns that the schema has for keys.
fn fits(pattern: &str, key: &str) -> bool {
    match pattern {
        "^x-" => key.starts_with("x-"),
        "^[a-zA-Z0-9._-]+$" => !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        "^[a-z]+$" => !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase()),
        _ => !key.is_empty(),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

fn repeated(items: &[Tree]) -> Option<&Tree> {
    let mut seen = std::collections::HashSet::new();
    items.iter().find(|item| !seen.insert(serde_json::Value::from(*item).to_string()))
}
