use hostwright_core::config::metrics::remote_write::Protocol;
use hostwright_duty::http::Answer;
use std::time::Duration;

const WRITTEN: &str = "x-prometheus-remote-write-samples-written";

/// The versions of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

impl Version {
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// So many samples were written. If there is a reason, the others never will be.
    Over(usize, Option<String>),
    /// Later; perhaps the receiver says when.
    Again(String, Option<Duration>),
    /// Now, in the version that is spoken from now on.
    Older,
    /// Less at once.
    Smaller(String),
}

/// Which version of the protocol the receiver knows.
#[derive(Debug)]
pub struct Negotiation {
    protocol: Protocol,
    version: Version,
    /// Whether an answer has shown that the receiver knows 2.0.
    is_proven: bool,
}

impl Negotiation {
    pub fn new(protocol: Protocol) -> Self {
        let version = if protocol == Protocol::V1 { Version::V1 } else { Version::V2 };
        Self { protocol, version, is_proven: false }
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// The receiver was away: what comes back may be a newer one.
    pub fn begin_again(&mut self) {
        *self = Self::new(self.protocol);
    }

    fn older(&mut self) -> Verdict {
        self.version = Version::V1;
        Verdict::Older
    }

    /// What an answer, in words `said`, says of so many samples ("Response" and "Retries & Backoff" of the
    /// specification).
    pub fn judge(&mut self, answer: &Answer, said: String, samples: usize) -> Verdict {
        let written = answer.headers.get(WRITTEN).and_then(|value| value.to_str().ok()?.trim().parse::<usize>().ok());
        let is_v2 = self.version == Version::V2;
        let may_fall_back = self.protocol == Protocol::Auto && is_v2;
        let was_proven = self.is_proven;
        self.is_proven |= is_v2 && written.is_some();
        match answer.status.as_u16() {
            // One of 1.0 that does not look at the type takes a message of 2.0 for an empty one of its own.
            200..=299 if is_v2 && written.is_none() && may_fall_back => self.older(),
            200..=299 => {
                // Those of 1.0 need not say it.
                let written = written.unwrap_or(if is_v2 { 0 } else { samples });
                let why = (written < samples).then(|| format!("{said}, but wrote {written} of {samples} samples"));
                Verdict::Over(written, why)
            }
            415 if may_fall_back => self.older(),
            // So one of 1.0 may say it ("Unsupported Request Content").
            400 if may_fall_back && !was_proven && written.is_none() => self.older(),
            413 => Verdict::Smaller(said),
            429 | 500..=599 => again(&said, "see whether it is overloaded or ill", answer),
            // The following say nothing of the samples: the same are taken when the operator has mended what is wrong.
            300..=399 => again(&said, "set url to where the receiver is", answer),
            401 | 403 | 407 => again(&said, "see that the credentials are right and may write there", answer),
            404 => again(
                &said,
                "see that url is right and its receiver is turned on (Prometheus: --web.enable-remote-write-receiver)",
                answer,
            ),
            408 => again(&said, "see whether it or a proxy before it is slow", answer),
            _ => {
                if self.protocol == Protocol::Auto {
                    // Perhaps it was not 2.0 that it did not like.
                    self.version = Version::V2;
                }
                Verdict::Over(written.unwrap_or_default(), Some(said))
            }
        }
    }
}

fn again(said: &str, remedy: &str, answer: &Answer) -> Verdict {
    Verdict::Again(format!("{said}; {remedy}"), answer.after)
}

#[cfg(test)]
mod tests {
    use super::{Negotiation, Protocol, Verdict, Version};
    use hostwright_duty::http::Answer;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    fn judged(negotiation: &mut Negotiation, status: u16, written: Option<&str>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(written) = written {
            headers.insert(super::WRITTEN, written.parse().expect("a value"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = Answer { status, headers, body: Vec::new(), is_cut: false, after: None, location: None };
        match negotiation.judge(&answer, "said".to_owned(), 10) {
            Verdict::Over(written, why) => format!("{written} {}", if why.is_some() { "refused" } else { "all" }),
            Verdict::Again(..) => "again".to_owned(),
            Verdict::Older => "older".to_owned(),
            Verdict::Smaller(_) => "smaller".to_owned(),
        }
    }

    #[test]
    fn what_an_answer_means_is_told_by_its_status_and_what_was_written() {
        for (status, written, v2, v1) in [
            (204, Some("10"), "10 all", "10 all"),
            (204, Some("7"), "7 refused", "7 refused"),
            (204, None, "older", "10 all"),
            (204, Some("many"), "older", "10 all"),
            (415, None, "older", "0 refused"),
            (400, None, "older", "0 refused"),
            (400, Some("4"), "4 refused", "4 refused"),
            (422, None, "0 refused", "0 refused"),
            (413, None, "smaller", "smaller"),
            (429, None, "again", "again"),
            (500, Some("4"), "again", "again"),
            (503, None, "again", "again"),
            (401, None, "again", "again"),
            (404, None, "again", "again"),
            (301, None, "again", "again"),
        ] {
            assert_eq!(judged(&mut Negotiation::new(Protocol::Auto), status, written), v2, "{status} {written:?}");
            assert_eq!(judged(&mut Negotiation::new(Protocol::V1), status, written), v1, "{status} {written:?}");
        }
        assert_eq!(judged(&mut Negotiation::new(Protocol::V2), 204, None), "0 refused");
        assert_eq!(judged(&mut Negotiation::new(Protocol::V2), 415, None), "0 refused");
    }

    #[test]
    fn one_that_has_shown_to_know_2_0_is_not_taken_for_an_older_one() {
        let mut one = Negotiation::new(Protocol::Auto);
        assert_eq!(judged(&mut one, 204, Some("10")), "10 all");
        assert_eq!(judged(&mut one, 400, None), "0 refused");
        assert_eq!(judged(&mut one, 415, None), "older");
        assert_eq!((judged(&mut one, 204, None).as_str(), one.version()), ("10 all", Version::V1));
        one.begin_again();
        assert_eq!(one.version(), Version::V2);
    }
}
