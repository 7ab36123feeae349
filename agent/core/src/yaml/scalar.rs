/// A plain scalar with its type resolved as YAML 1.1 readers do (PyYAML, and so cloud-init; Go's YAML for `yes`/`no`
/// agrees where operators meet it), see <https://yaml.org/type/>: `0644` is octal, `yes` and `on` are booleans.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Empty, `~` or `null`.
    Null,
    /// `true`, `yes`, `on` and their opposites.
    Bool(bool),
    /// Decimal, octal (`0644`, `0o644`), hexadecimal or binary.
    Int(i64),
    /// Decimal fractions, infinities and not-a-number.
    Float(f64),
    /// Anything else, and everything in quotes.
    String(String),
}

impl Scalar {
    /// Resolves the type of a plain scalar.
    pub fn resolve(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Self::Bool(true),
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Self::Bool(false),
            _ => {}
        }
        if let Some(number) = integer(text) {
            return Self::Int(number);
        }
        if let Some(number) = float(text) {
            return Self::Float(number);
        }
        Self::String(text.to_owned())
    }
}

fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x', ..] => (16, &digits[2..]),
        [b'0', b'b', ..] => (2, &digits[2..]),
        [b'0', b'o', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, &digits[..]),
    };
    // A sign inside the digits would be taken by `from_str_radix`, but is no YAML integer.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

fn float(text: &str) -> Option<f64> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" => return Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    // YAML 1.1 wants a dot: `1e3` is a string there, and so are `inf` and `nan` that Rust's parser would take.
    if !unsigned.contains('.') || !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if unsigned.bytes().all(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Scalar;

    #[test]
    fn plain_scalars_resolve_as_yaml_1_1_readers_do() {
        for (text, expected) in [
            ("0644", Scalar::Int(0o644)),
            ("0o644", Scalar::Int(0o644)),
            ("0x1F", Scalar::Int(31)),
            ("1_000", Scalar::Int(1000)),
            ("-7", Scalar::Int(-7)),
            ("yes", Scalar::Bool(true)),
            ("off", Scalar::Bool(false)),
            ("y", Scalar::String("y".into())),
            ("1e3", Scalar::String("1e3".into())),
            ("1.5", Scalar::Float(1.5)),
            ("1.2.3", Scalar::String("1.2.3".into())),
            ("0.0.0.0:9100", Scalar::String("0.0.0.0:9100".into())),
            ("0988", Scalar::String("0988".into())),
            ("-", Scalar::String("-".into())),
            ("0x", Scalar::String("0x".into())),
            (".", Scalar::String(".".into())),
            ("~", Scalar::Null),
            ("99999999999999999999", Scalar::String("99999999999999999999".into())),
        ] {
            assert_eq!(Scalar::resolve(text), expected, "{text}");
        }
    }
}
