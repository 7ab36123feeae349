use super::Place;

/// What the parser says and where, for an operator: its words are those of YAML's grammar.
pub fn told(text: &str, at: Place, says: &str) -> (Place, String) {
    let (place, sentence) = match says {
        "simple key expect ':'" => {
            (line_before(text, at), "this line is neither a key with its ':' nor an item of a list")
        }
        "mapping values are not allowed in this context" => (
            at,
            "no key can stand here: see the indentation, and put a text that has a ':' and a blank in it in quotes",
        ),
        "while parsing a block mapping, did not find expected key" => {
            (at, "this does not belong to the keys before it: see the indentation, and what stands above it")
        }
        "while parsing a block collection, did not find expected '-' indicator" => {
            (at, "this does not belong to the list before it: see the indentation")
        }
        "while scanning a plain scalar, found a tab" => {
            (next_tab(text, at).unwrap_or(at), "a tab cannot indent, only blanks can")
        }
        "tabs disallowed within this context (block indentation)"
        | "a block scalar content cannot start with a tab" => (at, "a tab cannot indent, only blanks can"),
        "invalid indentation in quoted scalar" => (at, "the quotes that begin here do not end"),
        "illegal placement of ':' indicator" => (at, "no key can stand here: a bracket before it is not closed"),
        "block sequence entries are not allowed in this context" => (at, "a list begins in a line of its own"),
        "invalid trailing content after double-quoted scalar" => {
            (at, "nothing can stand behind the closing quotes; inside of them write \\\" for a quote")
        }
        "invalid trailing content after single-quoted scalar" => {
            (at, "nothing can stand behind the closing quotes; inside of them write '' for a quote")
        }
        other => match other.strip_prefix("unexpected character: `").and_then(|rest| rest.strip_suffix('\'')) {
            Some(sign) => return (at, format!("this is not YAML: a text cannot begin with {sign}: put it in quotes")),
            None => (at, other),
        },
    };
    (place, format!("this is not YAML: {sentence}"))
}

/// The parser notices a line that is no key when it comes to the next.
fn line_before(text: &str, at: Place) -> Place {
    let lines: Vec<&str> = text.lines().take(at.line.saturating_sub(1)).collect();
    let found = lines.iter().rposition(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    found.map_or(at, |index| {
        let indent = lines[index].len() - lines[index].trim_start().len();
        Place { line: index + 1, column: indent + 1 }
    })
}

/// The parser names the text that the tab is taken for a part of.
fn next_tab(text: &str, at: Place) -> Option<Place> {
    let mut lines = text.lines().enumerate().skip(at.line.checked_sub(1)?);
    lines.find_map(|(index, line)| {
        let from = if index + 1 == at.line { at.column } else { 1 };
        let column = line.chars().position(|c| c == '\t').map(|column| column + 1)?;
        (column >= from).then_some(Place { line: index + 1, column })
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Duplicates, load};

    #[test]
    fn what_people_get_wrong_is_told_where_it_is_and_in_their_words() {
        for (text, told) in [
            ("a: 1\nplain text\n\nb: 2\n", "line 2, column 1: this is not YAML: this line is neither a key"),
            ("a: b: c\n", "line 1, column 5: this is not YAML: no key can stand here: see"),
            ("users:\n- name: a\n   shell: b\n", "line 3, column 9: this is not YAML: no key can stand here: see"),
            ("a: 1\n- b\n", "line 2, column 3: this is not YAML: this does not belong to the keys"),
            ("- a\nb: 1\n", "line 2, column 1: this is not YAML: this does not belong to the list"),
            ("a: x\n\tb: 1\n", "line 2, column 1: this is not YAML: a tab cannot indent"),
            ("a:\n\tb: 1\n", "line 2, column 2: this is not YAML: a tab cannot indent"),
            ("a: \"x\nb: 1\n", "line 1, column 4: this is not YAML: the quotes that begin here do not end"),
            ("a: @x\n", "line 1, column 4: this is not YAML: a text cannot begin with @: put it in quotes"),
            ("x: 'it's'\n", "line 1, column 8: this is not YAML: nothing can stand behind the closing quotes"),
            ("a: [1, 2\nb: 1\n", "line 2, column 2: this is not YAML: no key can stand here: a bracket"),
        ] {
            let refused = load(text, Duplicates::LastWins).expect_err(text).to_string();
            assert!(refused.starts_with(told), "{text:?}: {refused}");
        }
    }
}
