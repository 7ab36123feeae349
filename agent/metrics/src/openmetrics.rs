use memchr::memmem;

const HELP: &[u8] = b"# HELP ";
const TYPE: &[u8] = b"# TYPE ";
/// What the samples of a counter end with, and its family's name does not.
const TOTAL: &[u8] = b"_total";
const EOF: &[u8] = b"# EOF\n";

/// A text in Prometheus' format 0.0.4 as OpenMetrics 1.0: other headers, the same samples, a last line.
pub fn openmetrics(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 64 + EOF.len());
    let mut rest = text;
    while let Some(header) = Header::of(rest) {
        header.write(&mut out);
        // Neither HELP nor the value of a label has an end of line that is not escaped.
        let end = memmem::find(header.after, b"\n# HELP ").map_or(header.after.len(), |at| at + 1);
        out.extend_from_slice(&header.after[..end]);
        rest = &header.after[end..];
    }
    out.extend_from_slice(EOF);
    out
}

/// The two lines above a family's samples.
struct Header<'a> {
    name: &'a [u8],
    help: &'a [u8],
    kind: &'a [u8],
    after: &'a [u8],
}

impl<'a> Header<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        let (help, after) = line(text)?;
        let (kind, after) = line(after)?;
        let (name, help) = split(help.strip_prefix(HELP)?);
        let (_, kind) = split(kind.strip_prefix(TYPE)?);
        Some(Self { name, help, kind, after })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (name, kind) = match (self.kind, self.name.strip_suffix(TOTAL)) {
            (b"counter", Some(stem)) => (stem, &b"counter"[..]),
            // As a counter it would need another name, and its name is what it is asked for by.
            (b"counter" | b"untyped", _) => (self.name, &b"unknown"[..]),
            (kind, _) => (self.name, kind),
        };
        for part in [HELP, name, b" "] {
            out.extend_from_slice(part);
        }
        for byte in self.help {
            if *byte == b'"' {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        for part in [b"\n", TYPE, name, b" ", kind, b"\n"] {
            out.extend_from_slice(part);
        }
    }
}

fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', text)?;
    Some((&text[..end], &text[end + 1..]))
}

fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    (&line[..end], line.get(end + 1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::openmetrics;
    use crate::encode::{Encoder, Family, Kind, Labels};

    #[test]
    fn counters_lose_total_in_their_familys_name_alone_and_the_text_ends_with_a_mark() {
        let mut out = Encoder::default();
        let labels = Labels::new(&[("path", b"\n# HELP x")]);
        out.family(&Family::counter("a_total", "A \"b\" \\.")).with(&labels, 1_u64);
        out.family(&Family::counter("b", "")).put(1_u64);
        out.family(&Family::new("c_total", "C.", Kind::Untyped)).put(1_u64);
        out.family(&Family::gauge("d_total", "D.")).put(1_u64);
        let want = "# HELP a A \\\"b\\\" \\\\.\n# TYPE a counter\na_total{path=\"\\n# HELP x\"} 1\n\
                    # HELP b \n# TYPE b unknown\nb 1\n# HELP c_total C.\n# TYPE c_total unknown\nc_total 1\n\
                    # HELP d_total D.\n# TYPE d_total gauge\nd_total 1\n# EOF\n";
        assert_eq!(String::from_utf8(openmetrics(&out.take())).expect("UTF-8"), want);
    }

    #[test]
    fn nothing_is_openmetrics_too() {
        assert_eq!(openmetrics(b""), b"# EOF\n");
    }
}
