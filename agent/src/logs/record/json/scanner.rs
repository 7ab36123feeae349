use std::ops::Range;

/// Values may be nested so deep; no application logs more, and many platforms refuse it.
const DEPTH: u32 = 127;

/// A place in a JSON text. Each step moves behind what it is named after, and is none where something else stands.
pub struct Scanner<'a> {
    bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    #[inline]
    pub fn whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// A name with its colon and the space around; where it stands, without quotes.
    pub fn name(&mut self) -> Option<Range<usize>> {
        let start = self.at + 1;
        self.string()?;
        let name = start..self.at - 1;
        self.whitespace();
        self.expect(b':')?;
        self.whitespace();
        Some(name)
    }

    pub fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' | b'[' => self.nested(),
            _ => self.literal(),
        }
    }

    /// An array or an object, without recursion: its text must not decide how much stack we use.
    fn nested(&mut self) -> Option<()> {
        // A bit for each level: whether it is an object.
        let mut kinds: u128 = 0;
        let mut depth = 0;
        loop {
            match self.peek()? {
                open @ (b'{' | b'[') => {
                    let is_object = open == b'{';
                    (kinds, depth) = (kinds << 1 | u128::from(is_object), depth + 1);
                    if depth > DEPTH {
                        return None;
                    }
                    self.at += 1;
                    self.whitespace();
                    if self.peek()? != if is_object { b'}' } else { b']' } {
                        if is_object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b'"' => self.string()?,
                _ => self.literal()?,
            }
            // Behind a value, or before the end of an empty one.
            loop {
                self.whitespace();
                let is_object = kinds & 1 == 1;
                match self.peek()? {
                    b',' => break,
                    b'}' if is_object => {}
                    b']' if !is_object => {}
                    _ => return None,
                }
                self.at += 1;
                (kinds, depth) = (kinds >> 1, depth - 1);
                if depth == 0 {
                    return Some(());
                }
            }
            self.at += 1;
            self.whitespace();
            if kinds & 1 == 1 {
                self.name()?;
            }
        }
    }

    /// A number, `true`, `false` or `null`.
    fn literal(&mut self) -> Option<()> {
        let word: &[u8] = match self.peek()? {
            b't' => b"true",
            b'f' => b"false",
            b'n' => b"null",
            _ => return self.number(),
        };
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    pub fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// At least one.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// A string with its quotes.
    pub fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            self.plain();
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }

    /// Moves to the next quote, backslash or control character: names are mostly found in the first eight bytes, long
    /// texts are passed sixteen at a time.
    #[inline]
    pub fn plain(&mut self) {
        const EACH: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        // The lowest high bit that is set is right: borrows spread upwards only.
        let below = |word: u64, than: u64| word.wrapping_sub(EACH * than) & !word & HIGH;
        while let Some(bytes) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            let word = u64::from_le_bytes(*bytes);
            let found = below(word, 0x20)
                | below(word ^ (EACH * u64::from(b'"')), 1)
                | below(word ^ (EACH * u64::from(b'\\')), 1);
            if found != 0 {
                self.at += found.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
            while let Some(bytes) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<16>()) {
                if bytes.iter().fold(false, |any, byte| any | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\')) {
                    break;
                }
                self.at += 16;
            }
        }
        while let Some(byte) = self.peek()
            && byte >= 0x20
            && byte != b'"'
            && byte != b'\\'
        {
            self.at += 1;
        }
    }
}
