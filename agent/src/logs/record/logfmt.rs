use super::json;

/// Appends a line of `key=value key="quoted value" flag` as a JSON object of texts; a key without a value is `true`.
/// Of two keys of one name the first counts. None if the line does not begin with a key and a value: it is other text.
pub fn push_json(line: &str, out: &mut String) -> Option<()> {
    let mut rest = line.trim_ascii();
    let mut names: Vec<&str> = Vec::new();
    out.push('{');
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c == '"' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let is_pair = behind.starts_with('=');
        if name.is_empty() || behind.starts_with('"') || names.is_empty() && !is_pair {
            return None;
        }
        let (value, behind) = if is_pair { value(&behind[1..])? } else { (Value::Flag, behind) };
        if !names.contains(&name) {
            if !names.is_empty() {
                out.push(',');
            }
            json::push_string(name, out);
            out.push(':');
            value.push(out);
            names.push(name);
        }
        rest = behind.trim_ascii_start();
    }
    out.push('}');
    (!names.is_empty()).then_some(())
}

enum Value<'a> {
    Flag,
    Plain(&'a str),
    Escaped(&'a str),
}

impl Value<'_> {
    fn push(&self, out: &mut String) {
        match self {
            Self::Flag => out.push_str("true"),
            Self::Plain(text) => json::push_string(text, out),
            Self::Escaped(content) => {
                let mut text = String::with_capacity(content.len());
                json::unescape(content, &mut text);
                json::push_string(&text, out);
            }
        }
    }
}

/// The value at the beginning of the text, and what follows it.
fn value(text: &str) -> Option<(Value<'_>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c.is_ascii_whitespace()).unwrap_or(text.len());
        return Some((Value::Plain(&text[..end]), &text[end..]));
    };
    let mut end = 0;
    let mut has_escape = false;
    loop {
        end += memchr::memchr2(b'"', b'\\', &quoted.as_bytes()[end..])?;
        if quoted.as_bytes()[end] == b'"' {
            break;
        }
        has_escape = true;
        // Over the escaped character, whatever its length.
        end += 1 + quoted[end + 1..].chars().next()?.len_utf8();
    }
    let (content, behind) = (&quoted[..end], &quoted[end + 1..]);
    if !behind.is_empty() && !behind.starts_with(|c: char| c.is_ascii_whitespace()) {
        return None;
    }
    Some((if has_escape { Value::Escaped(content) } else { Value::Plain(content) }, behind))
}

#[cfg(test)]
mod tests {
    use super::push_json;

    fn json(line: &str) -> Option<String> {
        let mut out = String::new();
        push_json(line, &mut out).map(|()| out)
    }

    #[test]
    fn keys_and_values_become_fields() {
        assert_eq!(
            json(r#" level=info msg="a \"b\"\n=c" empty= flag took=1.5ms path=/x?a=b level=twice "#).as_deref(),
            Some(r#"{"level":"info","msg":"a \"b\"\n=c","empty":"","flag":true,"took":"1.5ms","path":"/x?a=b"}"#)
        );
    }

    #[test]
    fn other_text_is_none() {
        for line in
            ["", "  ", "plain text", "text a=b", "=b", "\"a\"=b", "a=\"open", "a=\"b\"c", "a=\"b\\", "a=b c\"d\"=e"]
        {
            assert_eq!(json(line), None, "{line}");
        }
    }

    #[test]
    fn whatever_comes_out_of_random_text_is_a_json_object() {
        let mut random = fastrand::Rng::with_seed(3);
        let parts = ["a", "=", "\"", "\\", " ", "é", "\u{1}", "key=", "\"v\" ", "\\u00", "\t"];
        let mut found = 0;
        for _ in 0..50_000 {
            let line: String = (0..random.usize(..10)).map(|_| parts[random.usize(..parts.len())]).collect();
            if let Some(json) = json(&line) {
                found += 1;
                serde_json::from_str::<serde_json::Map<_, _>>(&json)
                    .unwrap_or_else(|error| panic!("{line:?}: {error}"));
            }
        }
        assert!(found > 1000, "{found}");
    }
}
