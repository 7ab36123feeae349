//! Log lines of the program itself: to the journal with key-values under systemd, plain lines on a terminal.

use log::{LevelFilter, Log, Metadata, Record};
use std::io::Write as _;

/// Sends the `log` crate's records where they belong for the rest of the process.
///
/// The level comes from the environment variable `HOSTWRIGHT_LOG` (`error`, `warn`, `info`, `debug`, `trace`),
/// else it is `info`. `identifier` becomes the journal's SYSLOG_IDENTIFIER.
pub fn start(identifier: &str) {
    let level = std::env::var("HOSTWRIGHT_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::Info);
    log::set_max_level(level);
    let journal = systemd_journal_logger::connected_to_journal()
        .then(|| systemd_journal_logger::JournalLog::new().ok())
        .flatten()
        .map(|journal| journal.with_syslog_identifier(identifier.to_owned()));
    // A second call (in a test process) keeps the first logger, which is as good.
    let _ = match journal {
        Some(journal) => log::set_boxed_logger(Box::new(Ours(journal))),
        None => log::set_boxed_logger(Box::new(Ours(Plain))),
    };
}

/// Keeps other crates' chatter below a warning out: connection pools and parsers tell an operator nothing, and the
/// engine's client writes whole requests at its debug level, environment values with them, so it never gets there.
struct Ours<L>(L);

impl<L: Log> Log for Ours<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let own = metadata.target().starts_with("hostwright");
        let tells_secrets = metadata.target().starts_with("bollard");
        own || metadata.level() <= log::Level::Warn || (log::max_level() >= LevelFilter::Trace && !tells_secrets)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

struct Plain;

impl Log for Plain {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = record.level().as_str().to_ascii_lowercase();
        // Nowhere is left to complain when standard error is gone.
        let _ = writeln!(std::io::stderr().lock(), "{level}: {}", record.args());
    }

    fn flush(&self) {}
}
