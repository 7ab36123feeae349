use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// What stands before the digits of a path that is no text. No path has it.
const IN_HEXADECIMAL: char = '\0';

/// A path in durable state. The names of files are bytes, of which JSON takes only those that are UTF-8; whoever may
/// write into a folder could otherwise hinder with one name what is kept about all files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPath(pub PathBuf);

impl From<&Path> for StoredPath {
    fn from(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl std::ops::Deref for StoredPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Serialize for StoredPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(text) = self.0.to_str() {
            return serializer.serialize_str(text);
        }
        let mut digits = String::from(IN_HEXADECIMAL);
        for byte in self.0.as_os_str().as_bytes() {
            let _ = write!(digits, "{byte:02x}");
        }
        serializer.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for StoredPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let Some(digits) = text.strip_prefix(IN_HEXADECIMAL) else { return Ok(Self(text.into())) };
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
        let bytes = bytes.ok_or_else(|| D::Error::custom("a path in hexadecimal digits has something else in it"))?;
        Ok(Self(OsString::from_vec(bytes).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::StoredPath;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    #[test]
    fn a_path_comes_back_as_it_was_whatever_bytes_are_in_it() {
        for bytes in [&b"/var/log/caf\xc3\xa9.log"[..], b"/var/log/caf\xe9.log", b"/\xff\xfe/a\n", b"/00"] {
            let path = StoredPath(Path::new(OsStr::from_bytes(bytes)).to_owned());
            let text = serde_json::to_string(&path).expect("as JSON");
            assert_eq!(serde_json::from_str::<StoredPath>(&text).expect("read"), path, "{text}");
        }
        let plain = serde_json::to_string(&StoredPath("/var/log/a".into())).expect("as JSON");
        assert_eq!(plain, "\"/var/log/a\"", "as it was stored before");
        serde_json::from_str::<StoredPath>("\"\\u0000zz\"").expect_err("no digits");
    }
}
