use super::clock::Clock;
use super::container::{Cri, Docker};
use super::object::Object;
use super::time::Zone;
use super::{json, logfmt, syslog};
use regex::Regex;

/// What a line is, as far as it is one by itself.
#[derive(Debug)]
pub enum Form {
    Plain,
    Json,
    Logfmt,
    /// Its named groups, with their numbers, are fields.
    Regex(Regex, Vec<(usize, String)>),
    Cri(Box<Form>),
    Docker(Box<Form>),
    Syslog(Zone),
}

/// Texts that are made of lines, kept for the next line.
#[derive(Debug, Default)]
pub struct Texts {
    /// What an application wrote, without its escapes.
    inner: String,
    /// The same as a JSON object.
    object: String,
    /// The record.
    record: String,
}

/// What came of a line.
#[derive(Debug)]
pub struct Parsed<'a> {
    pub text: &'a str,
    pub object: Option<Object<'a>>,
    /// It is what it was said to be.
    pub fits: bool,
}

impl Form {
    pub fn regex(regex: Regex) -> Self {
        let names = regex.capture_names().enumerate();
        let names = names.filter_map(|(group, name)| Some((group, name?.to_owned()))).collect();
        Self::Regex(regex, names)
    }

    /// Parses a line; of one that was cut, what is there, if that can be.
    pub fn parse<'a>(&self, line: &'a str, cut: bool, clock: &Clock, texts: &'a mut Texts) -> Parsed<'a> {
        let is_json = matches!(self, Self::Json);
        if is_json || matches!(self, Self::Plain) {
            let object = if is_json && !cut { Object::of(line, clock) } else { None };
            return Parsed { text: line, fits: object.is_some() || !is_json || cut, object };
        }
        texts.record.clear();
        let fits = self.push_json(line, clock, texts);
        let Some(fits) = fits else { return Parsed { text: line, object: None, fits: cut } };
        if cut {
            texts.record.truncate(texts.record.len() - 1);
            texts.record.push_str(if texts.record.len() > 1 { ",\"cut\":true}" } else { "\"cut\":true}" });
        }
        let object = Object::of(&texts.record, clock);
        Parsed { text: &texts.record, object, fits }
    }

    /// Appends the line as a JSON object to `texts.record`; whether an inner text is what it was said to be.
    fn push_json(&self, line: &str, clock: &Clock, texts: &mut Texts) -> Option<bool> {
        match self {
            Self::Cri(inner) => inner.push_cri(line, clock, texts),
            Self::Docker(inner) => inner.push_docker(line, clock, texts),
            _ => self.push_object(line, &mut texts.record).map(|()| true),
        }
    }

    /// Appends a line that is not a container's as a JSON object.
    fn push_object(&self, line: &str, out: &mut String) -> Option<()> {
        match self {
            Self::Logfmt => logfmt::push_json(line, out),
            Self::Syslog(zone) => syslog::push_json(line, zone, out),
            Self::Regex(regex, names) => {
                let found = regex.captures(line)?;
                out.push('{');
                for (group, name) in names {
                    let Some(value) = found.get(*group) else { continue };
                    if !out.ends_with('{') {
                        out.push(',');
                    }
                    json::push_string(name, out);
                    out.push(':');
                    json::push_string(value.as_str(), out);
                }
                out.push('}');
                Some(())
            }
            Self::Plain | Self::Json | Self::Cri(_) | Self::Docker(_) => None,
        }
    }

    fn push_cri(&self, line: &str, clock: &Clock, texts: &mut Texts) -> Option<bool> {
        let cri = Cri::of(line.as_bytes())?;
        let text = line.get(line.len() - cri.text.len()..)?;
        let envelope = |is_free: &mut dyn FnMut(&str) -> bool, out: &mut String| {
            for (name, value) in [("time", cri.time), ("stream", cri.stream)] {
                if is_free(name) {
                    push_separator(out);
                    json::push_string(name, out);
                    out.push(':');
                    json::push_string(&String::from_utf8_lossy(value), out);
                }
            }
        };
        let Texts { object, record, .. } = texts;
        match self.inner_object(text, object) {
            Some(inner) if push_inside(inner, clock, record, envelope) => Some(true),
            _ => {
                record.push('{');
                envelope(&mut |_| true, record);
                record.push_str(",\"message\":");
                json::push_string(text, record);
                record.push('}');
                Some(matches!(self, Self::Plain))
            }
        }
    }

    fn push_docker(&self, line: &str, clock: &Clock, texts: &mut Texts) -> Option<bool> {
        let mut others = Vec::new();
        let docker = Docker::of(line, |name, value| others.push((name, value)))?;
        let envelope = |is_free: &mut dyn FnMut(&str) -> bool, out: &mut String| {
            for (name, value) in &others {
                if is_free(name) {
                    push_separator(out);
                    out.extend(["\"", name, "\":", value]);
                }
            }
        };
        let Texts { inner: text, object, record } = texts;
        if !matches!(self, Self::Plain) {
            text.clear();
            json::unescape(docker.text, text);
            if let Some(inner) = self.inner_object(text, object)
                && push_inside(inner, clock, record, envelope)
            {
                return Some(true);
            }
        }
        record.push('{');
        envelope(&mut |_| true, record);
        push_separator(record);
        record.extend(["\"message\":\"", docker.text, "\"}"]);
        Some(matches!(self, Self::Plain))
    }

    /// The text of an application as a JSON object, if it is what it was said to be.
    fn inner_object<'a>(&self, text: &'a str, object: &'a mut String) -> Option<&'a str> {
        if matches!(self, Self::Json) {
            return Some(text);
        }
        object.clear();
        self.push_object(text, object)?;
        Some(object)
    }
}

/// Appends an application's object with the fields of its container's line, unless it has fields of these names; its
/// own time is the better one. Whether it is an object.
fn push_inside(
    inner: &str,
    clock: &Clock,
    out: &mut String,
    envelope: impl FnOnce(&mut dyn FnMut(&str) -> bool, &mut String),
) -> bool {
    let start = out.len();
    let mut names = Vec::new();
    let Some(object) = Object::of_named(inner, clock, |name| names.push(name)) else { return false };
    out.push('{');
    envelope(&mut |name| !names.contains(&name) && (name != "time" || object.time.is_none()), out);
    let rest = inner.trim_ascii()[1..].trim_ascii_start();
    if out.len() > start + 1 && rest != "}" {
        out.push(',');
    }
    out.push_str(rest);
    true
}

fn push_separator(out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, Form, Texts};
    use regex::Regex;
    use serde_json::{Value, json};

    fn parsed(form: &Form, line: &str) -> (Value, bool) {
        let mut texts = Texts::default();
        let parsed = form.parse(line, false, &Clock::default(), &mut texts);
        let value: Value = serde_json::from_str(parsed.text).unwrap_or_else(|_| parsed.text.into());
        assert_eq!(parsed.object.is_some(), value.is_object(), "{}", parsed.text);
        (value, parsed.fits)
    }

    const CRI: &str = "2016-10-06T00:17:09.669794202Z stderr F";

    #[test]
    fn a_line_of_containerd_becomes_an_object_with_its_inner_text() {
        let envelope = json!({"time": "2016-10-06T00:17:09.669794202Z", "stream": "stderr"});
        let with = |more: Value| {
            let mut all = envelope.clone();
            all.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
            all
        };
        let plain = Form::Cri(Box::new(Form::Plain));
        assert_eq!(parsed(&plain, &format!("{CRI} a \"b\"")), (with(json!({"message": "a \"b\""})), true));
        assert_eq!(parsed(&plain, "other"), ("other".into(), false));
        let json = Form::Cri(Box::new(Form::Json));
        assert_eq!(parsed(&json, &format!("{CRI} {{\"a\":1}}")), (with(json!({"a": 1})), true));
        assert_eq!(parsed(&json, &format!("{CRI} {{ }}")), (with(json!({})), true));
        assert_eq!(parsed(&json, &format!("{CRI} text")), (with(json!({"message": "text"})), false));
        let own = format!("{CRI} {{\"stream\":1,\"ts\":\"2026-11-20T10:11:12Z\"}}");
        assert_eq!(parsed(&json, &own), (json!({"stream": 1, "ts": "2026-11-20T10:11:12Z"}), true));
        let logfmt = Form::Cri(Box::new(Form::Logfmt));
        assert_eq!(parsed(&logfmt, &format!("{CRI} a=b")), (with(json!({"a": "b"})), true));
    }

    #[test]
    fn a_line_of_docker_becomes_an_object_with_its_inner_text() {
        let line = |log: &str| format!(r#"{{"log":{},"stream":"stdout","time":"2026-11-20T10:11:12.5Z"}}"#, json!(log));
        let plain = Form::Docker(Box::new(Form::Plain));
        assert_eq!(
            parsed(&plain, &line("a \"b\"\n")).0,
            json!({"stream": "stdout", "time": "2026-11-20T10:11:12.5Z", "message": "a \"b\""})
        );
        let json = Form::Docker(Box::new(Form::Json));
        assert_eq!(
            parsed(&json, &line("{\"a\":\"x\\ny\"}\n")),
            (json!({"stream": "stdout", "time": "2026-11-20T10:11:12.5Z", "a": "x\ny"}), true)
        );
        assert_eq!(
            parsed(&json, &line("text\n")),
            (json!({"stream": "stdout", "time": "2026-11-20T10:11:12.5Z", "message": "text"}), false)
        );
        assert_eq!(parsed(&json, "{\"log\":"), ("{\"log\":".into(), false));
    }

    #[test]
    fn named_groups_become_fields() {
        let regex = Regex::new(r"^(?P<client>\S+) (?:\[(?P<time>[^\]]+)\] )?(.*)$").expect("valid");
        let form = Form::regex(regex);
        assert_eq!(parsed(&form, "10.0.0.1 [now] x"), (json!({"client": "10.0.0.1", "time": "now"}), true));
        assert_eq!(parsed(&form, "10.0.0.1 x"), (json!({"client": "10.0.0.1"}), true));
        assert_eq!(parsed(&form, ""), ("".into(), false));
    }

    #[test]
    fn a_line_that_was_cut_is_parsed_as_far_as_it_can_be_and_marked() {
        let cut = |form: &Form, line: &str| {
            let mut texts = Texts::default();
            form.parse(line, true, &Clock::default(), &mut texts).text.to_owned()
        };
        assert_eq!(cut(&Form::Logfmt, "a=b c=d"), r#"{"a":"b","c":"d","cut":true}"#);
        assert_eq!(cut(&Form::Logfmt, "a=b c=\"d"), "a=b c=\"d");
        assert_eq!(cut(&Form::Json, "{\"a\":\"b"), "{\"a\":\"b");
    }
}
