use tokio::sync::oneshot;

/// An order to send again what was written since some time.
#[derive(Debug)]
pub struct Resend {
    /// Nanoseconds since 1970. Files whose lines say no time are sent from their beginning, if they were written since.
    pub since: i64,
    /// Of this source alone.
    pub source: Option<String>,
    pub answer: oneshot::Sender<Resent>,
}

/// What an order to send again came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resent {
    pub files: u64,
    pub bytes: u64,
}
