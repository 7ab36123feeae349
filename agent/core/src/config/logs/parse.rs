use super::Pattern;
use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// What a line is. A line that is not is shipped as text and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parse {
    /// Text.
    Plain,
    /// A JSON object.
    Json,
    /// `key=value key="quoted value"`.
    Logfmt,
    /// Text whose named groups are fields.
    Regex(Pattern),
    /// A line of a container's log as containerd and CRI-O write it: time, stream, tag, and an inner text, which is
    /// what is named here.
    Cri(Box<Parse>),
    /// The same as Docker's json-file driver writes it.
    Docker(Box<Parse>),
    /// A syslog message, RFC 5424 or RFC 3164, with or without its priority.
    Syslog,
}

impl Parse {
    /// A text that may stand alone or inside a container's line.
    fn inner(node: &Node) -> Result<Self, String> {
        match (node.text(), node.mapping().map(|mapping| &mapping.entries[..])) {
            (Some("plain"), _) => Ok(Self::Plain),
            (Some("json"), _) => Ok(Self::Json),
            (Some("logfmt"), _) => Ok(Self::Logfmt),
            (_, Some([entry])) if entry.key == "regex" => {
                let pattern = Pattern::from_node(&entry.value)?;
                if pattern.groups().is_empty() {
                    return Err(format!(
                        "{:?} has no named group, so no field would come of it: write (?P<name>…)",
                        pattern.as_str()
                    ));
                }
                Ok(Self::Regex(pattern))
            }
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl FromNode for Parse {
    const EXPECTED: &'static str = "plain, json, logfmt, cri, docker, syslog, {regex: '…(?P<name>…)…'}, or the inner form of a container's lines such as {docker: json}";

    fn from_node(node: &Node) -> Result<Self, String> {
        match (node.text(), node.mapping().map(|mapping| &mapping.entries[..])) {
            (Some("cri"), _) => Ok(Self::Cri(Box::new(Self::Plain))),
            (Some("docker"), _) => Ok(Self::Docker(Box::new(Self::Plain))),
            (Some("syslog"), _) => Ok(Self::Syslog),
            (_, Some([entry])) if entry.key == "cri" => Ok(Self::Cri(Box::new(Self::inner(&entry.value)?))),
            (_, Some([entry])) if entry.key == "docker" => Ok(Self::Docker(Box::new(Self::inner(&entry.value)?))),
            _ => Self::inner(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::source;
    use super::Parse;

    #[test]
    fn a_containers_inner_text_has_a_form_of_its_own() {
        let parse = |text: &str| source(&format!("parse: {text}")).map(|source| source.parse);
        assert_eq!(parse("docker"), Ok(Parse::Docker(Box::new(Parse::Plain))));
        assert_eq!(parse("{cri: json}"), Ok(Parse::Cri(Box::new(Parse::Json))));
        assert_eq!(parse("syslog"), Ok(Parse::Syslog));
        assert!(
            matches!(parse("{docker: {regex: '(?P<a>.)'}}"), Ok(Parse::Docker(inner)) if matches!(*inner, Parse::Regex(_)))
        );
        for wrong in ["{cri: docker}", "xml", "{json: plain}", "[json]"] {
            let message = parse(wrong).expect_err(wrong);
            assert!(message.contains("expected plain, json, logfmt"), "{message}");
        }
    }

    #[test]
    fn an_expression_must_be_valid_and_have_named_groups() {
        let message = source("parse: {regex: '(a'}").expect_err("refused");
        assert!(message.contains("\"(a\" is no valid regular expression: unclosed group"), "{message}");
        let message = source("parse: {regex: '(a)'}").expect_err("refused");
        assert!(message.contains("has no named group"), "{message}");
    }
}
