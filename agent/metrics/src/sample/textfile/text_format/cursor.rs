/// Resolves the escape sequences of HELP lines and label values.
pub(super) fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(escaped @ (b'\\' | b'"')) => *escaped,
                other => {
                    let other = other.map_or(String::new(), |byte| byte.escape_ascii().to_string());
                    return Err(format!("\\{other} is no escape sequence; there are \\\\, \\\" and \\n"));
                }
            },
            byte => *byte,
        });
    }
    Ok(plain)
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// For messages: not all of a text that goes on and on.
pub(super) fn quoted(text: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&text[..text.len().min(80)]))
}

/// The rest of a line.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    pub(super) fn found(&self) -> String {
        if self.rest.is_empty() { "the end of the line".into() } else { quoted(self.rest) }
    }

    pub(super) fn take_while(&mut self, is_part: impl Fn(usize, u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().enumerate().take_while(|(at, byte)| is_part(*at, **byte)).count();
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    pub(super) fn skip_blanks(&mut self) {
        self.take_while(|_, byte| is_blank(byte));
    }

    pub(super) fn word(&mut self) -> &'a [u8] {
        self.take_while(|_, byte| !is_blank(byte))
    }

    /// As much as is a metric's or a label's name; nothing if it does not begin like one.
    pub(super) fn name(&mut self, of_metric: bool) -> &'a [u8] {
        self.take_while(|at, byte| {
            byte.is_ascii_alphabetic()
                || byte == b'_'
                || (of_metric && byte == b':')
                || (at > 0 && byte.is_ascii_digit())
        })
    }

    /// The next label; none at the brace that ends them.
    pub(super) fn label(&mut self) -> Result<Option<(String, String)>, String> {
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.next();
            return Ok(None);
        }
        let name = self.name(false);
        if name.is_empty() {
            return Err(format!("expected a label's name or '}}', found {}", self.found()));
        }
        let name = String::from_utf8_lossy(name).into_owned();
        if name == "__name__" {
            return Err("the label __name__ is reserved".into());
        }
        for expected in [b'=', b'"'] {
            self.skip_blanks();
            if self.peek() != Some(expected) {
                let expected = char::from(expected);
                return Err(format!("expected '{expected}' after the label's name {name}, found {}", self.found()));
            }
            self.next();
        }
        let value = self.label_value(&name)?;
        self.skip_blanks();
        match self.peek() {
            Some(b',') => {
                self.next();
            }
            Some(b'}') => {}
            _ => return Err(format!("expected ',' or '}}' after the label {name}, found {}", self.found())),
        }
        Ok(Some((name, value)))
    }

    fn label_value(&mut self, name: &str) -> Result<String, String> {
        let mut end = 0;
        while *self.rest.get(end).ok_or_else(|| format!("the value of the label {name} has no end quote"))? != b'"' {
            end += if self.rest[end] == b'\\' { 2 } else { 1 };
        }
        let value = unescape(&self.rest[..end])?;
        self.rest = &self.rest[end + 1..];
        String::from_utf8(value).map_err(|_| format!("the value of the label {name} is not UTF-8"))
    }
}
