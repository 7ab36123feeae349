use super::courier::Version;
use jiff::Timestamp;
use serde_json::json;

/// How it goes with a receiver. The numbers count since the agent started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub name: String,
    /// Scheme, host and port.
    pub address: String,
    /// The version that the receiver took last.
    pub version: Option<Version>,
    /// How often the host was sampled for it.
    pub scrapes: u64,
    /// Samples that it took.
    pub written: u64,
    /// Samples that it will never take.
    pub refused: u64,
    /// Samples that had to go because the buffer was full, or that the disk gave back damaged.
    pub lost: u64,
    /// Attempts that had to be made again.
    pub retries: u64,
    /// Samples that wait, those on the way too.
    pub pending: u64,
    /// Bytes of the buffer on the disk.
    pub buffered: u64,
    /// The time of the newest sample that it took, in milliseconds since 1970.
    pub newest: Option<i64>,
    /// Why it does not get on; a sentence.
    pub hindered: Option<String>,
    /// What it said when it refused samples last.
    pub refusal: Option<String>,
    /// Why the buffer's disk does not take what it should.
    pub disk: Option<String>,
}

impl Report {
    /// What an operator has to know of it.
    pub fn troubles(&self) -> Option<String> {
        let waiting = match self.pending {
            0 => String::new(),
            pending => format!(" ({pending} samples wait)"),
        };
        let why = match (&self.hindered, &self.disk) {
            (Some(why), None) => format!("{why}{waiting}"),
            (None, Some(disk)) => disk.clone(),
            (Some(why), Some(disk)) => format!("{why}{waiting}; {disk}"),
            (None, None) => return None,
        };
        Some(format!("remote_write {}: {why}", self.name))
    }

    /// For the status.
    pub fn details(&self) -> serde_json::Value {
        let newest = self.newest.and_then(|newest| Timestamp::from_millisecond(newest).ok());
        json!({
            "name": self.name,
            "address": self.address,
            "protocol": self.version.map(Version::name),
            "scrapes": self.scrapes,
            "samples_written": self.written,
            "samples_refused": self.refused,
            "samples_lost": self.lost,
            "samples_pending": self.pending,
            "buffer_bytes": self.buffered,
            "retries": self.retries,
            "newest_written": newest.map(|newest| newest.to_string()),
            "hindered": self.hindered,
            "last_refusal": self.refusal,
            "disk": self.disk,
        })
    }
}
