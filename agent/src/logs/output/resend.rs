use tokio::sync::oneshot;

/// An order to send something again.
#[derive(Debug)]
pub struct Resend {
    pub what: What,
    pub answer: oneshot::Sender<Result<Resent, String>>,
}

/// What is to be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// What was written since a time, in nanoseconds since 1970. Files whose lines say no time are sent from their
    /// beginning, if they were written since.
    Since { since: i64, source: Option<String> },
    /// The dead letters.
    DeadLetters,
}

/// What an order to send again came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resent {
    pub files: u64,
    pub bytes: u64,
}
