use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::io::Read as _;

/// No user-data that a person wrote comes near it, and a compression bomb stops here.
const MAX_UNPACKED: u64 = 16 << 20;
/// cloud-init looks no further for `MIME-Version:`.
const MIME_HEAD: usize = 4096;

/// What a user-data is.
#[derive(Debug, PartialEq, Eq)]
pub enum Format {
    /// Empty.
    Nothing,
    /// `#cloud-config`
    CloudConfig(String),
    /// `#!`
    Script(String),
}

/// Undoes gzip and base64, as cloud-init does, and finds the format.
pub fn unpack(content: &[u8]) -> Result<Format, String> {
    let mut content = gunzip(content)?;
    if let Some(decoded) = unbase64(&content) {
        content = gunzip(&decoded)?;
    }
    let Ok(text) = String::from_utf8(content) else {
        return Err("this is neither UTF-8 text nor gzip nor base64".into());
    };
    // The line numbers of what follows stay those of the file: only a byte order mark goes.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    if text.trim().is_empty() {
        return Ok(Format::Nothing);
    }
    format(text)
}

fn format(text: String) -> Result<Format, String> {
    let start: String = text.trim_start().chars().take(40).collect::<String>().to_ascii_lowercase();
    let head = text.bytes().take(MIME_HEAD).collect::<Vec<_>>().to_ascii_lowercase();
    if head.windows(13).any(|window| window == b"mime-version:") {
        return Err(not_done("a MIME message of several parts"));
    }
    // The longer of two words with the same beginning stands first.
    for (begins, what) in [
        ("#cloud-config-archive", "a #cloud-config-archive"),
        ("#cloud-config-jsonp", "a #cloud-config-jsonp patch"),
        ("#cloud-boothook", "a #cloud-boothook"),
        ("#include", "an #include of other places"),
        ("## template:", "a template"),
    ] {
        if start.starts_with(begins) {
            return Err(not_done(what));
        }
    }
    match () {
        () if start.starts_with("#part-handler") => {
            Err("a #part-handler is Python code for cloud-init: it is not done here; write a #! script".into())
        }
        () if start.starts_with("#cloud-config") => Ok(Format::CloudConfig(text)),
        () if start.starts_with("#!") => Ok(Format::Script(text.trim_start().to_owned())),
        () => Err("the first line says of no format: begin with #cloud-config (or with #! for a script)".into()),
    }
}

fn not_done(what: &str) -> String {
    format!("{what} is not done yet: hand over one #cloud-config or one #! script")
}

fn gunzip(content: &[u8]) -> Result<Vec<u8>, String> {
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

/// Some tools hand over base64 where the cloud does not undo it. Text with a format's first line is none.
fn unbase64(content: &[u8]) -> Option<Vec<u8>> {
    let packed: Vec<u8> = content.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let decoded = BASE64_STANDARD.decode(packed).ok()?;
    let looks_right = decoded.starts_with(b"\x1f\x8b") || decoded.trim_ascii_start().starts_with(b"#");
    looks_right.then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::{Format, unpack};
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use std::io::Write as _;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).expect("packed");
        encoder.finish().expect("packed")
    }

    #[test]
    fn cloud_config_comes_plain_packed_encoded_and_after_blank_lines() {
        let plain = b"#cloud-config\nhostname: a\n";
        let packed = gzip(plain);
        for content in [
            plain.to_vec(),
            packed.clone(),
            BASE64_STANDARD.encode(plain).into_bytes(),
            BASE64_STANDARD.encode(packed).into_bytes(),
            b"\xef\xbb\xbf#cloud-config\nhostname: a\n".to_vec(),
            b"\n\n  #Cloud-Config\r\nhostname: a\n".to_vec(),
        ] {
            assert!(matches!(unpack(&content), Ok(Format::CloudConfig(_))), "{}", String::from_utf8_lossy(&content));
        }
    }

    #[test]
    fn other_formats_are_told_by_their_name() {
        for (content, name) in [
            ("Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n", "MIME"),
            ("#cloud-config-archive\n- a", "archive"),
            ("#include\nhttps://x/", "#include"),
            ("## template: jinja\n#cloud-config", "template"),
            ("#part-handler\n", "Python"),
            ("hostname: a", "first line"),
        ] {
            let error = unpack(content.as_bytes()).expect_err("refused");
            assert!(error.contains(name), "{error}");
        }
        assert_eq!(unpack(b"#!/bin/sh\ntrue\n"), Ok(Format::Script("#!/bin/sh\ntrue\n".into())));
        assert_eq!(unpack(b" \n"), Ok(Format::Nothing));
    }

    #[test]
    fn a_compression_bomb_is_refused() {
        let error = unpack(&gzip(&vec![b'#'; 17 << 20])).expect_err("refused");
        assert!(error.contains("more than"), "{error}");
        assert!(unpack(&gzip(b"#cloud-config")[..20]).expect_err("cut").contains("damaged"));
    }
}
