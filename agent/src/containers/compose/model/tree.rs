use super::date::Date;
use hostwright_core::yaml::{Node, Place, Value as Written};
use std::collections::BTreeMap;

/// Where something stands: which of the files that were read, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Its index in the list of files.
    pub file: usize,
    pub place: Place,
}

impl At {
    /// The beginning of a file.
    pub fn start(file: usize) -> Self {
        Self { file, place: Place { line: 1, column: 1 } }
    }
}

/// A value of the Compose model. Members of a mapping stand where their key does.
#[derive(Clone, Debug)]
pub struct Tree {
    pub at: At,
    pub value: Value,
}

/// What a value holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Date(Date),
    List(Vec<Tree>),
    Map(Map),
}

/// A mapping: its order means nothing to Compose.
pub type Map = BTreeMap<String, Tree>;

/// Values are the same wherever they stand.
impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Tree {
    pub fn new(at: At, value: Value) -> Self {
        Self { at, value }
    }

    pub fn text(at: At, text: impl Into<String>) -> Self {
        Self::new(at, Value::Text(text.into()))
    }

    /// A mapping of members that all stand at one place.
    pub fn map<const N: usize>(at: At, members: [(&str, Value); N]) -> Self {
        let members = members.into_iter().map(|(key, value)| (key.to_owned(), Self::new(at, value)));
        Self::new(at, Value::Map(members.collect()))
    }

    /// What was written, with the types that YAML gives it.
    pub fn of(node: &Node, at: At) -> Self {
        let inside = |place: Place| At { file: at.file, place };
        let value = match &node.value {
            // What has a tag of its own, such as `!override`, is a text to Go's YAML.
            Written::Scalar { text, plain: true } if node.tag.is_none() => resolve(text),
            Written::Scalar { text, .. } => Value::Text(text.clone()),
            Written::Sequence(items) => Value::List(items.iter().map(|i| Self::of(i, inside(i.place))).collect()),
            Written::Mapping(mapping) => Value::Map(
                mapping.entries.iter().map(|e| (e.key.clone(), Self::of(&e.value, inside(e.place)))).collect(),
            ),
        };
        Self::new(at, value)
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    pub fn is_true(&self) -> bool {
        self.value == Value::Bool(true)
    }

    /// The member of that name, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_map().and_then(|map| map.get(key))
    }

    /// The text of the member of that name.
    pub fn get_text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Self::as_text)
    }

    /// How many values it consists of.
    pub fn count(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Self::count).sum(),
            Value::Map(map) => map.values().map(Self::count).sum(),
            _ => 0,
        }
    }

    /// What kind of thing it is, in an operator's words.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a string",
            Value::Date(_) => "a date, which quotes make a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// A scalar as Go prints it, which is how Compose makes texts of numbers; lists, mappings and dates have no such form.
    pub fn printed(&self) -> Option<String> {
        match &self.value {
            Value::Null => Some(String::new()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Int(number) => Some(number.to_string()),
            Value::Float(number) => Some(print_float(*number)),
            Value::Text(text) => Some(text.clone()),
            Value::Date(_) | Value::List(_) | Value::Map(_) => None,
        }
    }
}

impl From<&Tree> for serde_json::Value {
    fn from(tree: &Tree) -> Self {
        match &tree.value {
            Value::Null => Self::Null,
            Value::Bool(flag) => (*flag).into(),
            Value::Int(number) => (*number).into(),
            // Go writes whole numbers without a fraction, and up to there every one is exact.
            Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => (*number as i64).into(),
            Value::Float(number) => (*number).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Date(date) => date.json().into(),
            Value::List(items) => items.iter().map(Self::from).collect(),
            Value::Map(map) => Self::Object(map.iter().map(|(key, tree)| (key.clone(), tree.into())).collect()),
        }
    }
}

/// Whether a plain scalar is a text, as keys must be; a number that is too large for any type is none.
pub fn is_text(text: &str) -> bool {
    let is_number = || text.starts_with(|c: char| c.is_ascii_digit()) && text.replace('_', "").parse::<f64>().is_ok();
    matches!(resolve(text), Value::Text(_)) && !is_number()
}

/// The type of a plain scalar as Go's YAML gives it: `yes` and `on` are texts, `0644` and `0o644` are octal.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return Value::Text(text.to_owned());
    }
    let digits = text.replace('_', "");
    let number = integer(&digits).or_else(|| float(&digits));
    number.or_else(|| Date::parse(text).map(Value::Date)).unwrap_or_else(|| Value::Text(text.to_owned()))
}

fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    // A sign inside the digits would be taken by `from_str_radix`, but is no YAML integer.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    let number = if negative { -magnitude } else { magnitude };
    match i64::try_from(number) {
        Ok(number) => Some(Value::Int(number)),
        // What Go can still hold is printed with all its digits.
        Err(_) => u64::try_from(number).ok().map(|number| Value::Text(number.to_string())),
    }
}

fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let numeric = unsigned.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    let has_digit = unsigned.bytes().any(|b| b.is_ascii_digit());
    (numeric && has_digit && unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
        .then(|| text.parse().ok())?
        // What is too large for a number stays a text.
        .filter(|number: &f64| number.is_finite())
        .map(Value::Float)
}

/// Go's `%v`: the shortest digits that read back, with an exponent below 1e-4 and from 1e6 on.
pub fn print_float(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return match number {
            n if n.is_nan() => "NaN".into(),
            n if n == f64::INFINITY => "+Inf".into(),
            n if n == f64::NEG_INFINITY => "-Inf".into(),
            _ => "0".into(),
        };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::{Value, is_text, print_float, resolve};

    #[test]
    fn plain_scalars_have_the_types_of_go_s_yaml() {
        for (text, expected) in [
            ("yes", Value::Text("yes".into())),
            ("0644", Value::Int(0o644)),
            ("0o644", Value::Int(0o644)),
            ("0x1F", Value::Int(31)),
            ("1_000", Value::Int(1000)),
            ("1e3", Value::Float(1000.0)),
            ("1.50", Value::Float(1.5)),
            ("1.2.3", Value::Text("1.2.3".into())),
            ("80:80", Value::Text("80:80".into())),
            ("-", Value::Text("-".into())),
            ("+.5", Value::Float(0.5)),
            (".", Value::Text(".".into())),
            ("True", Value::Bool(true)),
            ("~", Value::Null),
        ] {
            assert_eq!(resolve(text), expected, "{text}");
        }
    }

    #[test]
    fn keys_are_texts_unless_go_has_another_type_for_them() {
        for text in ["yes", "on", "<<", "80:80", "a", "2024-13-01", "1.2.3", "-", "inf"] {
            assert!(is_text(text), "{text}");
        }
        for other in ["80", "1e3", "1.5", "true", "~", "", "2024-01-31", "18446744073709551615", "1e999"] {
            assert!(!is_text(other), "{other}");
        }
    }

    #[test]
    fn numbers_are_printed_as_go_does() {
        for (number, expected) in [
            (1.5, "1.5"),
            (1000.0, "1000"),
            (1_234_567.0, "1.234567e+06"),
            (0.00001, "1e-05"),
            (0.1, "0.1"),
            (0.0, "0"),
        ] {
            assert_eq!(print_float(number), expected);
        }
    }
}
