use super::interpolate::fill;
use super::variables::Variables;
use std::io::Read as _;
use std::path::Path;

/// Many times what any real file has.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a file of `NAME=value` lines, as Compose reads `.env` and each `env_file`.
///
/// # Errors
/// A sentence with the line; never a value, because values may be secrets.
pub fn read(path: &Path, variables: &Variables, raw: bool) -> Result<Vec<(String, String)>, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("{} is larger than {} MiB", path.display(), MAX_BYTES >> 20));
    }
    parse(&text, variables, raw).map_err(|(line, message)| format!("{}:{line}: {message}", path.display()))
}

/// `raw` takes values as they stand, as `docker run --env-file` does.
fn parse(text: &str, variables: &Variables, raw: bool) -> Result<Vec<(String, String)>, (usize, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    let mut seen = variables.clone();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() {
        let line = 1 + text[..text.len() - rest.len()].matches('\n').count();
        let (entry, after) = entry(rest, &seen, raw).map_err(|message| (line, message))?;
        rest = after;
        if let Some((name, value)) = entry {
            seen.add([(name.clone(), value.clone())]);
            entries.push((name, value));
        }
    }
    Ok(entries)
}

type Entry = Option<(String, String)>;

/// The first line's entry and what follows it.
fn entry<'t>(text: &'t str, variables: &Variables, raw: bool) -> Result<(Entry, &'t str), String> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok((None, after));
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let Some((name, value)) = line.split_once('=') else {
        // A name alone passes the agent's own variable on.
        return Ok((variables.get(line).map(|value| (line.to_owned(), value)), after));
    };
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err("expected NAME=value".into());
    }
    let value = value.trim_start();
    if !raw && let Some(quote @ ('"' | '\'')) = value.chars().next() {
        // Only here may a value go on over several lines, so it is read from the text itself.
        let equals = text.find('=').unwrap_or_default();
        let start = equals + text[equals..].find(quote).unwrap_or_default() + 1;
        let (value, length) = quoted(&text[start..], quote).ok_or("a quote is not closed")?;
        let value = if quote == '"' { fill(&value, variables)?.text } else { value };
        let after = text[start + length..].split_once('\n').map_or("", |(_, after)| after);
        return Ok((Some((name.to_owned(), value)), after));
    }
    let value = if raw { value.to_owned() } else { fill(without_comment(value), variables)?.text };
    Ok((Some((name.to_owned(), value)), after))
}

/// The content up to the closing quote, and the length with that quote.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, c)) = characters.next() {
        match c {
            _ if c == quote => return Some((value, index + 1)),
            '\\' if quote == '"' => match characters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                // Stays a dollar sign when variables are filled in.
                '$' => value.push_str("$$"),
                other => value.push(other),
            },
            _ => value.push(c),
        }
    }
    None
}

fn without_comment(value: &str) -> &str {
    let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
    value[..end].trim_end()
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::containers::compose::variables::Variables;

    fn pairs(text: &str, raw: bool) -> Vec<(String, String)> {
        parse(text, &Variables::of([("HOME", "/root")]), raw).expect("parsed")
    }

    fn owned<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn lines_quotes_comments_and_variables_are_read_as_compose_does() {
        let text = "# c\n\nA=1\r\nexport B = two words # c\nC='$A'\nD=\"x\\n$A\\$\"\nE=${A}#no\nF='two\nlines'\nHOME\nG=\nNOT_SET\nH=last";
        let expected = owned([
            ("A", "1"),
            ("B", "two words"),
            ("C", "$A"),
            ("D", "x\n1$"),
            ("E", "1#no"),
            ("F", "two\nlines"),
            ("HOME", "/root"),
            ("G", ""),
            ("H", "last"),
        ]);
        assert_eq!(pairs(text, false), expected);
    }

    #[test]
    fn raw_values_stay_as_they_stand() {
        assert_eq!(pairs("A='$x' # y\n", true), owned([("A", "'$x' # y")]));
    }

    #[test]
    fn a_wrong_line_is_named_without_its_value() {
        let error = parse("A=1\n=hunter2\n", &Variables::default(), false).expect_err("refused");
        assert_eq!(error, (2, "expected NAME=value".to_owned()));
        let error = parse("A='hunter2\n", &Variables::default(), false).expect_err("refused");
        assert_eq!(error, (1, "a quote is not closed".to_owned()));
    }
}
