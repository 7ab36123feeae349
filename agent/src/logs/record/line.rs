use super::{Id, Object, Time};

/// A line on its way to an output.
#[derive(Debug)]
pub struct Record<'a> {
    /// The line, or the text of its JSON object.
    pub text: &'a str,
    /// The line was longer than the limit, and this is its beginning.
    pub cut: bool,
    /// What was found in it, if it is a JSON object.
    pub object: Option<Object<'a>>,
    /// When it happened, or when it was read if it does not say.
    pub time: Time<'a>,
    /// A syslog severity (RFC 5424, table 2), if it says one.
    pub severity: Option<u8>,
    pub id: Id,
}
