use std::borrow::Cow;

/// A sample as the text has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Name and labels as they are written, which is what makes the series this one.
    pub series: &'a str,
    pub name: &'a str,
    /// What is between the braces.
    labels: &'a str,
    pub value: f64,
    /// The index of its family.
    pub family: usize,
}

/// What the lines above samples say of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Family<'a> {
    pub name: &'a str,
    /// Escaped as it is written.
    help: &'a str,
    /// The word behind TYPE.
    pub kind: &'a str,
}

/// A text of our own encoder, read again. Receivers may differ in what they are sent, and may be away for hours: what
/// waits for them on the disk is the text, which is the same for all and says everything. Reading it takes less than a
/// millisecond for a thousand samples.
#[derive(Debug, Default)]
pub struct Exposition<'a> {
    pub families: Vec<Family<'a>>,
    pub samples: Vec<Sample<'a>>,
}

impl<'a> Exposition<'a> {
    /// Lines that are none of the format are left out.
    pub fn read(text: &'a str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            match line.strip_prefix("# ") {
                Some(header) => all.header(header),
                None => all.sample(line),
            }
        }
        all
    }

    fn header(&mut self, header: &'a str) {
        let mut parts = header.splitn(3, ' ');
        let (what, name, rest) = (parts.next(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if !matches!(what, Some("HELP" | "TYPE")) {
            return;
        }
        if self.families.last().is_none_or(|family| family.name != name) {
            self.families.push(Family { name, ..Family::default() });
        }
        let Some(family) = self.families.last_mut() else { return };
        match what {
            Some("HELP") => family.help = rest,
            _ => family.kind = rest.trim_end(),
        }
    }

    fn sample(&mut self, line: &'a str) {
        // Values have neither blanks nor braces in them, and nothing follows them.
        let Some((series, value)) = line.rsplit_once(' ') else { return };
        let Ok(value) = value.parse() else { return };
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}').unwrap_or(rest)),
            None => (series, ""),
        };
        if name.is_empty() || line.starts_with('#') {
            return;
        }
        if self.families.last().is_none_or(|family| !family.has(name)) {
            self.families.push(Family { name, ..Family::default() });
        }
        self.samples.push(Sample { series, name, labels, value, family: self.families.len() - 1 });
    }
}

impl<'a> Family<'a> {
    /// Whether a sample of that name is one of its. Those of histograms and summaries have endings.
    fn has(&self, name: &str) -> bool {
        name.strip_prefix(self.name).is_some_and(|rest| match self.kind {
            "histogram" | "summary" => matches!(rest, "" | "_bucket" | "_sum" | "_count"),
            _ => rest.is_empty(),
        })
    }

    pub fn help(&self) -> Cow<'a, str> {
        unescaped(self.help)
    }
}

impl<'a> Sample<'a> {
    /// Names and values of its labels.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> + use<'a> {
        let mut rest = self.labels;
        std::iter::from_fn(move || {
            let (name, after) = rest.split_once("=\"")?;
            let end = end_of_value(after);
            let value = after.get(..end)?;
            rest = after.get(end + 1..)?.trim_start_matches(',');
            Some((name, unescaped(value)))
        })
    }
}

/// Where the quote stands that no backslash escapes.
fn end_of_value(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.unwrap_or(text.len())
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::Exposition;
    use crate::encode::{Encoder, Family, Labels};

    #[test]
    fn what_the_encoder_wrote_is_read_back_whatever_the_labels_hold() {
        let nasty = "a\\b\"c\nd}{,=\" x=\"1\",\\\\\" é 7";
        let mut encoder = Encoder::new(Labels::new(&[("role", b"r")]));
        let (counter, gauge) = (Family::counter("a_total", "H\\e\nlp."), Family::gauge("b", "B."));
        encoder.family(&counter).with(&Labels::new(&[("x", nasty.as_bytes()), ("y", b"")]), 7_u64);
        encoder.family(&gauge).put(f64::NEG_INFINITY);
        let text = String::from_utf8(encoder.take()).expect("UTF-8");
        let read = Exposition::read(&text);
        let families: Vec<_> = read.families.iter().map(|family| (family.name, family.kind, family.help())).collect();
        assert_eq!(families, [("a_total", "counter", "H\\e\nlp.".into()), ("b", "gauge", "B.".into())]);
        let labels: Vec<_> = read.samples[0].labels().collect();
        assert_eq!(labels, [("x", nasty.into()), ("y", "".into()), ("role", "r".into())]);
        assert_eq!((read.samples[0].name, read.samples[0].value, read.samples[0].family), ("a_total", 7.0, 0));
        assert_eq!((read.samples[1].value, read.samples[1].family, read.samples.len()), (f64::NEG_INFINITY, 1, 2));
    }

    #[test]
    fn endings_belong_to_histograms_and_summaries_alone() {
        let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 2\nh_count 1\n# TYPE g gauge\ng 1\ng_sum 3\n";
        let read = Exposition::read(text);
        let names: Vec<_> = read.samples.iter().map(|sample| read.families[sample.family].name).collect();
        assert_eq!(names, ["h", "h", "h", "g", "g_sum"]);
    }

    #[test]
    fn garbage_is_left_out_and_ends_nothing() {
        for text in
            ["", "\n\n", "# \n#\n# TYPE\n# HELP x\n", "x\n", "x y\n", "{} 1\n", "x{a=\"b 1\n", "x{a 1\n", " 1\n"]
        {
            for sample in Exposition::read(text).samples {
                assert!(sample.labels().count() <= 1, "{text:?}");
            }
        }
        assert_eq!(Exposition::read("x y\nz 1\n# EOF\n").samples.len(), 1);
    }
}
