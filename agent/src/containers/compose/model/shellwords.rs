/// A command's words: blanks part them, quotes and backslashes hold them together.
///
/// As Compose does it: no variables or globs, and what follows an unquoted `;`, `&`, `|`, `<` or `>` is left out.
pub fn parse(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut escaped, mut single, mut double, mut back, mut dollar) = (false, false, false, false, false);
    let mut started = false;
    for c in line.chars() {
        if escaped {
            word.push(c);
            (escaped, started) = (false, true);
            continue;
        }
        match c {
            '\\' if single => word.push(c),
            '\\' => escaped = true,
            ' ' | '\t' | '\r' | '\n' if single || double || back || dollar => word.push(c),
            ' ' | '\t' | '\r' | '\n' => {
                if std::mem::take(&mut started) {
                    words.push(std::mem::take(&mut word));
                }
            }
            '"' if !single && !dollar => {
                started |= double;
                double = !double;
            }
            '\'' if !double && !dollar => {
                started |= single;
                single = !single;
            }
            '(' if !single && !double && !back => {
                if dollar || !word.ends_with('$') {
                    return None;
                }
                dollar = true;
                word.push('(');
            }
            ';' | '&' | '|' | '<' | '>' if !single && !double && !back && !dollar => {
                if c == '>' && word.starts_with(|first: char| first.is_ascii_digit()) {
                    started = false;
                }
                break;
            }
            _ => {
                match c {
                    '`' if !single && !double && !dollar => back = !back,
                    ')' if !single && !double && !back => dollar = !dollar,
                    _ => {}
                }
                word.push(c);
                started = true;
            }
        }
    }
    if started {
        words.push(word);
    }
    let open = escaped || single || double || back || dollar;
    (!open).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn words_are_parted_as_compose_does() {
        for (line, expected) in [
            ("echo 'a b' \"c d\" e\\ f", vec!["echo", "a b", "c d", "e f"]),
            ("a '' b", vec!["a", "", "b"]),
            ("sh -c \"x && y\"", vec!["sh", "-c", "x && y"]),
            ("run > out", vec!["run"]),
            ("a; b", vec!["a"]),
            ("echo $(date now)", vec!["echo", "$(date now)"]),
            ("", vec![]),
        ] {
            assert_eq!(parse(line), Some(expected.into_iter().map(str::to_owned).collect()), "{line}");
        }
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        for line in ["'a", "\"a", "a\\", "`a", "(a)", "a)"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
