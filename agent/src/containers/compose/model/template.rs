use super::variables::Variables;
use regex::Regex;
use std::sync::LazyLock;

/// Defaults in defaults deeper than this are a mistake, and would cost stack.
const MAX_DEPTH: usize = 50;

/// Of one text with its variables; more is a variable in a variable in a variable.
const MAX_BYTES: usize = 1 << 20;

/// Compose's own grammar. The braced form is greedy: what follows the first closing brace is looked at by itself.
static VARIABLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let name = "[_a-z][_a-z0-9]*";
    let pattern =
        format!(r"\$(?i:(?P<escaped>\$)|(?P<named>{name})|\{{(?:(?P<braced>{name}(?::?[-+?](?:.*))?)\}}|(?P<bad>)))");
    Regex::new(&pattern).ok()
});

const OPERATORS: [&str; 6] = [":?", "?", ":-", "-", ":+", "+"];

/// A text with its variables filled in.
#[derive(Debug, Default, PartialEq, Eq)]
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
    let mut filled = Filled::default();
    filled.text = substitute(template, variables, &mut filled.unset, 0)?;
    Ok(filled)
}

fn substitute(template: &str, variables: &Variables, unset: &mut Vec<String>, depth: usize) -> Result<String, String> {
    if depth > MAX_DEPTH {
        return Err(format!("defaults are nested deeper than {MAX_DEPTH} levels"));
    }
    let Some(pattern) = VARIABLE.as_ref().filter(|_| template.contains('$')) else { return Ok(template.to_owned()) };
    let mut text = String::with_capacity(template.len());
    let mut end = 0;
    for found in pattern.find_iter(template) {
        text.push_str(&template[end..found.start()]);
        text.push_str(&replace(pattern, found.as_str(), variables, (unset, depth))?);
        if text.len() > MAX_BYTES {
            return Err(format!("its variables make it longer than {} MiB", MAX_BYTES >> 20));
        }
        end = found.end();
    }
    text.push_str(&template[end..]);
    Ok(text)
}

fn replace(
    pattern: &Regex,
    found: &str,
    variables: &Variables,
    (unset, depth): (&mut Vec<String>, usize),
) -> Result<String, String> {
    let operator = first_operator(found);
    let (own, rest) = closing_brace(found).map_or((found, ""), |end| found.split_at(end + 1));
    let captures = pattern.captures(own).ok_or(INVALID)?;
    if captures.name("escaped").is_some() {
        return Ok("$".into());
    }
    if let Some(name) = captures.name("named") {
        return Ok(plain(name.as_str(), variables, unset));
    }
    let content = captures.name("braced").ok_or(INVALID)?.as_str();
    let Some((name, argument)) = operator.and_then(|operator| content.split_once(operator)) else {
        return Ok(plain(content, variables, unset));
    };
    let argument = substitute(argument, variables, unset, depth + 1)?;
    let value = variables.get(name);
    let empty_is_unset = operator.is_some_and(|operator| operator.starts_with(':'));
    let present = value.as_ref().is_some_and(|value| !empty_is_unset || !value.is_empty());
    let value = match operator.map(|operator| operator.trim_start_matches(':')) {
        Some("-") if present => value.unwrap_or_default(),
        Some("-") => argument,
        Some("+") if present => argument,
        Some("?") if !present => {
            let state = if value.is_some() { "empty" } else { "not set" };
            let why = if argument.is_empty() { String::new() } else { format!(": {argument}") };
            return Err(format!("the variable {name} is {state}{why}"));
        }
        _ => value.unwrap_or_default(),
    };
    Ok(value + &substitute(rest, variables, unset, depth + 1)?)
}

const INVALID: &str =
    "a \"$\" begins no variable such as $NAME, ${NAME} or ${NAME:-default}; write $$ for a dollar sign";

fn plain(name: &str, variables: &Variables, unset: &mut Vec<String>) -> String {
    variables.get(name).unwrap_or_else(|| {
        unset.push(name.to_owned());
        String::new()
    })
}

fn first_operator(found: &str) -> Option<&'static str> {
    OPERATORS
        .into_iter()
        .filter_map(|operator| Some((found.find(operator)?, operator)))
        .min_by_key(|(at, _)| *at)
        .map(|(_, operator)| operator)
}

/// The index of the brace that closes the first one.
fn closing_brace(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut open, mut index) = (0_i32, 0);
    while index < bytes.len() {
        match bytes[index] {
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(index);
                }
            }
            b'{' => {
                open += 1;
                // Compose takes no notice of what follows an opening brace.
                index += 1;
            }
            _ => {}
        }
        index += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Filled, fill};
    use crate::containers::compose::model::Variables;

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
            ("${NONE:-a} and ${NONE:-b}", "a and b"),
            ("${TAG:+set}${NONE:+set}${EMPTY+set}${EMPTY:+set}", "setset"),
            ("${TAG:?needed}${EMPTY?needed}", "v1"),
            ("$$TAG $${TAG}", "$TAG ${TAG}"),
            ("é$TAG", "év1"),
            ("$ and $1 stay", "$ and $1 stay"),
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
        for wrong in ["${", "${TAG", "${}", "${TAG!}", "${TAG:}", "${ TAG}"] {
            let error = fill(wrong, &variables()).expect_err(wrong);
            assert!(!error.contains("v1"), "{error}");
        }
        assert!(fill(&"${X:-".repeat(60_000), &variables()).is_err());
        assert!(fill(&format!("{}{}", "${X:-".repeat(60), "}".repeat(60)), &variables()).is_err());
    }
}
