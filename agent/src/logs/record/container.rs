//! Lines of containers' logs, as the engines write them: what the application wrote, with time and stream.

use super::json;

/// A line as containerd and CRI-O write it: `2016-10-06T00:17:09.669794202Z stdout F text`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cri<'a> {
    pub time: &'a [u8],
    pub stream: &'a [u8],
    /// The next line of the stream belongs to it.
    pub is_partial: bool,
    /// Where the tag stands that says so.
    pub tag_at: usize,
    pub text: &'a [u8],
}

impl<'a> Cri<'a> {
    pub fn of(line: &'a [u8]) -> Option<Self> {
        let time_end = memchr::memchr(b' ', line)?;
        let stream_end = time_end + 1 + memchr::memchr(b' ', &line[time_end + 1..])?;
        let tag_at = stream_end + 1;
        // Behind the tag a space; a runtime leaves it out when there is no text.
        let tags_end = tag_at + memchr::memchr(b' ', &line[tag_at..]).unwrap_or(line.len() - tag_at);
        let (time, stream, tags) = (&line[..time_end], &line[time_end + 1..stream_end], &line[tag_at..tags_end]);
        let is_partial = match tags.split(|byte| *byte == b':').next()? {
            b"F" => false,
            b"P" => true,
            _ => return None,
        };
        if !time.starts_with(b"2") || !matches!(stream, b"stdout" | b"stderr") {
            return None;
        }
        Some(Self { time, stream, is_partial, tag_at, text: line.get(tags_end + 1..).unwrap_or_default() })
    }
}

/// A line as Docker's json-file driver writes it: `{"log":"text\n","stream":"stdout","time":"…"}`. All values as they
/// stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Docker<'a> {
    /// The content of the text, with its escapes, without the escape of its line end.
    pub text: &'a str,
    pub stream: &'a str,
    /// It has no line end: the next line of the stream belongs to it.
    pub is_partial: bool,
}

impl<'a> Docker<'a> {
    /// Gives the fields that are not the text to `each`.
    pub fn of(line: &'a str, mut each: impl FnMut(&'a str, &'a str)) -> Option<Self> {
        let mut log = None;
        let mut docker = Self::default();
        json::fields(line, |name, value| match name {
            "log" => log = json::content(value),
            "stream" => {
                docker.stream = value;
                each(name, value);
            }
            _ => each(name, value),
        })?;
        let log = log?;
        docker.is_partial = !ends_line(log.as_bytes());
        docker.text = if docker.is_partial { log } else { &log[..log.len() - 2] };
        Some(docker)
    }

    /// Whether the line is surely whole, at a glance: what follows a text that ends with its line end.
    pub fn is_whole(line: &[u8]) -> bool {
        const BEHIND: &[u8] = b"\",\"stream\":\"";
        // An inner quote has a backslash before it, so the first one without is the end of the text.
        line.starts_with(b"{\"log\":\"")
            && memchr::memmem::find(line, BEHIND).is_some_and(|end| ends_line(&line[8.min(end)..end]))
    }
}

/// Whether a string's content ends with the escape of a newline, and not with an escaped backslash and an n.
fn ends_line(content: &[u8]) -> bool {
    let Some(before) = content.strip_suffix(b"n") else { return false };
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::{Cri, Docker};

    #[test]
    fn a_line_of_containerd_has_time_stream_tag_and_text() {
        let line = b"2016-10-06T00:17:09.669794202Z stdout P:x some text ";
        let cri = Cri::of(line).expect("a line");
        assert_eq!((cri.time, cri.stream), (&b"2016-10-06T00:17:09.669794202Z"[..], &b"stdout"[..]));
        assert_eq!((cri.is_partial, line[cri.tag_at], cri.text), (true, b'P', &b"some text "[..]));
        assert_eq!(Cri::of(b"2016-10-06T00:17:09Z stderr F").expect("empty").text, b"");
        assert_eq!(Cri::of(b"2016-10-06T00:17:09Z stderr F ").expect("empty").text, b"");
        for line in ["", "a", "2 stdout", "2016 other F text", "2016 stdout X text", "x stdout F text", "2016 stdout"] {
            assert_eq!(Cri::of(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_line_of_docker_is_whole_if_its_text_ends_a_line() {
        for (log, is_partial) in
            [(r"a\n", false), ("a", true), (r"a\\n", true), (r"a\\\n", false), (r"\n", false), ("", true)]
        {
            let line = format!(r#"{{"log":"{log}","stream":"stdout","attrs":{{"n":1}},"time":"t"}}"#);
            let mut others = Vec::new();
            let docker = Docker::of(&line, |name, value| others.push((name, value))).expect("a line");
            assert_eq!((docker.is_partial, Docker::is_whole(line.as_bytes())), (is_partial, !is_partial), "{log}");
            assert_eq!(docker.text, if is_partial { log } else { &log[..log.len() - 2] });
            assert_eq!(others, [("stream", "\"stdout\""), ("attrs", "{\"n\":1}"), ("time", "\"t\"")]);
        }
        assert_eq!(Docker::of(r#"{"log":1}"#, |_, _| {}), None);
        assert_eq!(Docker::of(r#"{"a":"b\n"}"#, |_, _| {}), None);
    }

    #[test]
    fn a_glance_says_whole_only_of_what_is() {
        let mut random = fastrand::Rng::with_seed(4);
        let parts = ["\\n", "\\\\", "n", "\\\"", "a", "\",\"stream\":\"", "\\\",\\\"stream\\\":\\\"", "{\"log\":\""];
        for _ in 0..50_000 {
            let log: String = (0..random.usize(..6)).map(|_| parts[random.usize(..parts.len())]).collect();
            let line = format!(r#"{{"log":"{log}","stream":"stdout","time":"t"}}"#);
            if let Some(docker) = Docker::of(&line, |_, _| {})
                && Docker::is_whole(line.as_bytes())
                && line.matches("\"log\"").count() == 1
            {
                assert!(!docker.is_partial, "{line}");
            }
        }
    }
}
