use std::io;

/// A call of a method with texts as arguments.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub arguments: &'a [&'a str],
}

/// Native, as every peer on this host has it.
const ENDIAN: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };
const CALL: u8 = 1;
pub const REPLY: u8 = 2;
pub const ERROR: u8 = 3;
const VERSION: u8 = 1;
const HEADER: usize = 16;
/// systemd's list of a thousand units has some hundred kilobytes; what goes beyond is a defect.
const MOST: usize = 16 << 20;

/// Codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Appends a call.
pub fn write(out: &mut Vec<u8>, serial: u32, call: &Call<'_>) {
    let start = out.len();
    out.extend_from_slice(&[ENDIAN, CALL, 0, VERSION, 0, 0, 0, 0]);
    out.extend_from_slice(&serial.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    for (code, kind, text) in [
        (PATH, b'o', call.path),
        (INTERFACE, b's', call.interface),
        (MEMBER, b's', call.member),
        (DESTINATION, b's', call.destination),
    ] {
        pad(out, start, 8);
        out.extend_from_slice(&[code, 1, kind, 0]);
        write_text(out, start, text);
    }
    if !call.arguments.is_empty() {
        pad(out, start, 8);
        // No method that is called here takes 256 arguments.
        out.extend_from_slice(&[SIGNATURE, 1, b'g', 0, call.arguments.len() as u8]);
        out.extend(std::iter::repeat_n(b's', call.arguments.len()));
        out.push(0);
    }
    let fields = length(out.len() - start - HEADER);
    pad(out, start, 8);
    let body = out.len();
    call.arguments.iter().for_each(|argument| write_text(out, start, argument));
    let body = length(out.len() - body);
    out[start + 4..start + 8].copy_from_slice(&body);
    out[start + 12..start + 16].copy_from_slice(&fields);
}

fn write_text(out: &mut Vec<u8>, start: usize, text: &str) {
    pad(out, start, 4);
    out.extend_from_slice(&length(text.len()));
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// What is written here is far from 4 GiB.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes()
}

fn pad(out: &mut Vec<u8>, start: usize, alignment: usize) {
    let length = (out.len() - start).next_multiple_of(alignment);
    out.resize(start + length, 0);
}

/// What came.
#[derive(Debug)]
pub struct Message<'a> {
    /// [`REPLY`], [`ERROR`], a call or a signal.
    pub kind: u8,
    /// Of which call; 0 if of none.
    pub reply_serial: u32,
    pub body: Reader<'a>,
    /// With its header.
    pub length: usize,
}

impl<'a> Message<'a> {
    /// The first of these bytes; none if it is not whole yet.
    ///
    /// # Errors
    /// It is none, or too large.
    pub fn read(bytes: &'a [u8]) -> io::Result<Option<Self>> {
        let Some(header) = bytes.get(..HEADER) else { return Ok(None) };
        if header[0] != ENDIAN || header[3] != VERSION {
            return Err(io::Error::other("it does not speak D-Bus"));
        }
        let number = |at: usize| Reader { bytes: header, at }.number().unwrap_or_default() as usize;
        let fields = HEADER.saturating_add(number(12));
        let body = fields.next_multiple_of(8);
        let length = body.saturating_add(number(4));
        if length > MOST {
            return Err(io::Error::other(format!("it sends a message of more than {} MiB", MOST >> 20)));
        }
        let Some(whole) = bytes.get(..length) else { return Ok(None) };
        let reply_serial = serial(&whole[..fields]).ok_or_else(|| io::Error::other("it sends a broken message"))?;
        Ok(Some(Self { kind: header[1], reply_serial, body: Reader { bytes: &whole[body..], at: 0 }, length }))
    }
}

/// Of which call a message with these header fields is the reply.
fn serial(fields: &[u8]) -> Option<u32> {
    let mut reader = Reader { bytes: fields, at: HEADER };
    let mut serial = 0;
    while reader.at < fields.len() {
        reader.align(8);
        let code = reader.byte()?;
        match reader.signature()? {
            "u" => {
                let number = reader.number()?;
                if code == REPLY_SERIAL {
                    serial = number;
                }
            }
            "s" | "o" => {
                reader.text()?;
            }
            "g" => {
                reader.signature()?;
            }
            _ => return None,
        }
    }
    Some(serial)
}

/// Values, one after the other. Each reading gives none where there is no such value.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What a property holds, of the kinds that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Text(&'a str),
    Number(u64),
}

impl<'a> Reader<'a> {
    /// Whether nothing follows.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The length of an array in bytes, which ends at the reader that is returned.
    pub fn array(&mut self, alignment: usize) -> Option<Self> {
        let length = self.number()? as usize;
        self.align(alignment);
        let end = self.at.checked_add(length)?;
        let items = Self { bytes: self.bytes.get(..end)?, at: self.at };
        self.at = end;
        Some(items)
    }

    pub fn align(&mut self, alignment: usize) {
        self.at = self.at.next_multiple_of(alignment);
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub fn number(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_ne_bytes(self.take(4)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<u64> {
        self.align(8);
        Some(u64::from_ne_bytes(self.take(8)?.try_into().ok()?))
    }

    /// A text or the path of an object.
    pub fn text(&mut self) -> Option<&'a str> {
        let length = self.number()? as usize;
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).ok()
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).ok()
    }

    /// A value that brings its kind along.
    pub fn variant(&mut self) -> Option<Value<'a>> {
        match self.signature()? {
            "s" | "o" => self.text().map(Value::Text),
            "u" => self.number().map(|number| Value::Number(number.into())),
            "b" => self.number().map(|number| Value::Number(u64::from(number != 0))),
            "t" => self.long().map(Value::Number),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, Message, Reader, Value, write};

    #[test]
    fn a_call_looks_as_the_specification_says() {
        let call = Call { destination: "d", path: "/p", interface: "i", member: "M", arguments: &["ab", "c"] };
        let mut out = b"before".to_vec();
        write(&mut out, 7, &call);
        let message = Message::read(&out[6..]).expect("valid").expect("whole");
        assert_eq!((message.kind, message.reply_serial, message.length), (1, 0, out.len() - 6));
        let mut body = message.body;
        assert_eq!((body.text(), body.text(), body.is_at_end()), (Some("ab"), Some("c"), true));
        for length in 6..out.len() {
            assert!(Message::read(&out[6..length]).expect("valid so far").is_none());
        }
    }

    #[test]
    fn values_are_aligned_and_what_is_cut_off_is_none() {
        let bytes = [1, b't', 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, b'u', 0, 0, 5, 0, 0, 0];
        let mut reader = Reader { bytes: &bytes, at: 0 };
        if cfg!(target_endian = "little") {
            assert_eq!((reader.variant(), reader.variant()), (Some(Value::Number(9)), Some(Value::Number(5))));
        }
        for length in 0..bytes.len() {
            let mut reader = Reader { bytes: &bytes[..length], at: 0 };
            let _ = (reader.variant(), reader.variant(), reader.array(8), reader.text());
        }
    }

    #[test]
    fn bytes_of_all_kinds_are_refused_or_waited_for() {
        let mut bytes: Vec<u8> = (0..=255).cycle().take(600).collect();
        bytes[..4].copy_from_slice(&[super::ENDIAN, 2, 0, 1]);
        for first in 0..=255 {
            for at in 4..40 {
                let before = std::mem::replace(&mut bytes[at], first);
                let _ = Message::read(&bytes);
                bytes[at] = before;
            }
        }
        assert!(Message::read(b"GET / HTTP/1.1\r\n\r\n").is_err());
    }
}
