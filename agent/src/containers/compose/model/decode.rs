use super::fault::{Checked, Fault};
use super::interpolate::read_bool;
use super::path::Path;
use super::shape::{Field, MODEL, SERVICE, Shape, Shown};
use super::tree::{At, Map, Tree, Value};
use super::validate::items;
use super::{shellwords, units};

/// Gives a complete model its canonical types: sizes and durations are texts of one form, pairs are mappings,
/// what is empty does not show. Every fault is told.
///
/// Of the services of `model` only what names files is left: with thousands of them, all of both would be too much.
pub fn decode(model: &mut Map) -> Checked<Map> {
    let mut decoder = Decoder { path: Path::default(), faults: Vec::new() };
    let written = model.remove("services");
    let mut decoded = decoder.fields(MODEL, model, At::start(0));
    if let Some(Tree { at, value: Value::Map(services) }) = written {
        let (mut all, mut left) = (Map::new(), Map::new());
        decoder.path.push("services");
        for (name, mut service) in services {
            let one = Map::from([(name.clone(), service.clone())]);
            if let Value::Map(one) = decoder.named(&Shape::Struct(SERVICE), &one) {
                all.extend(one);
            }
            if let Some(service) = service.as_map_mut() {
                service.retain(|key, _| key == "env_file" || key == "label_file");
            }
            left.insert(name, service);
        }
        decoder.path.pop();
        decoded.insert("services".into(), Tree::new(at, Value::Map(all)));
        model.insert("services".into(), Tree::new(at, Value::Map(left)));
    }
    if decoder.faults.is_empty() { Ok(decoded) } else { Err(decoder.faults) }
}

struct Decoder {
    path: Path,
    faults: Vec<Fault>,
}

impl Decoder {
    fn fields(&mut self, fields: &[Field], map: &Map, at: At) -> Map {
        let mut decoded = Map::new();
        for field in fields {
            let written = map.get(field.key).filter(|member| !member.is_null());
            self.path.push(field.key);
            let value = written.and_then(|member| self.shape(&field.shape, member));
            self.path.pop();
            let value = match (value, field.shown) {
                (Some(value), Shown::Full) if is_empty(&field.shape, &value) => None,
                (Some(value), _) => Some(value),
                (None, Shown::Always) => Some(zero(&field.shape, at)),
                (None, _) => None,
            };
            if let Some(value) = value {
                decoded.insert(field.shown_as.to_owned(), Tree::new(written.map_or(at, |member| member.at), value));
            }
        }
        decoded
    }

    fn shape(&mut self, shape: &Shape, tree: &Tree) -> Option<Value> {
        let value = match shape {
            Shape::Struct(fields) => tree.as_map().map(|map| Value::Map(self.fields(fields, map, tree.at))),
            Shape::List(item) => tree.as_list().map(|items| self.list(item, items)),
            Shape::Named(member) => tree.as_map().map(|map| self.named(member, map)),
            Shape::Environment => match items(Some(tree)).iter().find(|item| ends_in_space(item)) {
                Some(item) => {
                    let message = "a variable's name ends in a space; write NAME=value";
                    self.faults.push(Fault::new(item.at, &self.path, message));
                    return None;
                }
                None => pairs(tree, true),
            },
            Shape::Pairs => pairs(tree, false),
            Shape::Options => tree.as_map().map(|map| Value::Map(printed(map))),
            Shape::MultiOptions => tree.as_map().map(|map| Value::Map(multi(map))),
            Shape::Hosts => hosts(tree),
            Shape::Ssh => tree.as_map().map(ssh),
            Shape::Ulimit => ulimit(tree),
            Shape::Texts | Shape::Words | Shape::Test | Shape::Printed => texts(shape, tree),
            _ => scalar(shape, tree),
        };
        if value.is_none() {
            let found = tree.as_text().map_or_else(|| tree.kind().to_owned(), |text| format!("{text:?}"));
            let secret = matches!(shape, Shape::Environment | Shape::Pairs | Shape::Words | Shape::Test);
            let found = if secret { tree.kind() } else { found.as_str() };
            self.faults.push(Fault::new(tree.at, &self.path, format!("expected {}, found {found}", expected(shape))));
        }
        value
    }

    fn list(&mut self, item: &Shape, items: &[Tree]) -> Value {
        self.path.push("[]");
        let items = items.iter().filter_map(|tree| Some(Tree::new(tree.at, self.shape(item, tree)?)));
        let items = Value::List(items.collect());
        self.path.pop();
        items
    }

    fn named(&mut self, member: &Shape, map: &Map) -> Value {
        let mut decoded = Map::new();
        for (key, tree) in map {
            self.path.push(key);
            let value = match (tree.is_null(), member) {
                (true, Shape::Text) => Some(zero(member, tree.at)),
                (true, _) => Some(Value::Null),
                (false, _) => self.shape(member, tree),
            };
            self.path.pop();
            decoded.extend(value.map(|value| (key.clone(), Tree::new(tree.at, value))));
        }
        Value::Map(decoded)
    }
}

fn is_empty(shape: &Shape, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Int(0) => true,
        Value::Bool(true) | Value::Int(_) | Value::Date(_) => false,
        Value::Float(number) => *number == 0.0,
        // Sizes and durations of nothing are texts here.
        Value::Text(text) => match shape {
            Shape::Bytes => text == "0",
            Shape::Duration => text == "0s",
            _ => text.is_empty(),
        },
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
    }
}

fn zero(shape: &Shape, at: At) -> Value {
    match shape {
        Shape::Text => Value::Text(String::new()),
        Shape::Bool => Value::Bool(false),
        Shape::Int | Shape::Unsigned => Value::Int(0),
        Shape::Bytes => Value::Text("0".into()),
        Shape::Struct(fields) => {
            let always = fields.iter().filter(|field| field.shown == Shown::Always);
            Value::Map(always.map(|field| (field.shown_as.to_owned(), Tree::new(at, zero(&field.shape, at)))).collect())
        }
        Shape::Named(_) => Value::Map(Map::new()),
        _ => Value::Null,
    }
}

fn scalar(shape: &Shape, tree: &Tree) -> Option<Value> {
    Some(match (shape, &tree.value) {
        (Shape::Text, Value::Text(text)) => Value::Text(text.clone()),
        (Shape::Text, Value::Int(number)) => Value::Text(number.to_string()),
        (Shape::Bool, Value::Bool(flag)) => Value::Bool(*flag),
        (Shape::Bool, Value::Text(text)) => Value::Bool(read_bool(text)?),
        (Shape::Int | Shape::Count, Value::Int(number)) => Value::Int(*number),
        (Shape::Int, Value::Float(number)) => Value::Int(units::whole(*number)),
        (Shape::Int | Shape::Count, Value::Text(text)) => match (shape, text.to_lowercase().as_str()) {
            (Shape::Count, "all") => Value::Int(-1),
            _ => Value::Int(text.parse().ok()?),
        },
        (Shape::Unsigned, Value::Int(number)) if *number >= 0 => Value::Int(*number),
        (Shape::Unsigned, Value::Float(number)) if *number >= 0.0 => Value::Int(*number as i64),
        (Shape::Float, Value::Int(number)) => units::short_float(*number as f64),
        (Shape::Float, Value::Float(number)) if number.is_finite() => units::short_float(*number),
        (Shape::Float, Value::Text(text)) => units::short_float(text.parse().ok()?),
        (Shape::Bytes, Value::Int(number)) => Value::Text(number.to_string()),
        (Shape::Bytes, Value::Text(text)) => Value::Text(units::bytes(text)?.to_string()),
        // Compose takes no notice of these.
        (Shape::Bytes, Value::Float(_) | Value::Bool(_)) => Value::Text("0".into()),
        (Shape::Duration, Value::Text(text)) => Value::Text(units::print_duration(units::duration(text)?)),
        (Shape::Duration, Value::Int(0)) => Value::Text("0s".into()),
        (Shape::Mode, Value::Int(number)) => units::mode(*number),
        (Shape::Mode, Value::Text(text)) => units::mode(i64::from_str_radix(text, 8).ok()?),
        _ => return None,
    })
}

fn texts(shape: &Shape, tree: &Tree) -> Option<Value> {
    let list = |words: Vec<String>| words.into_iter().map(|word| Tree::text(tree.at, word)).collect();
    Some(Value::List(match (shape, &tree.value) {
        (Shape::Words, Value::Text(line)) => list(shellwords::parse(line)?),
        (Shape::Test, Value::Text(line)) => list(vec!["CMD-SHELL".into(), line.clone()]),
        (Shape::Texts | Shape::Printed, Value::Text(_)) => vec![tree.clone()],
        (Shape::Printed, Value::List(items)) => list(items.iter().map(Tree::printed).collect::<Option<_>>()?),
        (_, Value::List(items)) => {
            list(items.iter().map(|item| item.as_text().map(str::to_owned)).collect::<Option<_>>()?)
        }
        _ => return None,
    }))
}

fn pairs(tree: &Tree, keep_names: bool) -> Option<Value> {
    let mut map = Map::new();
    match &tree.value {
        Value::Map(members) => {
            for (name, member) in members {
                let value = if member.is_null() && keep_names { Value::Null } else { Value::Text(member.printed()?) };
                map.insert(name.clone(), Tree::new(member.at, value));
            }
        }
        Value::List(items) => {
            for item in items {
                let text = item.printed()?;
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name, Value::Text(value.to_owned())),
                    None if keep_names => (text.as_str(), Value::Null),
                    None => (text.as_str(), Value::Text(String::new())),
                };
                map.insert(name.to_owned(), Tree::new(item.at, value));
            }
        }
        _ => return None,
    }
    Some(Value::Map(map))
}

fn ends_in_space(item: &Tree) -> bool {
    let name = item.as_text().map(|text| text.split_once('=').map_or(text, |(name, _)| name));
    name.is_some_and(|name| name.ends_with(char::is_whitespace))
}

fn printed(map: &Map) -> Map {
    map.iter().map(|(key, tree)| (key.clone(), Tree::text(tree.at, tree.printed().unwrap_or_default()))).collect()
}

fn multi(map: &Map) -> Map {
    let texts = |tree: &Tree| -> Value {
        let items = tree.as_list().unwrap_or(std::slice::from_ref(tree));
        Value::List(items.iter().map(|item| Tree::text(item.at, item.printed().unwrap_or_default())).collect())
    };
    map.iter().map(|(key, tree)| (key.clone(), Tree::new(tree.at, texts(tree)))).collect()
}

/// `name=address`, sorted.
fn hosts(tree: &Tree) -> Option<Value> {
    let mut hosts: Vec<(String, String)> = Vec::new();
    match &tree.value {
        Value::Map(map) => {
            for (name, member) in map {
                for address in member.as_list().unwrap_or(std::slice::from_ref(member)) {
                    hosts.push((name.clone(), address.printed()?));
                }
            }
        }
        Value::List(items) => {
            for item in items {
                let text = item.printed()?;
                let (name, addresses) = text.split_once('=').or_else(|| text.split_once(':'))?;
                hosts.extend(addresses.split(',').map(|address| (name.to_owned(), address.to_owned())));
            }
        }
        _ => return None,
    }
    if hosts.iter().any(|(name, _)| name.is_empty() || name.contains([':', '='])) {
        return None;
    }
    let bare = |address: &str| {
        let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|inner| !inner.is_empty());
        inner.unwrap_or(address).to_owned()
    };
    let mut lines: Vec<String> = hosts.iter().map(|(name, address)| format!("{name}={}", bare(address))).collect();
    lines.sort();
    Some(Value::List(lines.into_iter().map(|line| Tree::text(tree.at, line)).collect()))
}

fn ssh(map: &Map) -> Value {
    let line = |(id, path): (&String, &Tree)| match path.printed().filter(|path| !path.is_empty()) {
        Some(path) => format!("{id}={path}"),
        None => id.clone(),
    };
    let lines = map.iter().map(|entry| Tree::text(entry.1.at, line(entry)));
    Value::List(lines.collect())
}

fn ulimit(tree: &Tree) -> Option<Value> {
    let map = match &tree.value {
        Value::Int(0) => return Some(Value::Map(Map::new())),
        Value::Int(both) => return Some(Value::Int(*both)),
        Value::Map(map) => map,
        _ => return None,
    };
    let mut limits = Map::new();
    for key in ["soft", "hard"] {
        match map.get(key).map(|member| (&member.value, member.at)) {
            Some((Value::Int(0), _)) | None => {}
            Some((Value::Int(limit), at)) => {
                limits.insert(key.to_owned(), Tree::new(at, Value::Int(*limit)));
            }
            Some(_) => return None,
        }
    }
    Some(Value::Map(limits))
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Text => "a string",
        Shape::Bool => "true or false",
        Shape::Int => "a whole number",
        Shape::Unsigned => "a whole number of 0 or more",
        Shape::Float => "a number",
        Shape::Bytes => "a size such as 512m or 2g",
        Shape::Duration => "a duration such as 10s, 1m30s or 500ms",
        Shape::Words => "a list of words, or a command whose quotes are closed",
        Shape::Test => "a command, or a list that begins with CMD, CMD-SHELL or NONE",
        Shape::Mode => "octal digits such as \"0440\"",
        Shape::Count => "a number or all",
        Shape::Texts | Shape::Printed => "a list of strings",
        Shape::List(_) => "a list",
        Shape::Environment | Shape::Pairs => "a mapping, or a list of NAME=value",
        Shape::Hosts => "a mapping or list of name=address",
        Shape::Ulimit => "a whole number, or soft and hard",
        Shape::Options | Shape::MultiOptions | Shape::Ssh | Shape::Named(_) | Shape::Struct(_) => "a mapping",
    }
}
