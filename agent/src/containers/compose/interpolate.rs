use super::variables::Variables;

/// Nested defaults deeper than this are a mistake, and would cost stack.
const MAX_DEPTH: usize = 20;

/// A text with its variables filled in.
#[derive(Debug, PartialEq, Eq)]
pub struct Filled {
    pub text: String,
    /// Variables without a value or default: empty text stands in their place.
    pub unset: Vec<String>,
}

/// Fills in `$V`, `${V}`, `${V:-d}`, `${V-d}`, `${V:?e}`, `${V?e}`, `${V:+r}`, `${V+r}` and `$$`.
///
/// # Errors
/// A sentence that names variables but never shows a value: values may be secrets.
pub fn fill(template: &str, variables: &Variables) -> Result<Filled, String> {
    let mut filled = Filled { text: String::with_capacity(template.len()), unset: Vec::new() };
    fill_into(&mut filled, template, variables, 0)?;
    Ok(filled)
}

fn fill_into(filled: &mut Filled, template: &str, variables: &Variables, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("defaults are nested deeper than {MAX_DEPTH} levels"));
    }
    let mut rest = template;
    while let Some(dollar) = rest.find('$') {
        filled.text.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        rest = match after.chars().next() {
            Some('$') => {
                filled.text.push('$');
                &after[1..]
            }
            Some('{') => {
                let end = closing_brace(after).ok_or("a \"${\" is without its \"}\"; write $$ for a dollar sign")?;
                braced(filled, &after[1..end], variables, depth)?;
                &after[end + 1..]
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let name = &after[..name_length(after)];
                plain(filled, name, variables);
                &after[name.len()..]
            }
            _ => return Err("a \"$\" is followed by neither a name nor a brace; write $$ for a dollar sign".into()),
        };
    }
    filled.text.push_str(rest);
    Ok(())
}

/// What stands between the braces: a name, and maybe what to do when it is set or unset.
fn braced(filled: &mut Filled, content: &str, variables: &Variables, depth: usize) -> Result<(), String> {
    let (name, operation) = content.split_at(name_length(content));
    if name.is_empty() {
        return Err("\"${…}\" does not begin with a variable's name; write $$ for a dollar sign".into());
    }
    let (colon, operation) = match operation.strip_prefix(':') {
        Some(operation) => (true, operation),
        None => (false, operation),
    };
    let value = variables.get(name);
    // With a colon, empty counts as unset.
    let present = value.as_ref().is_some_and(|value| !colon || !value.is_empty());
    let mut operation = operation.chars();
    match operation.next() {
        None if !colon => plain(filled, name, variables),
        Some('-') if present => filled.text.push_str(&value.unwrap_or_default()),
        Some('-') => fill_into(filled, operation.as_str(), variables, depth + 1)?,
        Some('+') if present => fill_into(filled, operation.as_str(), variables, depth + 1)?,
        Some('+') => {}
        Some('?') if present => filled.text.push_str(&value.unwrap_or_default()),
        Some('?') => {
            let state = if value.is_some() { "empty" } else { "not set" };
            let why = if operation.as_str().is_empty() { String::new() } else { format!(": {}", operation.as_str()) };
            return Err(format!("the variable {name} is {state}{why}"));
        }
        _ => return Err(format!("after {name} in \"${{…}}\" comes one of :- - :? ? :+ + or the closing brace")),
    }
    Ok(())
}

fn plain(filled: &mut Filled, name: &str, variables: &Variables) {
    match variables.get(name) {
        Some(value) => filled.text.push_str(&value),
        None => filled.unset.push(name.to_owned()),
    }
}

fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// The index of the brace that closes the one at index 0; nested `${` are skipped.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0;
    let bytes = text.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if index == 0 || bytes[index - 1] == b'$' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Filled, fill};
    use crate::containers::compose::variables::Variables;

    fn variables() -> Variables {
        Variables::of([("TAG", "v1"), ("EMPTY", ""), ("A_1", "x")])
    }

    #[test]
    fn every_form_is_filled_in_as_compose_does() {
        for (template, expected) in [
            ("no variables", "no variables"),
            ("$TAG-$A_1.", "v1-x."),
            ("${TAG}", "v1"),
            ("${NONE:-d}${NONE-d}${EMPTY:-d}${EMPTY-d}", "ddd"),
            ("${NONE:-${ALSO_NONE:-${TAG}}}", "v1"),
            ("${NONE:-{json}}", "{json}"),
            ("${TAG:+set}${NONE:+set}${EMPTY+set}${EMPTY:+set}", "setset"),
            ("${TAG:?needed}${EMPTY?needed}", "v1"),
            ("$$TAG $${TAG}", "$TAG ${TAG}"),
            ("é$TAG", "év1"),
        ] {
            assert_eq!(fill(template, &variables()).map(|filled| filled.text), Ok(expected.to_owned()), "{template}");
        }
    }

    #[test]
    fn a_variable_without_value_is_empty_and_named() {
        let expected = Filled { text: "image:".into(), unset: vec!["NONE".into()] };
        assert_eq!(fill("image:${NONE}", &variables()), Ok(expected));
    }

    #[test]
    fn a_required_variable_is_refused_with_its_message_and_without_values() {
        assert_eq!(
            fill("$TAG${NONE:?set it in .env}", &variables()),
            Err("the variable NONE is not set: set it in .env".into())
        );
        assert_eq!(fill("${EMPTY:?}", &variables()), Err("the variable EMPTY is empty".into()));
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for wrong in ["$", "a $ b", "$1", "${", "${TAG", "${}", "${TAG!}", "${TAG:}", "${ TAG}"] {
            let error = fill(wrong, &variables()).expect_err(wrong);
            assert!(!error.contains("v1"), "{error}");
        }
        assert!(fill(&"${X:-".repeat(60_000), &variables()).is_err());
        assert!(fill(&format!("{}{}", "${X:-".repeat(60), "}".repeat(60)), &variables()).is_err());
    }
}
