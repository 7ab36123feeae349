//! A VM's serial console, read as it grows, and what the bootstrap in the VM says on it.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;

/// A line without an end is shown when it has grown to this size.
const LINE_LIMIT: usize = 64 << 10;

/// Follows a console's file from its start.
#[derive(Debug)]
pub struct Console {
    file: File,
    partial: Vec<u8>,
}

/// The end of a boot, as the bootstrap reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The instance is what its user-data says.
    Configured,
    /// It is not.
    Failed,
}

impl Console {
    /// Opens the file.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, partial: Vec::new() })
    }

    /// The lines that were completed since the last call, without colours and cursor movements.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lines(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut chunk = [0; 16 << 10];
        loop {
            let read = self.file.read(&mut chunk)?;
            if read == 0 {
                return Ok(lines);
            }
            for byte in &chunk[..read] {
                if *byte == b'\n' || self.partial.len() >= LINE_LIMIT {
                    lines.push(plain(&self.partial));
                    self.partial.clear();
                }
                if *byte != b'\n' {
                    self.partial.push(*byte);
                }
            }
        }
    }

    /// What stands after the last line's end.
    pub fn rest(&self) -> String {
        plain(&self.partial)
    }
}

/// Whether a line tells how the boot ended:
/// `hostwright-bootstrap: instance i-1 is configured …` or `… is NOT configured …` or `… failed …`.
pub fn verdict(line: &str) -> Option<Verdict> {
    let (_, said) = line.split_once("hostwright-bootstrap")?;
    let (_, said) = said.split_once(": instance ")?;
    let (_, said) = said.split_once(' ')?;
    match said {
        said if said.starts_with("is configured") => Some(Verdict::Configured),
        said if said.starts_with("is NOT configured") || said.starts_with("failed") => Some(Verdict::Failed),
        _ => None,
    }
}

/// Prints lines, those of the bootstrap alone unless `all`.
///
/// # Errors
/// Standard output is closed.
pub fn print(lines: &[String], all: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in lines {
        match said_by_bootstrap(line) {
            _ if all => writeln!(out, "{line}")?,
            Some(said) => writeln!(out, "{said}")?,
            None => {}
        }
    }
    out.flush()
}

/// What the bootstrap says on a line, without the time and process id that the journal puts before it.
fn said_by_bootstrap(line: &str) -> Option<&str> {
    let (_, after) = line.split_once("hostwright-bootstrap")?;
    let journal = after.strip_prefix('[').and_then(|after| after.split_once("]: "));
    Some(journal.map_or(line, |(_, said)| said))
}

/// The text without terminal control: a guest's console must not reach into the operator's terminal.
fn plain(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' if chars.next_if_eq(&'[').is_some() => {
                // A control sequence ends with its first character from @ to ~ (ECMA-48).
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\x1b' => drop(chars.next()),
            '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Console, Verdict, plain, said_by_bootstrap, verdict};
    use std::io::Write as _;

    #[test]
    fn lines_are_read_as_they_are_completed() {
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        let mut console = Console::open(file.path()).expect("opened");
        file.write_all(b"one\r\ntw").expect("written");
        assert_eq!(console.lines().expect("read"), ["one"]);
        file.write_all(b"o\nthree").expect("written");
        assert_eq!(console.lines().expect("read"), ["two"]);
        assert_eq!(console.rest(), "three");
    }

    #[test]
    fn a_guest_cannot_reach_into_the_terminal() {
        assert_eq!(plain(b"\x1b[0;32m  OK  \x1b[0m\x1bc\x07 a\tb\r"), "  OK   a\tb");
    }

    #[test]
    fn the_bootstrap_s_lines_are_shown_without_the_journal_s_prefix() {
        let step = "[   25.1] hostwright-bootstrap[228]: [ 25.1s] hostname         done     0.10 s";
        assert_eq!(said_by_bootstrap(step), Some("[ 25.1s] hostname         done     0.10 s"));
        let plain = "hostwright-bootstrap: instance i-1 is configured";
        assert_eq!(said_by_bootstrap(plain), Some(plain));
        assert_eq!(said_by_bootstrap("[  OK  ] Reached target Multi-User System."), None);
    }

    #[test]
    fn the_bootstrap_s_last_line_is_recognised_with_and_without_the_journal_s_prefix() {
        let configured = "[   31.2] hostwright-bootstrap[412]: hostwright-bootstrap: instance i-1 is configured (31 s)";
        assert_eq!(verdict(configured), Some(Verdict::Configured));
        assert_eq!(verdict("hostwright-bootstrap: instance i-1 failed: packages"), Some(Verdict::Failed));
        assert_eq!(verdict("hostwright-bootstrap: instance i-1 is NOT configured as wanted"), Some(Verdict::Failed));
        assert_eq!(verdict("hostwright-bootstrap: instance i-1 is new"), None);
        assert_eq!(verdict("hostwright-bootstrap: step packages failed"), None);
    }
}
