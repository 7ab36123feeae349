use crate::config::section::Section;
use crate::config::values::{AbsolutePath, ByteSize, FromNode, mismatch};
use crate::yaml::Node;
use std::path::PathBuf;
use std::time::Duration;

/// When and how the files of a source are rotated by us, and what is kept of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// A file of this size is rotated.
    pub size: Option<ByteSize>,
    /// A file is rotated when a new period begins, by the host's clock and zone.
    pub every: Option<Period>,
    /// What happens to the file.
    pub method: Method,
    /// How the writer is told that its file was renamed; nothing for one that opens it again by itself.
    pub tell: Option<Tell>,
    /// What is appended to the name of a rotated file.
    pub suffix: Suffix,
    /// How rotated files are compressed once every output has them.
    pub compress: Option<Compression>,
    /// What is kept of rotated files.
    pub keep: Keep,
}

/// When a file is rotated, as far as the clock goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// At midnight.
    Day,
    /// At the full hour.
    Hour,
}

/// What happens to a file that is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// It gets another name; the writer opens a new file.
    Rename,
    /// It is copied and emptied, for a writer that keeps it open.
    CopyTruncate,
}

/// How a writer is told to open its file again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tell {
    /// A signal to the process whose id is in a file.
    Signal {
        /// The file.
        pid_file: PathBuf,
        /// The signal's name, such as `SIGUSR1`.
        signal: String,
    },
    /// A command that is run.
    Command(Vec<String>),
}

/// What is appended to the name of a rotated file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suffix {
    /// `-2026-11-20`, and the time of day where that is not enough.
    Date,
    /// `.1`, the newest one; older ones move up.
    Number,
}

/// How a rotated file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

/// What is kept of rotated files. Beyond it the oldest are deleted that every output has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// How long, since it was last written.
    pub age: Option<Duration>,
    /// So many bytes of one log's rotated files.
    pub bytes: Option<ByteSize>,
    /// So many of one log's rotated files.
    pub files: Option<u64>,
    /// Beyond so many bytes of one log's rotated files the oldest are deleted even if an output does not have them.
    pub force_bytes: Option<ByteSize>,
}

macro_rules! words {
    ($type:ty, $expected:literal, $($word:literal => $value:expr),+) => {
        impl FromNode for $type {
            const EXPECTED: &'static str = $expected;

            fn from_node(node: &Node) -> Result<Self, String> {
                match node.text() {
                    $(Some($word) => Ok($value),)+
                    _ => Err(mismatch::<Self>(node)),
                }
            }
        }
    };
}

words!(Period, "day or hour", "day" => Self::Day, "hour" => Self::Hour);
words!(Method, "rename or copytruncate", "rename" => Self::Rename, "copytruncate" => Self::CopyTruncate);
words!(Suffix, "date or number", "date" => Self::Date, "number" => Self::Number);
words!(Compression, "gzip or zstd", "gzip" => Self::Gzip, "zstd" => Self::Zstd);

struct SignalName(String);

impl FromNode for SignalName {
    const EXPECTED: &'static str = "HUP, USR1 or USR2";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        match text.strip_prefix("SIG").unwrap_or(text) {
            name @ ("HUP" | "USR1" | "USR2") => Ok(Self(format!("SIG{name}"))),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Rotate {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let size = section.optional::<ByteSize>("size");
        let every = section.optional("every");
        let method = section.or("method", Method::Rename);
        let signal = section.section("signal", read_signal);
        let command = section.list::<String>("command");
        let suffix = section.or("suffix", Suffix::Date);
        let compress = section.optional("compress");
        let keep = Keep {
            age: section.optional("keep"),
            bytes: section.optional("keep_bytes"),
            files: section.optional("keep_files"),
            force_bytes: section.optional("force_bytes"),
        };
        if size.is_none() && every.is_none() {
            section.problem(section.place(), "one of the keys size, every is needed, or nothing is ever rotated");
        }
        if size.is_some_and(|size| size.0 < 4096) {
            section.problem_with("size", "at least 4KiB: each rotated file is a file to keep");
        }
        if signal.is_some() && command.is_some() {
            section.problem_with("command", "only one of the keys signal, command can be given");
        }
        if command.as_ref().is_some_and(|words| words.first().is_none_or(|program| !program.starts_with('/'))) {
            section.problem_with("command", "expected a program with its absolute path, and its arguments");
        }
        if method == Method::CopyTruncate && (signal.is_some() || command.is_some()) {
            section.problem_with("method", "with copytruncate the writer goes on with its file: it is not to be told");
        }
        if let (Some(force), Some(bytes)) = (keep.force_bytes, keep.bytes)
            && force < bytes
        {
            section.problem_with("force_bytes", "less than keep_bytes; it is the limit beyond it");
        }
        section.finish();
        let tell = signal.or(command.map(Tell::Command));
        Some(Self { size, every, method, tell, suffix, compress, keep })
    }
}

fn read_signal(mut section: Section<'_>) -> Option<Tell> {
    let pid_file = section.required::<AbsolutePath>("pid_file");
    let signal = section.or("signal", SignalName("SIGHUP".into()));
    section.finish();
    Some(Tell::Signal { pid_file: pid_file?.0, signal: signal.0 })
}

#[cfg(test)]
mod tests {
    use super::super::source::Kind;
    use super::{Compression, Method, Period, Rotate, Suffix, Tell};
    use crate::config::Config;
    use std::time::Duration;

    fn read(rotate: &str) -> Result<Rotate, String> {
        let text = format!(
            "logs:\n  sources:\n    a: {{files: [/a], rotate: {rotate}, outputs: [o]}}\n  outputs: {{o: {{file: {{path: /o}}}}}}\n"
        );
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        match config.logs.expect("present").sources["a"].kind.clone() {
            Kind::Files(files) => Ok(files.rotate.expect("present")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rotation_renames_to_a_date_unless_said_otherwise() {
        let daily = read("{every: day, keep: 7d}").expect("valid");
        assert_eq!((daily.every, daily.size, daily.method), (Some(Period::Day), None, Method::Rename));
        assert_eq!((daily.suffix, daily.compress, daily.tell), (Suffix::Date, None, None));
        assert_eq!(daily.keep.age, Some(Duration::from_secs(7 * 86400)));
        let told = read("{size: 1MiB, compress: zstd, signal: {pid_file: /run/a.pid, signal: USR1}}").expect("valid");
        assert_eq!(told.compress, Some(Compression::Zstd));
        assert_eq!(told.tell, Some(Tell::Signal { pid_file: "/run/a.pid".into(), signal: "SIGUSR1".into() }));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (wrong, complaint) in [
            ("{}", "one of the keys size, every is needed"),
            ("{every: week}", "expected day or hour"),
            ("{size: 1B}", "at least 4KiB"),
            ("{every: day, command: [kill]}", "expected a program with its absolute path"),
            ("{every: day, method: copytruncate, command: [/bin/true]}", "it is not to be told"),
            ("{every: day, signal: {pid_file: /p, signal: KILL}}", "expected HUP, USR1 or USR2"),
            ("{every: day, keep_bytes: 2GiB, force_bytes: 1GiB}", "less than keep_bytes"),
        ] {
            let message = read(wrong).expect_err("refused");
            assert!(message.contains(complaint), "{message}");
        }
    }
}
