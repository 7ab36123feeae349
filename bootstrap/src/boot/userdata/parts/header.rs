/// A header of a MIME message.
#[derive(Debug)]
pub struct Header {
    /// As it was written.
    pub name: String,
    /// Continued lines stay lines.
    pub value: String,
}

/// `text/plain; charset=utf-8` without what follows the first semicolon.
pub fn without_parameters(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// A parameter of a header, also in RFC 2231's forms: `name*=utf-8''a%20b`, `name*0=…; name*1=…`.
pub fn parameter(value: &str, name: &str) -> Option<String> {
    let parameters = parameters(value);
    let find = |wanted: &str| parameters.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.clone());
    if let Some(plain) = find(name) {
        return Some(plain);
    }
    if let Some(extended) = find(&format!("{name}*")) {
        return Some(extended_value(&extended));
    }
    let mut joined = String::new();
    let mut is_extended = false;
    for number in 0.. {
        if let Some(piece) = find(&format!("{name}*{number}")) {
            joined.push_str(&piece);
        } else if let Some(piece) = find(&format!("{name}*{number}*")) {
            is_extended = true;
            joined.push_str(&piece);
        } else {
            break;
        }
    }
    match joined.is_empty() {
        true => None,
        false if is_extended => Some(extended_value(&joined)),
        false => Some(joined),
    }
}

/// Every `;key=value` after the first semicolon, keys in lower case, quotes taken off.
fn parameters(value: &str) -> Vec<(String, String)> {
    let mut pieces = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in value.chars() {
        match c {
            ';' if !quoted => {
                pieces.push(String::new());
                continue;
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
    }
    let pair = |piece: &String| {
        let (key, value) = piece.split_once('=')?;
        Some((key.trim().to_ascii_lowercase(), unquoted(value.trim())))
    };
    pieces.iter().skip(1).filter_map(pair).collect()
}

fn unquoted(text: &str) -> String {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\\", "\\").replace("\\\"", "\""),
        None => text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text).to_owned(),
    }
}

/// `charset'language'percent-encoded`
fn extended_value(text: &str) -> String {
    let encoded = text.splitn(3, '\'').nth(2).unwrap_or(text);
    let mut bytes = Vec::new();
    let mut rest = encoded.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::parameter;

    #[test]
    fn parameters_come_plain_quoted_and_extended() {
        for (value, expected) in [
            ("attachment; filename=a.sh", "a.sh"),
            ("attachment; FileName=\"a; b.sh\"; x=y", "a; b.sh"),
            ("attachment;\n filename=\"a\\\"b\"", "a\"b"),
            ("attachment; filename*=utf-8''%C3%A9%20.sh", "é .sh"),
            ("attachment; filename*0=\"long\"; filename*1=er", "longer"),
        ] {
            assert_eq!(parameter(value, "filename").as_deref(), Some(expected), "{value}");
        }
        assert_eq!(parameter("attachment", "filename"), None);
    }
}
