use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What a record is called, the same however often it is sent: platforms that take ids store it once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Id {
    /// Of the file's content, drawn when it was found and kept with its position.
    pub content: u64,
    /// Where the line begins in it.
    pub offset: u64,
    /// Of the line's bytes. A file that was truncated and filled anew may be taken for the one that was known, where
    /// both begin alike: its lines are other ones all the same.
    pub check: u32,
}

impl Id {
    /// 22 characters that are safe in URLs and JSON (RFC 4648, 5).
    pub fn push_base64(self, out: &mut Vec<u8>) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.content.to_be_bytes());
        // A file has less than a terabyte.
        let place = (self.offset << 24) | u64::from(self.check >> 8);
        bytes[8..].copy_from_slice(&place.to_be_bytes());
        let mut text = [0; 22];
        // 16 bytes are 22 characters without padding.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        out.extend_from_slice(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn an_id_is_22_characters() {
        let mut out = Vec::new();
        Id { content: u64::MAX, offset: 1, check: 0x0102_0304 }.push_base64(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), "__________8AAAAAAQECAw");
    }
}
