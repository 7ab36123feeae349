use hostwright_core::config::values::{FromNode, mismatch};
use hostwright_core::yaml::Node;

/// The words of a command: a list as it stands, or a string split as a shell would, without being given to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl FromNode for Words {
    const EXPECTED: &'static str = "a command, as a string or a list of words";

    fn from_node(node: &Node) -> Result<Self, String> {
        if let Some(items) = node.sequence() {
            let words: Option<Vec<_>> = items.iter().map(|item| item.text().map(str::to_owned)).collect();
            return words.map(Self).ok_or_else(|| mismatch::<Self>(node));
        }
        let text = node.text().ok_or_else(|| mismatch::<Self>(node))?;
        split(text).map(Self)
    }
}

/// Splits at white space outside quotes; `\` takes the next character as it stands.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\'' => loop {
                let word = word.get_or_insert_default();
                match characters.next() {
                    Some('\'') => break,
                    Some(c) => word.push(c),
                    None => return Err("a single quote in the command is not closed".into()),
                }
            },
            '"' => double_quoted(&mut characters, word.get_or_insert_default())?,
            '\\' => match characters.next() {
                // A line that goes on.
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("the command ends in a backslash".into()),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn double_quoted(characters: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    loop {
        match characters.next() {
            Some('"') => return Ok(()),
            Some('\\') => match characters.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some('\n') => {}
                Some(c) => word.extend(['\\', c]),
                None => return Err("the command ends in a backslash".into()),
            },
            Some(c) => word.push(c),
            None => return Err("a double quote in the command is not closed".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_command_string_is_split_as_a_shell_would() {
        for (text, words) in [
            (
                "bash -c \"sleep 30 && filebeat -e --strict.perms=false\"",
                &["bash", "-c", "sleep 30 && filebeat -e --strict.perms=false"][..],
            ),
            ("a 'b  c'd\\ e \"f\\\"g\\h\"", &["a", "b  cd e", "f\"g\\h"]),
            ("  ", &[]),
            ("a ''", &["a", ""]),
            ("a\n  b \\\n c", &["a", "b", "c"]),
        ] {
            assert_eq!(
                split(text).as_deref(),
                Ok(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).as_deref(),
                "{text}"
            );
        }
        assert!(split("a 'b").is_err() && split("a \"b").is_err() && split("a\\").is_err());
    }
}
