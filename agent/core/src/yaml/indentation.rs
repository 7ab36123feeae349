use super::Place;
use std::collections::HashMap;

/// Columns by which lines were moved to the right.
pub type Shifts = HashMap<usize, usize>;

/// More lines of one document are not mended: a person did not write it.
const MAX_MENDED: usize = 200;
/// Each mended line costs a look at the whole document.
const MAX_BYTES: usize = 1 << 20;
/// Deeper than any block around a flow.
const DEEP: usize = 256;

/// Moves lines to the right inside quotes and brackets, where YAML 1.1 lets them begin anywhere and YAML 1.2 does not.
/// Blanks there mean nothing, so the document stays what it is. Nothing where the error is another one.
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
        _ => None,
    }
}

/// The tabs between a colon and its value here, of which only the one before a plain value is taken amiss.
fn tabs_to_blanks(text: &str, at: Place) -> Option<String> {
    let line = line_offset(text, at.line)?;
    let value = line + text[line..].char_indices().nth(at.column - 1)?.0;
    let colon = text[line..value].rfind(':')? + line + 1;
    let between = &text[colon..value];
    let is_blank = between.contains('\t') && between.bytes().all(|byte| byte == b'\t' || byte == b' ');
    is_blank.then(|| format!("{}{}{}", &text[..colon], " ".repeat(between.len()), &text[value..]))
}

/// The lines after the first one of the quoted text that begins here.
fn mend_quoted(text: &str, at: Place, shifts: &mut Shifts) -> Option<String> {
    let line = line_offset(text, at.line)?;
    let start = line + text[line..].char_indices().nth(at.column - 1)?.0;
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

fn line_offset(text: &str, line: usize) -> Option<usize> {
    text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum::<usize>().into()
}

/// Where something stands in the text as it was.
pub fn original(place: Place, shifts: &Shifts) -> Place {
    let shift = shifts.get(&place.line).copied().unwrap_or(0);
    Place { line: place.line, column: place.column.saturating_sub(shift).max(1) }
}
