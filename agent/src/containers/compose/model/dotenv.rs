use super::regular;
use super::template::fill;
use super::variables::Variables;
use std::collections::BTreeMap;
use std::path::Path;

/// Many times what any real file has.
const MAX_BYTES: u64 = 1 << 20;

/// Of all values of one file, with what variables stand for in them.
const MAX_GROWN: usize = 4 << 20;

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With quotes, escapes, comments and variables.
    Compose,
    /// As `docker run --env-file` takes them: what stands there is the value.
    Raw,
}

/// Reads a file of `NAME=value` lines, as Compose reads `.env` and each `env_file`; entries are added to `into`.
///
/// # Errors
/// A sentence with the line; never a value, because values may be secrets.
pub fn read(
    path: &Path,
    variables: &Variables,
    format: Format,
    into: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let text = regular::read(path, MAX_BYTES).map_err(cannot)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("{} is larger than {} MiB", path.display(), MAX_BYTES >> 20));
    }
    let text = String::from_utf8_lossy(&text);
    // What is set outside counts; a file sees its own earlier lines.
    let mut seen = variables.clone();
    seen.add(into.iter().map(|(name, value)| (name.clone(), value.clone())));
    let mut parser = Parser { text: text.strip_prefix('\u{feff}').unwrap_or(&text), variables, into, seen, grown: 0 };
    let all = parser.text;
    let run = if format == Format::Raw { Parser::run_raw } else { Parser::run };
    run(&mut parser).map_err(|message| {
        let line = 1 + all[..all.len() - parser.text.len()].matches('\n').count();
        format!("{}:{line}: {message}", path.display())
    })
}

struct Parser<'a> {
    /// What is still to be read.
    text: &'a str,
    variables: &'a Variables,
    into: &'a mut BTreeMap<String, String>,
    /// What a value may name.
    seen: Variables,
    /// Bytes of all values so far.
    grown: usize,
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), String> {
        loop {
            self.text = self.text.trim_start();
            if self.text.is_empty() {
                return Ok(());
            }
            if self.text.starts_with('#') {
                self.text = self.text.find('\n').map_or("", |end| &self.text[end..]);
                continue;
            }
            self.entry()?;
        }
    }

    /// Each line by itself, without quotes, comments behind values or variables.
    fn run_raw(&mut self) -> Result<(), String> {
        while !self.text.is_empty() {
            let (line, after) = self.text.split_once('\n').unwrap_or((self.text, ""));
            let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
            let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
            if !line.is_empty() && !line.starts_with('#') {
                if name.is_empty() || name.contains(char::is_whitespace) {
                    return Err("expected NAME=value, with no space in the name: this file is raw".into());
                }
                let value = value.map(str::to_owned).or_else(|| self.variables.get(name));
                self.into.extend(value.map(|value| (name.to_owned(), value)));
            }
            self.text = after;
        }
        Ok(())
    }

    fn entry(&mut self) -> Result<(), String> {
        let source = match self.text.strip_prefix("export") {
            Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start_matches(is_blank),
            _ => self.text,
        };
        let (name, offset, alone) = name(source)?;
        let name = name.trim_end();
        if name.contains(' ') {
            return Err("a name cannot contain a space".into());
        }
        let rest = source[offset..].trim_start_matches(is_blank);
        let (value, rest) = if alone {
            (self.look_up(name), rest)
        } else {
            let (value, rest) = self.value(rest)?;
            (Some(value), rest)
        };
        // The lifetime of the rest is the text's own; only the offset into it is new.
        self.text = &self.text[self.text.len() - rest.len()..];
        if let Some(value) = value {
            self.grown += value.len();
            if self.grown > MAX_GROWN {
                return Err(format!("the values come to more than {} MiB here", MAX_GROWN >> 20));
            }
            if self.variables.get(name).is_none() {
                self.seen.set(name, &value);
            }
            self.into.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn look_up(&self, name: &str) -> Option<String> {
        self.variables.get(name).or_else(|| self.into.get(name).cloned())
    }

    fn value<'t>(&self, text: &'t str) -> Result<(String, &'t str), String> {
        let (line, after) = text.split_once('\n').unwrap_or((text, ""));
        let Some(quote @ (b'"' | b'\'')) = text.bytes().next() else {
            let value = line.split_once(" #").map_or(line, |(value, _)| value).trim_end();
            return Ok((self.expand(value)?, after));
        };
        let (content, length) = quoted(text, quote).ok_or("a quote is not closed")?;
        let value = if quote == b'"' { self.expand(&unescape(&content))? } else { content };
        Ok((value, &text[length..]))
    }

    fn expand(&self, value: &str) -> Result<String, String> {
        Ok(fill(value, &self.seen)?.text)
    }
}

/// The name, where what follows it begins, and whether it stands alone on its line.
fn name(source: &str) -> Result<(&str, usize, bool), String> {
    for (index, c) in source.char_indices() {
        match c {
            _ if is_blank(c) => {}
            '=' | ':' | '\n' => return Ok((&source[..index], index + 1, c == '\n')),
            '_' | '.' | '-' | '[' | ']' => {}
            _ if c.is_alphanumeric() => {}
            _ => return Err("expected NAME=value".into()),
        }
    }
    // A name that ends the file passes a variable on like any other.
    Ok((source, source.len(), true))
}

/// The content up to the closing quote, and the length with both quotes.
fn quoted(text: &str, quote: u8) -> Option<(String, usize)> {
    let mut content = Vec::new();
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if byte == quote && !escaped => return Some((String::from_utf8_lossy(&content).into_owned(), index + 1)),
            _ if byte == quote => content.push(byte),
            b'\\' if !escaped => {
                escaped = true;
                continue;
            }
            _ => {
                if escaped {
                    content.push(b'\\');
                }
                content.push(byte);
            }
        }
        escaped = false;
    }
    None
}

/// Go's escapes; `\$` becomes `$$`, which stays a dollar sign when variables are filled in.
fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let mut length = 1;
        match after.as_bytes().first() {
            Some(b'$') => result.push_str("$$"),
            Some(b'a') => result.push('\u{7}'),
            Some(b'b') => result.push('\u{8}'),
            Some(b'f') => result.push('\u{c}'),
            Some(b'n') => result.push('\n'),
            Some(b'r') => result.push('\r'),
            Some(b't') => result.push('\t'),
            Some(b'v') => result.push('\u{b}'),
            Some(b'"') => result.push('"'),
            Some(b'\\') => result.push('\\'),
            Some(b'0') => {
                let digits = after[1..].bytes().take(3).take_while(u8::is_ascii_digit).count();
                match u8::from_str_radix(&after[1..=digits], 8) {
                    Ok(code) if digits == 3 => {
                        result.push(char::from(code));
                        length = 4;
                    }
                    _ => result.push_str("\\0"),
                }
            }
            _ => {
                result.push('\\');
                length = 0;
            }
        }
        rest = &after[length..];
    }
    result.push_str(rest);
    result
}

/// White space that does not end a line.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

#[cfg(test)]
mod tests {
    use super::{Format, read};
    use crate::containers::compose::model::Variables;
    use std::collections::BTreeMap;

    fn parse(text: &str, format: Format) -> Result<BTreeMap<String, String>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("env");
        std::fs::write(&path, text).expect("written");
        let mut entries = BTreeMap::new();
        read(&path, &Variables::of([("HOME", "/root")]), format, &mut entries)
            .map_err(|error| error.replace(&format!("{}:", path.display()), ""))?;
        Ok(entries)
    }

    fn owned<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn lines_quotes_comments_and_variables_are_read_as_compose_does() {
        let text = "# c\n\nA=1\r\nexport B = two words # c\nC='$A'\nD=\"x\\n$A\\$\"\nE=${A}#no\nF='two\nlines'\nHOME\nG=\nNOT_SET\nI: yaml\nH=last";
        let expected = owned([
            ("A", "1"),
            ("B", "two words"),
            ("C", "$A"),
            ("D", "x\n1$"),
            ("E", "1#no"),
            ("F", "two\nlines"),
            ("HOME", "/root"),
            ("G", ""),
            ("I", "yaml"),
            ("H", "last"),
        ]);
        assert_eq!(parse(text, Format::Compose), Ok(expected));
    }

    #[test]
    fn raw_values_stay_as_they_stand() {
        assert_eq!(
            parse("A='$x' # y\n # c\nHOME\n@=1", Format::Raw),
            Ok(owned([("A", "'$x' # y"), ("HOME", "/root"), ("@", "1")]))
        );
        for text in ["A = 1\n", "export A=1\n", "=x\n", "A: 1\n"] {
            assert!(parse(text, Format::Raw).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_without_its_value() {
        for (text, expected) in
            [("A=1\n@=hunter2\n", "2: expected NAME=value"), ("A='hunter2\n", "1: a quote is not closed")]
        {
            assert_eq!(parse(text, Format::Compose), Err(expected.to_owned()));
        }
    }
}
