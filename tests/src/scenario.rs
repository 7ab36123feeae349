//! The scenarios' files, filled in as whoever hands out user-data does it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folder of a scenario.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name)
}

/// Reads a scenario's file and fills in `${name}`. A value of many lines keeps the place's indentation.
pub fn render(scenario: &str, file: &str, values: &[(&str, &str)]) -> Result<String> {
    let path = folder(scenario).join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    fill_in(&text, values).with_context(|| format!("filling in {}", path.display()))
}

/// The user-data of a worker of HR-S&I, whose launcher writes what it was told into `/var/launched`.
pub fn hrsi_worker() -> Result<String> {
    let values = [
        ("launcher", "IyEvYmluL3NoCmVjaG8gIiQxICQyICROT01BRF9TRVJWRVIgJFNZU1RFTV9TRVJWRVIiID4vdmFyL2xhdW5jaGVkCg=="),
        ("environment", "Q1NJX0lOVEVSTkFMX0VDMl9DUkVERU5USUFMU19BQ0NFU1NfS0VZPWEK"),
        ("nomad_server", "10.0.0.1"),
        ("system_server", "10.0.0.2"),
        ("role", "processing"),
        ("tag", "'1.2'"),
    ];
    render("hrsi", "user-data.mime", &values)
}

fn fill_in(text: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut out = String::new();
    for line in text.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else { bail!("a place without its end in {line:?}") };
            let Some((_, value)) = values.iter().find(|(known, _)| *known == name) else {
                bail!("no value for {name}")
            };
            out.push_str(before);
            out.push_str(&value.trim_end().replace('\n', &format!("\n{indent}")));
            rest = after;
        }
        out.push_str(rest);
        out.push('\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::fill_in;

    #[test]
    fn a_value_of_many_lines_keeps_the_place_s_indentation() {
        let filled = fill_in("a: ${x}\n  ${y}\n", &[("x", "1"), ("y", "b:\n  c\n")]).expect("filled in");
        assert_eq!(filled, "a: 1\n  b:\n    c\n");
    }
}
