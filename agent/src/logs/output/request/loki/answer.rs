use crate::logs::record::{Time, Zone};

/// What Loki says of single entries when it answers 400: those it names it does not take, the others of the request it
/// took. (validation/validate.go and ingester/stream.go of Loki have the texts.)
const OF_AN_ENTRY: [&str; 7] = [
    "timestamp too old",
    "timestamp too new",
    "too far behind",
    "out of order",
    "Max entry size",
    "structured metadata too large",
    "too many structured metadata",
];
const OLDEST: &str = "oldest acceptable timestamp is: ";
const IGNORED: &str = "total ignored: ";
const OF_STREAM: &str = "for stream: ";

/// Whether what it says is about an entry, and not about how we are configured.
pub fn is_of_an_entry(said: &str) -> bool {
    OF_AN_ENTRY.iter().any(|reason| said.contains(reason))
}

/// Whether it is about streams as a whole: none of their entries was taken.
pub fn is_of_streams(said: &str) -> bool {
    ["label name", "label value", "required labels", "Error parsing labels", "error parsing labels", "label pair"]
        .iter()
        .any(|reason| said.contains(reason))
}

/// Whether an operator of Loki or of ours mends it, and every entry waits for that.
pub fn is_of_the_operator(said: &str) -> bool {
    ["ingestion blocked", "required labels", "Error parsing labels", "error parsing labels"]
        .iter()
        .any(|reason| said.contains(reason))
}

/// How many labels a stream has at most, if there were more.
pub fn most_labels(said: &str) -> Option<usize> {
    let (_, limit) = said.split_once("label names; limit ")?;
    limit.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Whether less at once would be taken: by the limit of a second's bytes, or of a message between Loki's parts.
pub fn wants_less(said: &str) -> bool {
    ["rate limit exceeded", "larger than max"].iter().any(|reason| said.contains(reason))
}

/// The one of several reasons that has these words.
pub fn reason<'a>(said: &'a str, words: &str) -> &'a str {
    const LIKE: &str = " errors like: ";
    let at = said.find(words).unwrap_or_default();
    let start = said[..at].rfind(LIKE).map_or(0, |like| like + LIKE.len());
    let rest = &said[start..];
    let Some(next) = rest.find(LIKE) else { return rest };
    rest[..next].trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches("; ")
}

/// From this time on, in nanoseconds since 1970, entries are newer than it takes.
pub fn too_new(said: &str) -> Option<i64> {
    const NEW: &str = "has timestamp too new: ";
    let named = memchr::memmem::find_iter(said.as_bytes(), NEW).filter_map(|at| {
        let time = said[at + NEW.len()..].split(|c: char| !(c.is_ascii_alphanumeric() || "-:+.".contains(c))).next()?;
        Some(Time::of(time, &Zone::Utc)?.nanoseconds())
    });
    // It names whole seconds.
    named.min().map(|first| first.saturating_add(999_999_999))
}

/// Whether it takes no structured metadata at all.
pub fn wants_no_metadata(said: &str) -> bool {
    said.contains("includes structured metadata, but this feature is disallowed")
}

/// What is older than it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOld<'a> {
    /// Nanoseconds since 1970.
    pub oldest: i64,
    /// The labels of the one stream that this is about, and how many entries of it; all streams, if none is named.
    pub stream: Option<(&'a str, usize)>,
}

impl<'a> TooOld<'a> {
    pub fn of(said: &'a str) -> Option<Self> {
        let at = said.find(OLDEST)? + OLDEST.len();
        let time = said[at..].split(|c: char| !(c.is_ascii_alphanumeric() || "-:+.".contains(c))).next()?;
        let oldest = Time::of(time, &Zone::Utc)?.nanoseconds();
        let stream = match said.contains("too far behind") {
            // A stream's own limit: its newest entry, less an hour or so.
            true => Some(Self::stream(&said[at..])?),
            false => None,
        };
        Some(Self { oldest, stream })
    }

    fn stream(said: &'a str) -> Option<(&'a str, usize)> {
        let (_, counted) = said.split_once(IGNORED)?;
        let (count, _) = counted.split_once(' ')?;
        let (_, labels) = counted.split_once(OF_STREAM)?;
        Some((labels.trim_end(), count.parse().ok()?))
    }

    /// Whether it is about a stream with these labels.
    pub fn is_about(&self, labels: &str) -> bool {
        self.stream.is_none_or(|(stream, _)| stream.starts_with(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::TooOld;

    #[test]
    fn one_answer_may_have_several_reasons() {
        let said = "2 errors like: entry for stream '{a=\"b\"}' has timestamp too new: 2026-11-21T10:11:12Z; 1 errors like: entry for stream '{a=\"b\"}' has timestamp too new: 2026-11-20T10:11:12Z; 1 errors like: entry for stream '{a=\"b\"}' has 16 label names; limit 12";
        assert_eq!(super::too_new(said), Some(1_795_169_472_999_999_999));
        assert_eq!(super::most_labels(said), Some(12));
        assert!(super::is_of_streams(said));
        let of = |words| super::reason(said, words);
        assert_eq!(of("2026-11-20"), "entry for stream '{a=\"b\"}' has timestamp too new: 2026-11-20T10:11:12Z");
        assert_eq!(of("label names"), "entry for stream '{a=\"b\"}' has 16 label names; limit 12");
        assert_eq!(super::reason("one", "else"), "one");
        assert_eq!((super::too_new("x"), super::most_labels("label names; limit ")), (None, None));
    }

    #[test]
    fn what_is_older_than_loki_takes_is_known_by_the_time_and_the_stream_that_it_names() {
        let second = 1_000_000_000;
        let for_all = "entry for stream '{a=\"b\"}' has timestamp too old: 2026-11-01T00:00:00Z, oldest acceptable timestamp is: 2026-11-14T10:11:12Z";
        let too_old = TooOld::of(for_all).expect("told");
        let oldest = 1_794_651_072 * second;
        assert_eq!(too_old, TooOld { oldest, stream: None });
        assert!(too_old.is_about("{x=\"y\"}"));
        let of_one = "entry with timestamp 2026-11-01 00:00:00 +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: 2026-11-01T00:00:00Z, oldest acceptable timestamp is: 2026-11-14T10:11:12Z',\nuser 'fake', total ignored: 1 out of 2 for stream: {a=\"b\"}\n";
        let too_old = TooOld::of(of_one).expect("told");
        assert!(too_old.is_about("{a=\"b\"}") && !too_old.is_about("{a=\"c\"}"));
        assert_eq!(too_old.stream, Some(("{a=\"b\"}", 1)));
        assert_eq!(TooOld::of("oldest acceptable timestamp is: soon"), None);
        assert_eq!(TooOld::of("entry too far behind, oldest acceptable timestamp is: 2026-11-14T10:11:12Z"), None);
    }
}
