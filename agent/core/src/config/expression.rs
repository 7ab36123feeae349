//! Regular expressions (of the Rust crate `regex`) as the sections take them.

use regex::Regex;
use std::fmt::Display;

/// One that must match a whole text.
///
/// # Errors
/// It is none.
pub(super) fn whole(expression: &str) -> Result<Regex, String> {
    // What is valid by itself is so as a group; and only that: `a)|(b` would not be held by the ends.
    Regex::new(expression)
        .and_then(|_| Regex::new(&format!("^(?:{expression})$")))
        .map_err(|error| invalid(expression, &error))
}

/// Why an expression is none.
pub(super) fn invalid(expression: &str, error: &impl Display) -> String {
    // The last line of the crate's message is the reason; those before draw the place.
    let message = error.to_string();
    let reason = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
    format!("{expression:?} is no valid regular expression: {reason}")
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn a_whole_text_is_matched_and_no_expression_gets_around_it() {
        let either = whole("a|b").expect("valid");
        assert!(either.is_match("a") && either.is_match("b") && !either.is_match("ab"));
        for wrong in ["a)|(b", "("] {
            let error = whole(wrong).expect_err("refused");
            assert!(error.starts_with(&format!("{wrong:?} is no valid regular expression: ")), "{error}");
        }
    }
}
