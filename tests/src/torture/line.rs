use std::io::Write;

/// The same in every line, so that tails of lines repeat.
const TAIL: &[u8] = b"the same in every line of every file and no help in telling them apart ";

/// Which line it is: of an application, of one content of its file, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub application: u16,
    /// Counts up when the application's file begins anew.
    pub generation: u32,
    pub number: u32,
}

/// What lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    Plain,
}

impl Form {
    fn around(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Json => (b"{\"id\":\"", b"\"}\n"),
            Self::Plain => (b"", b"\n"),
        }
    }

    fn between(self) -> &'static [u8] {
        match self {
            Self::Json => b"\",\"level\":\"info\",\"tail\":\"",
            Self::Plain => b" ",
        }
    }
}

/// The shortest that a line can be, whatever its numbers.
pub const SHORTEST: usize = 80;

/// A line that says nothing, with which files begin alike: as long as what an agent may take for a file's identity.
pub fn banner() -> String {
    format!("{}\n", "banner ".repeat(200))
}

/// Whether a message is one of these.
pub fn is_banner(message: &[u8]) -> bool {
    let banner = banner();
    let banner = banner.trim_end().as_bytes();
    !message.contains(&b'#') && message.windows(banner.len()).any(|part| part == banner)
}

/// Appends a line of exactly `length` bytes, newline included.
pub fn push(id: Id, form: Form, length: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(form.around().0);
    // Writing to memory does not fail.
    let _ = write!(out, "#{}.{}.{}.{length}#", id.application, id.generation, id.number);
    out.extend_from_slice(form.between());
    let end = start + length.max(SHORTEST) - form.around().1.len();
    while out.len() < end {
        out.extend_from_slice(&TAIL[..TAIL.len().min(end - out.len())]);
    }
    out.extend_from_slice(form.around().1);
}

/// What a message says which line it is, and how long that is in its file.
///
/// # Errors
/// It is no line of ours, or not all of it is there as it was written.
pub fn read(message: &[u8], form: impl Fn(u16) -> Form) -> Result<(Id, usize), String> {
    let shown = || String::from_utf8_lossy(&message[..message.len().min(300)]).into_owned();
    let start = message.iter().position(|byte| *byte == b'#').ok_or_else(|| format!("no line of ours: {}", shown()))?;
    let text = &message[start..];
    let (id, length) = parse(text).ok_or_else(|| format!("no number in {}", shown()))?;
    let form = form(id.application);
    let mut expected = Vec::new();
    push(id, form, length, &mut expected);
    let expected = &expected[form.around().0.len()..expected.len() - 1];
    if text.starts_with(expected) { Ok((id, length)) } else { Err(format!("not as it was written: {}", shown())) }
}

fn parse(text: &[u8]) -> Option<(Id, usize)> {
    let end = text.iter().skip(1).position(|byte| *byte == b'#')? + 1;
    let mut numbers = std::str::from_utf8(&text[1..end]).ok()?.split('.');
    let mut next = || numbers.next()?.parse::<u32>().ok();
    let (application, generation, number, length) = (next()?, next()?, next()?, next()?);
    Some((Id { application: u16::try_from(application).ok()?, generation, number }, length as usize))
}

#[cfg(test)]
mod tests {
    use super::{Form, Id, push, read};

    #[test]
    fn a_line_is_as_long_as_it_says_and_any_missing_byte_is_noticed() {
        let id = Id { application: 3, generation: 12, number: 345 };
        for form in [Form::Json, Form::Plain] {
            let mut line = Vec::new();
            push(id, form, 200, &mut line);
            assert_eq!((line.len(), line.last()), (200, Some(&b'\n')));
            assert_eq!(read(&line, |_| form), Ok((id, 200)));
            assert!(read(&line[..150], |_| form).is_err());
            line[180] ^= 1;
            assert!(read(&line, |_| form).is_err());
        }
    }
}
