use super::message::{Message, without_mark};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Reads what follows `<PRI>1 ` (RFC 5424, 6).
pub(super) fn read(text: &str) -> Option<Message<'_>> {
    let mut parts = text.splitn(6, ' ');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let time = match next()? {
        "-" => None,
        time => Some(time.parse().ok()?),
    };
    let mut value = || next().map(|part| (part != "-").then_some(part));
    let (hostname, app_name, procid, msgid) = (value()?, value()?, value()?, value()?);
    let (structured_data, text) = structured_data(next()?)?;
    Some(Message { time, hostname, app_name, procid, msgid, structured_data, text: without_mark(text) })
}

/// The elements, and the text behind them.
fn structured_data(text: &str) -> Option<(Map<String, Value>, &str)> {
    let mut elements = Map::new();
    let mut rest = text;
    if let Some(after) = rest.strip_prefix('-') {
        rest = after;
    } else {
        while let Some(element) = rest.strip_prefix('[') {
            let (id, parameters, after) = self::element(element)?;
            elements.insert(id.to_owned(), Value::Object(parameters));
            rest = after;
        }
        if elements.is_empty() {
            return None;
        }
    }
    let text = if rest.is_empty() { rest } else { rest.strip_prefix(' ')? };
    Some((elements, text))
}

/// The id and the parameters of an element without its opening bracket, and what follows it.
fn element(text: &str) -> Option<(&str, Map<String, Value>, &str)> {
    let end = text.find([' ', ']']).filter(|end| *end > 0)?;
    let (id, mut rest) = text.split_at(end);
    let mut parameters = Map::new();
    while let Some(parameter) = rest.strip_prefix(' ') {
        let (name, value) = parameter.split_once("=\"")?;
        let end = end_of_value(value)?;
        add(&mut parameters, name, Value::from(unescaped(&value[..end])));
        rest = &value[end + 1..];
    }
    Some((id, parameters, rest.strip_prefix(']')?))
}

/// Where the closing quote is.
fn end_of_value(value: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// A parameter may come several times (RFC 5424, 6.3.3).
fn add(parameters: &mut Map<String, Value>, name: &str, value: Value) {
    match parameters.get_mut(name) {
        None => {
            parameters.insert(name.to_owned(), value);
        }
        Some(Value::Array(all)) => all.push(value),
        Some(one) => *one = Value::Array(vec![one.take(), value]),
    }
}

/// A parameter's value without its escapes (RFC 5424, 6.3.3).
fn unescaped(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some('"' | '\\' | ']') if c == '\\' => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}
