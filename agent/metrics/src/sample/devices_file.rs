//! Devices from a file of JSON, as node_exporter's `--collector.qdisc.fixtures` and `--collector.wifi.fixtures` have them:
//! objects with the fields of its structs, whose names are found without regard to case.

use super::CollectError;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// More devices than this nobody makes up.
const MOST: u64 = 1 << 20;

/// What the file holds.
///
/// # Errors
/// There is none, it cannot be read, or is no JSON.
pub fn read(path: &Path) -> Result<Value, CollectError> {
    let failed = |source| CollectError::reading(path, source);
    let mut text = Vec::new();
    File::open(path).map_err(failed)?.take(MOST + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MOST {
        return Err(failed(io::Error::other(format!("it is larger than {} MiB", MOST >> 20))));
    }
    parse(&text).map_err(|error| CollectError::Malformed { path: path.to_owned(), what: error.to_string() })
}

/// What a file's text says.
pub fn parse(text: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(text)
}

/// The same, of a list.
///
/// # Errors
/// As of [`read`], or it is no list.
pub fn read_list(path: &Path) -> Result<Vec<Value>, CollectError> {
    match read(path)? {
        Value::Array(all) => Ok(all),
        Value::Null => Ok(Vec::new()),
        _ => Err(CollectError::Malformed { path: path.to_owned(), what: "expected a list".to_owned() }),
    }
}

fn field<'v>(device: &'v Value, name: &str) -> Option<&'v Value> {
    device.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A number; what is not there is 0.
pub fn number(device: &Value, name: &str) -> f64 {
    field(device, name).and_then(Value::as_f64).unwrap_or_default()
}

/// A text; what is not there is empty.
pub fn text<'v>(device: &'v Value, name: &str) -> &'v str {
    field(device, name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{number, read_list, text};

    #[test]
    fn fields_are_found_whatever_their_case_and_absent_ones_are_zero() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("results.json");
        std::fs::write(&path, r#"[{"ifacename": "eth0", "Bytes": 7, "backlog": "x"}, 1]"#).expect("written");
        let all = read_list(&path).expect("a list");
        assert_eq!((text(&all[0], "IfaceName"), number(&all[0], "bytes")), ("eth0", 7.0));
        assert_eq!((number(&all[0], "Backlog"), number(&all[0], "Drops"), text(&all[1], "Kind")), (0.0, 0.0, ""));
        for (content, what) in [("{}", "expected a list"), ("[", "EOF")] {
            std::fs::write(&path, content).expect("written");
            assert!(read_list(&path).is_err_and(|error| error.to_string().contains(what)), "{content}");
        }
        std::fs::write(&path, "null").expect("written");
        assert_eq!(read_list(&path).expect("none").len(), 0);
    }
}
