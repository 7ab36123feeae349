use super::{Node, Scalar, Value};
use serde_json::{Map, Value as Json, json};

/// The tree as a reader of YAML 1.1 sees it (PyYAML's `safe_load`, and so cloud-init): sexagesimal numbers are numbers,
/// `0o644` is none. Bytes become `{"!bytes": base64}`, dates `{"!date": text}`, infinities `{"!float": text}`.
pub fn to_json(node: &Node) -> Json {
    match &node.value {
        Value::Sequence(items) => items.iter().map(to_json).collect(),
        Value::Mapping(mapping) => {
            let pairs = mapping.entries.iter().map(|entry| (entry.key.clone(), to_json(&entry.value)));
            Json::Object(pairs.collect::<Map<_, _>>())
        }
        Value::Scalar { text, .. } if node.tag.as_deref() == Some("!!binary") => {
            json!({"!bytes": text.split_whitespace().collect::<String>()})
        }
        Value::Scalar { text, plain: false } => json!(text),
        Value::Scalar { text, plain: true } => plain(text),
    }
}

fn plain(text: &str) -> Json {
    if is_date(text) {
        return json!({"!date": text});
    }
    if text.starts_with("0o") || text.trim_start_matches(['-', '+']).starts_with("0o") {
        return json!(text);
    }
    match Scalar::resolve(text) {
        Scalar::Null => Json::Null,
        Scalar::Bool(value) => json!(value),
        Scalar::Int(value) => json!(value),
        Scalar::Float(value) if value.is_finite() && is_float(text) => json!(value),
        Scalar::Float(value) if value.is_finite() => json!(text),
        Scalar::Float(value) => json!({"!float": value.to_string().to_lowercase()}),
        Scalar::String(text) => sexagesimal(&text).unwrap_or_else(|| json!(text)),
    }
}

/// YAML 1.1 wants a sign in the exponent, and no sign before a leading dot.
fn is_float(text: &str) -> bool {
    let (number, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(number, rest)| (number, Some(rest)));
    exponent.is_none_or(|exponent| exponent.starts_with(['+', '-']))
        && !number.starts_with("-.")
        && !number.starts_with("+.")
}

/// `1:30` is ninety, `1:30.5` ninety and a half.
fn sexagesimal(text: &str) -> Option<Json> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let parts: Vec<&str> = whole.split(':').collect();
    let first = parts.first()?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let starts = if fraction.is_some() {
        first.starts_with(|c: char| c.is_ascii_digit())
    } else {
        first.starts_with(|c: char| ('1'..='9').contains(&c))
    };
    let rest_fits = |part: &&str| {
        (1..=2).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part.len() == 1 || part.as_bytes()[0] < b'6')
    };
    if parts.len() < 2 || !starts || !is_number(first) || !parts[1..].iter().all(rest_fits) {
        return None;
    }
    let value = parts
        .iter()
        .try_fold(0_i64, |sum, part| sum.checked_mul(60)?.checked_add(part.replace('_', "").parse().ok()?))?;
    let signed = if negative { -value } else { value };
    match fraction {
        None => Some(json!(signed)),
        Some(fraction) if fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') => {
            let part: f64 = format!("0.{}0", fraction.replace('_', "")).parse().ok()?;
            #[expect(clippy::cast_precision_loss, reason = "as any reader of floats has it")]
            let value = value as f64 + part;
            Some(json!(if negative { -value } else { value }))
        }
        Some(_) => None,
    }
}

/// `2001-12-14`, or with a time behind it.
fn is_date(text: &str) -> bool {
    let digits = |text: &str, counts: std::ops::RangeInclusive<usize>| {
        counts.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let end = text.find(['T', 't', ' ', '\t']).unwrap_or(text.len());
    let (date, time) = text.split_at(end);
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    if time.is_empty() {
        return digits(year, 4..=4) && digits(month, 2..=2) && digits(day, 2..=2);
    }
    let time = time.trim_start_matches(['T', 't', ' ', '\t']);
    let clock = time.split(['.', 'Z', '+', '-', ' ', '\t']).next().unwrap_or_default();
    let hands: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = hands[..] else { return false };
    digits(year, 4..=4)
        && digits(month, 1..=2)
        && digits(day, 1..=2)
        && digits(hour, 1..=2)
        && digits(minute, 2..=2)
        && digits(second, 2..=2)
}

#[cfg(test)]
mod tests {
    use super::super::{Duplicates, load};
    use super::to_json;
    use serde_json::json;

    #[test]
    fn the_tree_is_the_one_that_pyyaml_loads() {
        let text = "a: 1:30\nb: 0o644\nc: 0644\nd: 2001-12-14\ne: !!binary aGk=\nf: 1:30.5\ng: 0:30\nh: 1:75\ni: .inf\nj: !!int '12'\nk: !!str 12\nl: y\nm: -.5\nn: 1.5e3\no: 1.5e+3\np: |\n  no end";
        let root = load(text, Duplicates::LastWins).expect("YAML").root;
        let expected = json!({"a": 90, "b": "0o644", "c": 420, "d": {"!date": "2001-12-14"}, "e": {"!bytes": "aGk="},
            "f": 90.5, "g": "0:30", "h": "1:75", "i": {"!float": "inf"}, "j": 12, "k": "12", "l": "y", "m": "-.5", "n": "1.5e3", "o": 1500.0, "p": "no end"});
        assert_eq!(to_json(&root), expected);
    }
}
