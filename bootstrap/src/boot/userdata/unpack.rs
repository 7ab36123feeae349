use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::io::Read as _;

/// No user-data that a person wrote comes near it, and a compression bomb stops here.
pub const MAX_UNPACKED: u64 = 16 << 20;
/// cloud-init looks no further for `MIME-Version:`.
const MIME_HEAD: usize = 4096;

/// Undoes gzip and base64 around a whole user-data; with the text comes whether its lines are the file's own.
pub fn unpack(content: &[u8]) -> Result<(String, bool), String> {
    let mut unpacked = gunzip_whole(content)?;
    let mut is_as_it_was = unpacked.len() == content.len();
    if let Some(decoded) = unbase64(&unpacked) {
        unpacked = gunzip_whole(&decoded)?;
        is_as_it_was = false;
    }
    let text = String::from_utf8(unpacked).map_err(|_| "this is neither UTF-8 text nor gzip nor base64".to_owned())?;
    // The line numbers of what follows stay those of the file: only a byte order mark goes.
    Ok((text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text), is_as_it_was))
}

/// Whether a text is to be read as a MIME message.
pub fn is_mime(text: &str) -> bool {
    let head = text.bytes().take(MIME_HEAD).collect::<Vec<_>>().to_ascii_lowercase();
    head.windows(13).any(|window| window == b"mime-version:")
}

/// Bytes as text. As in cloud-init, what is valid UTF-8 is taken for it whatever it says of itself.
pub fn text(bytes: Vec<u8>, charset: &str) -> Result<String, String> {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => error.into_bytes(),
    };
    let wide = |little: bool| {
        let unit = |pair: &[u8]| {
            if little { u16::from_le_bytes([pair[0], pair[1]]) } else { u16::from_be_bytes([pair[0], pair[1]]) }
        };
        let units: Vec<u16> = bytes.chunks_exact(2).map(unit).collect();
        String::from_utf16(&units).map(|text| text.trim_start_matches('\u{feff}').to_owned()).ok()
    };
    let decoded = match charset.to_ascii_lowercase().as_str() {
        "iso-8859-1" | "latin-1" | "latin1" | "iso8859-1" | "iso-8859-15" | "windows-1252" | "cp1252" => {
            Some(bytes.iter().copied().map(char::from).collect())
        }
        "utf-16" | "utf16" => wide(!bytes.starts_with(b"\xfe\xff")),
        "utf-16le" => wide(true),
        "utf-16be" => wide(false),
        _ => None,
    };
    decoded.ok_or_else(|| format!("this is not text in {charset:?}: write it in UTF-8"))
}

/// Unpacks what begins as gzip does; the rest stays as it is.
pub fn gunzip_whole(content: &[u8]) -> Result<Vec<u8>, String> {
    if !content.starts_with(b"\x1f\x8b") {
        return Ok(content.to_owned());
    }
    bounded_gunzip(content, MAX_UNPACKED)
}

/// Unpacks gzip (also several members in a row) up to `limit` bytes.
pub fn bounded_gunzip(content: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(content).take(limit + 1);
    reader.read_to_end(&mut unpacked).map_err(|error| format!("the gzip data is damaged: {error}"))?;
    if unpacked.len() as u64 > limit {
        return Err(format!("the gzip data unpacks to more than {limit} bytes"));
    }
    Ok(unpacked)
}

/// Whether a user-data is in base64.
pub fn is_encoded(content: &[u8]) -> bool {
    unbase64(content).is_some()
}

/// Some tools hand over base64 where the cloud does not undo it. Text with a format's first line is none.
fn unbase64(content: &[u8]) -> Option<Vec<u8>> {
    let packed: Vec<u8> = content.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let decoded = BASE64_STANDARD.decode(packed).ok()?;
    let is_mime = || is_mime(&String::from_utf8_lossy(&decoded));
    let looks_right = decoded.starts_with(b"\x1f\x8b") || decoded.trim_ascii_start().starts_with(b"#") || is_mime();
    looks_right.then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::{text, unpack};
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use std::io::Write as _;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).expect("packed");
        encoder.finish().expect("packed")
    }

    #[test]
    fn a_text_comes_plain_packed_encoded_and_with_a_byte_order_mark() {
        let plain = b"#cloud-config\nhostname: a\n";
        let packed = gzip(plain);
        for (content, is_as_it_was) in [
            (plain.to_vec(), true),
            (packed.clone(), false),
            (BASE64_STANDARD.encode(plain).into_bytes(), false),
            (BASE64_STANDARD.encode(packed).into_bytes(), false),
            (b"\xef\xbb\xbf#cloud-config\nhostname: a\n".to_vec(), true),
        ] {
            assert_eq!(unpack(&content), Ok((String::from_utf8_lossy(plain).into_owned(), is_as_it_was)));
        }
        assert!(unpack(b"\xff\xfe\x00").expect_err("refused").contains("UTF-8"));
    }

    #[test]
    fn charsets_are_read_where_the_bytes_are_no_utf_8() {
        assert_eq!(text(b"\xe9".to_vec(), "ISO-8859-1").as_deref(), Ok("é"));
        assert_eq!(text("é".as_bytes().to_vec(), "iso-8859-1").as_deref(), Ok("é"));
        assert_eq!(text(b"\xff\xfea\x00".to_vec(), "utf-16").as_deref(), Ok("a"));
        assert!(text(b"\xe9".to_vec(), "us-ascii").expect_err("refused").contains("us-ascii"));
    }

    #[test]
    fn a_compression_bomb_is_refused() {
        let error = unpack(&gzip(&vec![b'#'; 17 << 20])).expect_err("refused");
        assert!(error.contains("more than"), "{error}");
        assert!(unpack(&gzip(b"#cloud-config")[..20]).expect_err("cut").contains("damaged"));
    }
}
