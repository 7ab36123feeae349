//! What containers write, for those who ask on the host itself.

use super::{Engine, EngineError};
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;
use std::io::Write;

/// What is asked of a container's log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogQuery {
    /// Whether to wait for more.
    pub follow: bool,
    /// The last so many lines; all unless given.
    pub tail: Option<u64>,
    /// Seconds since 1970; from the beginning unless given.
    pub since: Option<i64>,
    pub timestamps: bool,
}

/// Puts a prefix before each line.
#[derive(Debug)]
pub struct Prefixed<W> {
    prefix: String,
    inner: W,
    is_inside: bool,
}

impl<W: Write> Prefixed<W> {
    pub fn new(prefix: &str, inner: W) -> Self {
        Self { prefix: prefix.to_owned(), inner, is_inside: false }
    }
}

impl<W: Write> Write for Prefixed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.is_inside {
                self.inner.write_all(self.prefix.as_bytes())?;
            }
            self.inner.write_all(line)?;
            self.is_inside = !line.ends_with(b"\n");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl Engine {
    /// Writes a container's log, as it is, to where its lines went: `out` and `err`.
    ///
    /// # Errors
    /// The engine does not answer or has no such container, or whoever reads is gone.
    pub async fn write_log(
        &self,
        container: &str,
        query: LogQuery,
        (out, err): (&mut impl Write, &mut impl Write),
    ) -> Result<(), EngineError> {
        let tail = query.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let mut options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .follow(query.follow)
            .timestamps(query.timestamps)
            .tail(&tail);
        if let Some(since) = query.since {
            options = options.since(i32::try_from(since).unwrap_or(i32::MAX));
        }
        let mut stream = std::pin::pin!(self.0.logs(container, Some(options.build())));
        while let Some(output) = stream.next().await {
            let written = match output? {
                bollard::container::LogOutput::StdErr { message } => err.write_all(&message).and_then(|()| err.flush()),
                other => out.write_all(&other.into_bytes()).and_then(|()| out.flush()),
            };
            // Whoever reads may have seen enough: `… | head`.
            if written.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Prefixed;
    use std::io::Write as _;

    #[test]
    fn each_line_has_its_prefix_once_however_it_comes() {
        let mut out = Vec::new();
        let mut prefixed = Prefixed::new("a | ", &mut out);
        for part in ["one\ntw", "o\n", "three"] {
            prefixed.write_all(part.as_bytes()).expect("written");
        }
        assert_eq!(String::from_utf8_lossy(&out), "a | one\na | two\na | three");
    }
}
