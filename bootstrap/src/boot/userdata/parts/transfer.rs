use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Undoes a `Content-Transfer-Encoding`; nothing where the text stands for itself.
pub fn decode(text: &str, encoding: &str) -> Option<Vec<u8>> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "base64" => Some(base64(text)),
        "quoted-printable" => Some(quoted_printable(text.as_bytes())),
        "x-uuencode" | "uuencode" | "uue" | "x-uue" => uuencoded(text),
        _ => None,
    }
}

/// As Python reads it: what is not of the alphabet is passed over, what is missing at the end is made up for.
fn base64(text: &str) -> Vec<u8> {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    // Padding ends the data; what follows it is not looked at.
    let data = text.split('=').next().unwrap_or_default();
    let mut digits: Vec<u8> = data.bytes().filter(is_digit).collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    LENIENT.decode(digits).unwrap_or_default()
}

/// As Python reads it: blanks at the end of a line stay, and so does what is no escape.
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'=' {
            out.push(byte);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (after.first(), digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (None, _) => {}
            (Some(b'\r' | b'\n'), _) => {
                let end = after.iter().position(|byte| *byte == b'\n').map_or(after.len(), |at| at + 1);
                rest = &after[end..];
            }
            (_, Some(decoded)) => {
                out.push(decoded);
                rest = &after[2..];
            }
            (Some(_), None) => out.push(b'='),
        }
    }
    out
}

/// Between `begin MODE NAME` and `end`; nothing where there is no beginning.
fn uuencoded(text: &str) -> Option<Vec<u8>> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("begin "));
    lines.next()?;
    let mut out = Vec::new();
    for line in lines.take_while(|line| *line != "end") {
        let mut values = line.bytes().map(|byte| byte.wrapping_sub(32) & 63);
        let length = usize::from(values.next().unwrap_or(0));
        let digits: Vec<u8> = values.collect();
        let before = out.len();
        for group in digits.chunks(4) {
            let digit = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
            let bits = digit(0) << 18 | digit(1) << 12 | digit(2) << 6 | digit(3);
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
        }
        out.truncate(before + length);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn the_encodings_of_mail_are_undone_as_python_does() {
        for (encoding, text, expected) in [
            ("Base64", "aGVs\nbG8=\n", Some("hello")),
            ("base64", "aGVsbG8", Some("hello")),
            ("base64", "aG Vs*bG8=trailer", Some("hello")),
            ("quoted-printable", "a=3Db=\nc =20\nd  \n", Some("a=bc  \nd  \n")),
            ("quoted-printable", "=zz=4", Some("=zz=4")),
            ("x-uuencode", "begin 644 x\n%:&5L;&\\\n`\nend\n", Some("hello")),
            ("7bit", "x", None),
            ("", "x", None),
        ] {
            let decoded = decode(text, encoding).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert_eq!(decoded.as_deref(), expected, "{encoding} {text:?}");
        }
    }
}
