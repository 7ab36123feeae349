use regex::Regex;
use std::sync::Arc;

/// A key with places to be filled in: `{date}/{path}`. Parsed when the file is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate(pub Vec<KeyPart>);

/// A piece of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// Text as it stands.
    Literal(String),
    /// `{path}`: the path inside the watched folder.
    Path,
    /// `{dir}`: the folders of that path, without the name.
    Folders,
    /// `{name}`: the file's or folder's name.
    Name,
    /// `{stem}`: the name without its extension.
    Stem,
    /// `{ext}`: the extension, without its dot.
    Extension,
    /// `{name:REGEX}`: what the expression finds in the name.
    OfName(Expression),
    /// `{path:REGEX}`: what the expression finds in the path.
    OfPath(Expression),
    /// `{year}` where an expression has a group of this name.
    Group(String),
    /// `{job_id}`: the id of the job whose outputs it is.
    JobId,
    /// `{host}`: the host's name.
    Host,
    /// `{label:NAME}`: a label of the host.
    Label(String),
    /// `{date}`, `{year}`, `{mtime:%Y%m%d}`, `{now:%H}` …: a moment in UTC, in strftime's format.
    Time(Moment, String),
}

/// Which moment a date is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The product's last modification.
    Modified,
    /// When it was found to be finished.
    Now,
}

/// A regular expression.
#[derive(Clone, Debug)]
pub struct Expression(pub Arc<Regex>);

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Expression {}

const KNOWN: &str = "{path}, {dir}, {name}, {stem}, {ext}, {name:REGEX}, {path:REGEX}, {host}, {label:NAME}, {job_id}, \
                     {date}, {year}, {month}, {day}, {mtime:%Y%m%d}, {now:%Y%m%d} or a group (?<group>…) of an expression";

/// Dates of the last modification that have a name.
const DATES: [(&str, &str); 4] = [("date", "%Y-%m-%d"), ("year", "%Y"), ("month", "%m"), ("day", "%d")];

impl KeyTemplate {
    /// `{path}`, the key unless something else is said.
    pub fn path() -> Self {
        Self(vec![KeyPart::Path])
    }

    /// Reads a template.
    ///
    /// # Errors
    /// A sentence that names the place and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let close = closing(&rest[open..]).ok_or_else(|| format!("{text:?} has a '{{' without its '}}'"))? + open;
            parts.extend(literal(text, &rest[..open])?);
            parts.push(KeyPart::parse(&rest[open + 1..close])?);
            rest = &rest[close + 1..];
        }
        parts.extend(literal(text, rest)?);
        let template = Self(parts).with_groups()?;
        if !template.0.iter().any(KeyPart::tells_products_apart) {
            return Err(format!("{text:?} gives every product the same key; put {{path}} or {{name}} into it"));
        }
        if text.starts_with('/') || text.ends_with('/') || text.contains("//") {
            return Err(format!("{text:?} makes keys with empty folder names; leave the extra '/' out"));
        }
        Ok(template)
    }

    /// Whether the same product gets another key at another time.
    pub fn is_of_the_moment(&self) -> bool {
        self.0.iter().any(|part| matches!(part, KeyPart::Time(Moment::Now, _)))
    }

    /// Names that groups of expressions have go before dates of that name; any other name has to be a group.
    fn with_groups(mut self) -> Result<Self, String> {
        let expressions = self.0.iter().filter_map(KeyPart::expression);
        let groups: Vec<String> =
            expressions.flat_map(|regex| regex.capture_names().flatten().map(str::to_owned)).collect();
        for part in &mut self.0 {
            match part {
                KeyPart::Group(name) if !groups.contains(name) => {
                    if let Some((_, format)) = DATES.iter().find(|(known, _)| known == name) {
                        *part = KeyPart::Time(Moment::Modified, (*format).to_owned());
                    } else {
                        return Err(format!("{{{name}}} is not known; use {KNOWN}"));
                    }
                }
                _ => {}
            }
        }
        Ok(self)
    }
}

/// Where the place that begins a text ends; expressions have braces of their own.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The text between two places, unless it is empty.
fn literal(template: &str, text: &str) -> Result<Option<KeyPart>, String> {
    if text.contains('}') {
        return Err(format!("{template:?} has a '}}' without its '{{'"));
    }
    Ok((!text.is_empty()).then(|| KeyPart::Literal(text.to_owned())))
}

impl KeyPart {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some((kind, argument)) = text.split_once(':') {
            return Self::with_argument(kind, argument)
                .unwrap_or_else(|| Err(format!("{{{text}}} is not known; use {KNOWN}")));
        }
        Ok(match text {
            "path" => Self::Path,
            "dir" => Self::Folders,
            "name" => Self::Name,
            "stem" => Self::Stem,
            "ext" => Self::Extension,
            "host" => Self::Host,
            "job_id" => Self::JobId,
            name => Self::Group(name.to_owned()),
        })
    }

    fn with_argument(kind: &str, argument: &str) -> Option<Result<Self, String>> {
        Some(match kind {
            "name" => Expression::parse(argument).map(Self::OfName),
            "path" => Expression::parse(argument).map(Self::OfPath),
            "label" if !argument.is_empty() => Ok(Self::Label(argument.to_owned())),
            "mtime" => time(argument).map(|format| Self::Time(Moment::Modified, format)),
            "now" => time(argument).map(|format| Self::Time(Moment::Now, format)),
            _ => return None,
        })
    }

    fn expression(&self) -> Option<&Regex> {
        match self {
            Self::OfName(expression) | Self::OfPath(expression) => Some(&expression.0),
            _ => None,
        }
    }

    fn tells_products_apart(&self) -> bool {
        let apart = matches!(self, Self::Path | Self::Name | Self::Stem | Self::JobId | Self::Group(_));
        apart || self.expression().is_some()
    }
}

impl Expression {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an expression is missing behind the ':'".into());
        }
        let regex = Regex::new(text).map_err(|error| {
            let reason = error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("{text:?} is no valid expression: {reason}")
        })?;
        Ok(Self(Arc::new(regex)))
    }
}

/// A format of strftime that can be carried out.
fn time(format: &str) -> Result<String, String> {
    let epoch = jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
    match jiff::fmt::strtime::format(format, &epoch) {
        Ok(shown) if !shown.is_empty() => Ok(format.to_owned()),
        Ok(_) => Err("a format such as %Y%m%d is missing behind the ':'".into()),
        Err(error) => Err(format!("{format:?} is no format of a date: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyPart, KeyTemplate, Moment};

    #[test]
    fn a_template_is_checked_when_it_is_loaded() {
        let literal = |text: &str| KeyPart::Literal(text.into());
        assert_eq!(
            KeyTemplate::parse("FSC/{year}/{label:role}/{path}"),
            Ok(KeyTemplate(vec![
                literal("FSC/"),
                KeyPart::Time(Moment::Modified, "%Y".into()),
                literal("/"),
                KeyPart::Label("role".into()),
                literal("/"),
                KeyPart::Path
            ]))
        );
        for (wrong, why) in [
            ("{yaer}/{path}", "{yaer} is not known"),
            ("{path", "without its '}'"),
            ("a}{path}", "without its '{'"),
            ("{date}", "the same key"),
            ("{date}/{now:%Y}", "the same key"),
            ("/{path}", "empty folder names"),
            ("a//{path}", "empty folder names"),
            ("{path}/", "empty folder names"),
            ("{name:(}", "no valid expression: unclosed group"),
            ("{name:}", "an expression is missing"),
            ("{now:%!}/{path}", "no format of a date"),
            ("{label:}/{path}", "is not known"),
        ] {
            let error = KeyTemplate::parse(wrong).expect_err(wrong);
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_group_of_an_expression_goes_before_a_date_of_its_name() {
        let template = KeyTemplate::parse(r"{year}/{day}/{name:FSC_(?<year>\d{4})\d{2}_.*\}}").expect("valid");
        assert_eq!(template.0[0], KeyPart::Group("year".into()));
        assert_eq!(template.0[2], KeyPart::Time(Moment::Modified, "%d".into()));
        assert!(matches!(template.0[4], KeyPart::OfName(_)) && template.0.len() == 5, "{template:?}");
        assert!(!template.is_of_the_moment());
    }
}
