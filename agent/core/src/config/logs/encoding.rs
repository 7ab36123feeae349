use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// How characters are written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// With what is not UTF-8 replaced by U+FFFD and counted. A file that begins with the byte order mark of UTF-16 is
    /// UTF-16 all the same.
    Utf8,
    /// ISO 8859-1: a byte for a character.
    Latin1,
    /// In the order that the file's byte order mark says; without one the lower byte of each unit comes first.
    Utf16,
    /// The lower byte of each unit comes first.
    Utf16Le,
    Utf16Be,
    /// One of <https://encoding.spec.whatwg.org/#names-and-labels> whose line ends are those of ASCII.
    Other(&'static encoding_rs::Encoding),
}

impl FromNode for Encoding {
    const EXPECTED: &'static str =
        "utf-8, utf-16, latin1, or a name such as windows-1252, iso-8859-15, shift_jis, euc-kr, gb18030 or koi8-r";

    fn from_node(node: &Node) -> Result<Self, String> {
        let Some(name) = node.text() else { return Err(mismatch::<Self>(node)) };
        match name.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Ok(Self::Utf8),
            "latin1" | "iso-8859-1" => Ok(Self::Latin1),
            "utf-16" | "utf16" => Ok(Self::Utf16),
            "utf-16le" => Ok(Self::Utf16Le),
            "utf-16be" => Ok(Self::Utf16Be),
            name => match encoding_rs::Encoding::for_label_no_replacement(name.as_bytes()) {
                Some(encoding) if encoding.is_ascii_compatible() && encoding != encoding_rs::X_USER_DEFINED => {
                    Ok(Self::Other(encoding))
                }
                _ => Err(mismatch::<Self>(node)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::source;
    use super::Encoding;

    fn read(name: &str) -> Result<Encoding, String> {
        source(&format!("encoding: {name}")).map(|source| source.encoding)
    }

    #[test]
    fn encodings_are_known_by_their_usual_names_and_the_others_are_refused() {
        assert_eq!(read("UTF-16LE"), Ok(Encoding::Utf16Le));
        assert_eq!(read("iso-8859-1"), Ok(Encoding::Latin1));
        assert_eq!(read("sjis"), Ok(Encoding::Other(encoding_rs::SHIFT_JIS)));
        assert_eq!(read("cp1252"), Ok(Encoding::Other(encoding_rs::WINDOWS_1252)));
        for other in ["utf-32", "utf-7", "ebcdic", "hz-gb-2312", "iso-2022-jp", "x-user-defined", "[]"] {
            let message = read(other).expect_err(other);
            assert!(message.contains("windows-1252"), "{message}");
        }
    }
}
