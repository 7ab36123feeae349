use super::clock::Clock;
use super::filter::{self, Filters};
use super::form::{self, Form};
use super::time::Zone;
use hostwright_core::config::logs::{Encoding, Parse, Source, When};
use regex::Regex;
use std::borrow::Cow;

/// How records are made of the lines of a source.
#[derive(Debug)]
pub struct Recipe {
    pub encoding: Encoding,
    pub form: Form,
    pub clock: Clock,
    pub filters: Filters,
    /// Lines have line ends inside.
    pub has_inner_lines: bool,
}

/// Memory that is used again for each line.
#[derive(Debug, Default)]
pub struct Scratch {
    pub parsing: form::Texts,
    pub filtering: filter::Texts,
}

impl Recipe {
    /// # Errors
    /// A regular expression is not valid.
    pub fn new(settings: &Source) -> Result<Self, regex::Error> {
        let timezone = settings.time.as_ref().and_then(|when: &When| when.timezone.as_ref());
        let zone = timezone.map_or(Zone::Utc, |timezone| Zone::Named(timezone.zone()));
        Ok(Self {
            encoding: settings.encoding,
            form: form(&settings.parse, &zone)?,
            clock: clock(settings.time.as_ref(), zone),
            filters: Filters::new(&settings.filters)?,
            has_inner_lines: settings.multiline.is_some(),
        })
    }

    /// A line's characters, and whether some were not valid.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> (Cow<'a, str>, bool) {
        let (text, is_invalid) = match self.encoding {
            // UTF-16 was made UTF-8 when lines were split.
            Encoding::Utf8 | Encoding::Utf16 | Encoding::Utf16Le | Encoding::Utf16Be => {
                match std::str::from_utf8(bytes) {
                    Ok(text) => (Cow::Borrowed(text), false),
                    Err(_) => (String::from_utf8_lossy(bytes), true),
                }
            }
            Encoding::Latin1 if bytes.is_ascii() => (String::from_utf8_lossy(bytes), false),
            Encoding::Latin1 => (bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into(), false),
            Encoding::Other(encoding) => encoding.decode_without_bom_handling(bytes),
        };
        if self.has_inner_lines && text.contains("\r\n") {
            return (text.replace("\r\n", "\n").into(), is_invalid);
        }
        (text, is_invalid)
    }
}

fn clock(when: Option<&When>, zone: Zone) -> Clock {
    let Some(when) = when else { return Clock::default() };
    Clock { field: when.field.clone(), format: when.format.clone(), zone: Some(zone) }
}

fn form(parse: &Parse, zone: &Zone) -> Result<Form, regex::Error> {
    Ok(match parse {
        Parse::Plain => Form::Plain,
        Parse::Json => Form::Json,
        Parse::Logfmt => Form::Logfmt,
        Parse::Regex(pattern) => Form::regex(Regex::new(pattern.as_str())?),
        Parse::Cri(inner) => Form::Cri(Box::new(form(inner, zone)?)),
        Parse::Docker(inner) => Form::Docker(Box::new(form(inner, zone)?)),
        Parse::Syslog => Form::Syslog(zone.clone()),
    })
}
