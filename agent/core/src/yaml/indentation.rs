use super::Place;
use super::document::LoadError;
use std::collections::HashMap;

/// Columns by which lines were moved to the right.
pub type Shifts = HashMap<usize, usize>;

/// More lines of one document are not mended: a person did not write it.
const MAX_MENDED: usize = 200;
/// Each mended line costs a look at the whole document.
const MAX_BYTES: usize = 1 << 20;
/// Deeper than any block around a flow.
const DEEP: usize = 256;

/// Lines with a tab before their content: by their numbers the columns of the first tab and of the content.
pub struct Tabs(HashMap<usize, (usize, usize)>);

impl Tabs {
    /// Those of a text.
    pub fn of(text: &str) -> Self {
        let mut found = HashMap::new();
        // Of most texts a look at the bytes is all.
        let lines = text.lines().enumerate().take(if text.contains('\t') { usize::MAX } else { 0 });
        for (number, line) in lines {
            let content = line.trim_start_matches([' ', '\t', '-', '?']);
            let before = &line[..line.len() - content.len()];
            if let Some(tab) = before.find('\t').filter(|_| !content.starts_with(['{', '['])) {
                found.insert(number + 1, (tab + 1, before.len() + 1));
            }
        }
        Self(found)
    }

    /// A block that begins here must not be indented by a tab, which the parser takes before a first key.
    ///
    /// # Errors
    /// It is.
    pub fn indent(&self, block: Place) -> Result<(), LoadError> {
        match self.0.get(&block.line) {
            Some((tab, content)) if *tab < block.column && block.column <= *content => Err(LoadError {
                place: Place { line: block.line, column: *tab },
                message: "this is not YAML: a tab cannot indent, only blanks can".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Moves lines to the right inside quotes and brackets, where YAML 1.1 lets them begin anywhere and YAML 1.2 does not,
/// and writes what else YAML 1.1 allows as YAML 1.2 has it. The document stays what it is. Nothing where the error is
/// another one.
pub fn mend(text: &str, at: Place, why: &str, shifts: &mut Shifts) -> Option<String> {
    if shifts.len() >= MAX_MENDED || text.len() > MAX_BYTES {
        return None;
    }
    match why {
        "invalid indentation in quoted scalar" => mend_quoted(text, at, shifts),
        "invalid indentation" | "invalid indentation in flow construct" => {
            let offset = line_offset(text, at.line)?;
            if shifts.insert(at.line, DEEP).is_some() {
                return None;
            }
            Some(format!("{}{}{}", &text[..offset], " ".repeat(DEEP), &text[offset..]))
        }
        "':' must be followed by a valid YAML whitespace" => tabs_to_blanks(text, at),
        "plain scalar cannot start with '-' followed by ,[]{}" => quote_hyphen(text, at),
        "comments must be separated from other tokens by whitespace" => {
            let (before, comment) = text.split_at_checked(offset(text, at)?)?;
            comment.starts_with('#').then(|| format!("{before} {comment}"))
        }
        _ => None,
    }
}

/// The tabs between a colon and its value here, of which only the one before a plain value is taken amiss.
fn tabs_to_blanks(text: &str, at: Place) -> Option<String> {
    let (line, value) = (line_offset(text, at.line)?, offset(text, at)?);
    let colon = text[line..value].rfind(':')? + line + 1;
    let between = &text[colon..value];
    let is_blank = between.contains('\t') && between.bytes().all(|byte| byte == b'\t' || byte == b' ');
    is_blank.then(|| format!("{}{}{}", &text[..colon], " ".repeat(between.len()), &text[value..]))
}

/// A hyphen alone inside of brackets, as in `[su, -, alice]`: a text of its own. Blanks around it give their place to the
/// quotes, so that what follows stays in its column.
fn quote_hyphen(text: &str, at: Place) -> Option<String> {
    let start = offset(text, at)?;
    let (before, rest) = (&text[..start], text[start..].strip_prefix('-')?);
    // Behind a colon the blank is what makes a value of it.
    let before = before.strip_suffix(' ').filter(|before| before.ends_with([',', '['])).unwrap_or(before);
    match rest.chars().next()? {
        ',' => Some(format!("{before}\"-\",{}", rest[1..].strip_prefix(' ').unwrap_or(&rest[1..]))),
        ']' | '}' => Some(format!("{before}\"-\"{rest}")),
        _ => None,
    }
}

/// The lines after the first one of the quoted text that begins here.
fn mend_quoted(text: &str, at: Place, shifts: &mut Shifts) -> Option<String> {
    let start = offset(text, at)?;
    let quote = text[start..].chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut mended = text[..start].to_owned();
    let (mut number, mut escaped, mut is_open) = (at.line, false, false);
    for (index, c) in text[start..].char_indices() {
        mended.push(c);
        if c == '\n' {
            number += 1;
            if shifts.insert(number, DEEP).is_some() {
                return None;
            }
            mended.push_str(&" ".repeat(DEEP));
        } else if c == quote && !escaped && is_open {
            // Two single quotes are one; the second opens again what the first one closed.
            if quote == '"' || !text[start + index + 1..].starts_with('\'') && !is_second(&text[start..start + index]) {
                mended.push_str(&text[start + index + 1..]);
                return Some(mended);
            }
        }
        is_open = true;
        escaped = quote == '"' && c == '\\' && !escaped;
    }
    None
}

/// Whether a single quote behind this is the second of a pair: an odd number of them stands before it.
fn is_second(before: &str) -> bool {
    let quotes = before.chars().rev().take_while(|c| *c == '\'').count();
    // The one that opens the text is none of a pair.
    let opening = usize::from(quotes == before.chars().count());
    (quotes - opening) % 2 == 1
}

/// Where in the text's bytes a place is.
fn offset(text: &str, at: Place) -> Option<usize> {
    let line = line_offset(text, at.line)?;
    Some(line + text.get(line..)?.char_indices().nth(at.column.checked_sub(1)?)?.0)
}

fn line_offset(text: &str, line: usize) -> Option<usize> {
    text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum::<usize>().into()
}

/// Where something stands in the text as it was.
pub fn original(place: Place, shifts: &Shifts) -> Place {
    let shift = shifts.get(&place.line).copied().unwrap_or(0);
    Place { line: place.line, column: place.column.saturating_sub(shift).max(1) }
}

#[cfg(test)]
mod tests {
    use super::super::{Duplicates, load};

    #[test]
    fn a_hyphen_alone_is_a_text_inside_of_brackets() {
        let text = "a:\n- [su, -, alice, -]\n- [-]\n- {x: -, y: [tar,-,-]}\nb: [-, {c: -}]\n";
        let root = load(text, Duplicates::Refuse).expect("YAML").root;
        let items = root.get("a").and_then(|a| a.sequence()).expect("list");
        let words = |node: &super::super::Node| {
            let items = node.sequence().expect("list").iter();
            items.map(|item| item.text().expect("text").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            (words(&items[0]), words(&items[1])),
            (["su", "-", "alice", "-"].map(str::to_owned).to_vec(), vec!["-".to_owned()])
        );
        assert_eq!(items[2].get("x").and_then(|x| x.text()), Some("-"));
        assert_eq!(items[2].get("y").map(words), Some(["tar", "-", "-"].map(str::to_owned).to_vec()));
        let alice = &items[0].sequence().expect("list")[2];
        assert_eq!((alice.place.line, alice.place.column), (2, 11), "what stands behind it stays in its column");
        let more: String = (0..300).map(|_| "- [a, -]\n").collect();
        load(&more, Duplicates::Refuse).expect("any number of them");
        for text in ["a: [- ]\n", "a: [-[]]\n", "[- , b]\n"] {
            load(text, Duplicates::Refuse).expect_err(text);
        }
    }

    #[test]
    fn a_comment_may_stand_right_behind_quotes_and_brackets() {
        let root = load("a: 'x'# c\nb: [y]# c\nc: [# c\n  z,# c\n]\nd: e#f\n", Duplicates::Refuse).expect("YAML").root;
        assert_eq!(
            (root.get("a").and_then(|a| a.text()), root.get("d").and_then(|d| d.text())),
            (Some("x"), Some("e#f"))
        );
        for (key, text) in [("b", "y"), ("c", "z")] {
            assert_eq!(root.get(key).and_then(|list| list.sequence()?.first()?.text()), Some(text));
        }
    }

    #[test]
    fn a_tab_indents_no_block_and_any_flow() {
        for (text, place) in [("\ta: 1\n", "1:1"), ("# c\n \ta: 1", "2:2"), ("-\ta: 1", "1:2"), ("\t- a", "1:1")] {
            let refused = load(text, Duplicates::LastWins).expect_err(text);
            assert_eq!(refused.place.to_string(), place, "{text:?}: {refused}");
        }
        for text in ["{\n\t\"a\": {\n\t\t\"b\": [\n\t\t\t1\n\t\t]\n\t}\n}\n", "a:\t{b: 1}\n", "a: |\n  \tb: 1\n"] {
            load(text, Duplicates::Refuse).expect(text);
        }
    }
}
