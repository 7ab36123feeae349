use super::header::{Header, parameter, without_parameters};

/// Messages that are nested deeper are no user-data.
const MAX_DEPTH: usize = 20;
/// Headers and parts of one message; a real one has a dozen.
const MAX_ENTITIES: usize = 1000;

/// A MIME message, or a part of one.
#[derive(Debug)]
pub struct Entity {
    /// In their order.
    pub headers: Vec<Header>,
    /// What follows them.
    pub body: Body,
}

/// What follows the headers.
#[derive(Debug)]
pub enum Body {
    /// Text as it stands, and the number of lines before it.
    Text(String, usize),
    /// Of a `multipart/…`.
    Parts(Vec<Entity>),
}

impl Entity {
    /// The value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value.as_str())
    }

    /// `text/plain` where there is none, or one that is no type.
    pub fn content_type(&self) -> String {
        let value = self.header("content-type").map(without_parameters).unwrap_or_default().to_ascii_lowercase();
        if value.matches('/').count() == 1 { value } else { "text/plain".to_owned() }
    }

    /// The attachment's name.
    pub fn file_name(&self) -> Option<String> {
        let of = |header: &str, key| self.header(header).and_then(|value| parameter(value, key));
        of("content-disposition", "filename").or_else(|| of("content-type", "name")).filter(|name| !name.is_empty())
    }
}

/// Reads a message as Python's `email` does, which cloud-init uses: nothing in it is an error, only odd.
///
/// # Errors
/// It has more parts, or deeper ones, than any user-data.
pub fn parse(text: &str) -> Result<Entity, String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut reader = Reader { lines: &lines, at: 0, boundaries: Vec::new(), entities: 0 };
    reader.entity()
}

struct Reader<'a> {
    lines: &'a [&'a str],
    at: usize,
    /// Of the messages around this one: each of them ends it.
    boundaries: Vec<String>,
    entities: usize,
}

impl<'a> Reader<'a> {
    /// The next line, unless a boundary of a message around this one stands there.
    fn peek(&self) -> Option<&'a str> {
        let line = *self.lines.get(self.at)?;
        let ends = self.boundaries.iter().any(|boundary| delimiter(line, boundary).is_some());
        (!ends).then_some(line)
    }

    fn next(&mut self) -> Option<&'a str> {
        let line = self.peek()?;
        self.at += 1;
        Some(line)
    }

    fn entity(&mut self) -> Result<Entity, String> {
        self.entities += 1;
        if self.entities > MAX_ENTITIES || self.boundaries.len() > MAX_DEPTH {
            return Err(format!("the message has more than {MAX_ENTITIES} parts, or parts in parts {MAX_DEPTH} deep"));
        }
        let headers = self.headers();
        let mut entity = Entity { headers, body: Body::Text(String::new(), self.at) };
        let content_type = entity.content_type();
        entity.body = if content_type.starts_with("multipart/") {
            let boundary = entity.header("content-type").and_then(|value| parameter(value, "boundary"));
            match boundary {
                Some(boundary) => self.parts(boundary.trim_end())?,
                None => self.rest(),
            }
        } else if content_type.starts_with("message/") && content_type != "message/delivery-status" {
            Body::Parts(vec![self.entity()?])
        } else {
            self.rest()
        };
        Ok(entity)
    }

    fn headers(&mut self) -> Vec<Header> {
        let mut headers: Vec<Header> = Vec::new();
        while let Some(line) = self.peek() {
            let content = line.trim_end_matches(['\r', '\n']);
            if content.is_empty() {
                self.at += 1;
                break;
            }
            if line.starts_with([' ', '\t']) {
                if let Some(last) = headers.last_mut() {
                    last.value.push_str(line);
                }
            } else if let Some((name, value)) = content.split_once(':').filter(|(name, _)| is_name(name)) {
                headers.push(Header {
                    name: name.to_owned(),
                    value: format!("{}\n", value.trim_start_matches([' ', '\t'])),
                });
            } else if !content.starts_with("From ") || !headers.is_empty() {
                break; // the body begins without an empty line before it
            }
            self.at += 1;
        }
        for header in &mut headers {
            header.value.truncate(header.value.trim_end_matches(['\r', '\n']).len());
        }
        headers
    }

    fn rest(&mut self) -> Body {
        let first = self.at;
        while self.next().is_some() {}
        Body::Text(self.lines[first..self.at].concat(), first)
    }

    fn parts(&mut self, boundary: &str) -> Result<Body, String> {
        let first = self.at;
        let mut parts = Vec::new();
        // What stands before the first boundary is for readers that know no MIME.
        loop {
            match self.peek() {
                Some(line) if delimiter(line, boundary).is_some() => break,
                Some(_) => self.at += 1,
                None => return Ok(Body::Text(self.lines[first..self.at].concat(), first)),
            }
        }
        while let Some(line) = self.next() {
            if delimiter(line, boundary) == Some(true) {
                break;
            }
            // A boundary that is there twice begins one part.
            while self.peek().is_some_and(|line| delimiter(line, boundary).is_some()) {
                self.at += 1;
            }
            self.boundaries.push(boundary.to_owned());
            let part = self.entity();
            self.boundaries.pop();
            let mut part = part?;
            if let Body::Text(text, _) = &mut part.body {
                // The line break before a boundary belongs to the boundary.
                let end =
                    text.strip_suffix('\n').map_or(text.len(), |rest| rest.strip_suffix('\r').unwrap_or(rest).len());
                text.truncate(end);
            }
            parts.push(part);
        }
        while self.next().is_some() {}
        Ok(Body::Parts(parts))
    }
}

/// Printable ASCII without a space, as RFC 5322 has it.
fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
}

/// Whether a line is the boundary between parts, and whether it is the last one.
fn delimiter(line: &str, boundary: &str) -> Option<bool> {
    let rest = line.trim_end_matches(['\r', '\n']).strip_prefix("--")?.strip_prefix(boundary)?;
    let (rest, is_last) = rest.strip_prefix("--").map_or((rest, false), |rest| (rest, true));
    rest.trim_matches([' ', '\t']).is_empty().then_some(is_last)
}

#[cfg(test)]
mod tests {
    use super::{Body, Entity, parse};

    fn leaves(entity: &Entity, found: &mut Vec<(String, String, usize)>) {
        match &entity.body {
            Body::Parts(parts) => parts.iter().for_each(|part| leaves(part, found)),
            Body::Text(text, line) => found.push((entity.content_type(), text.clone(), *line)),
        }
    }

    #[test]
    fn nested_messages_end_with_their_own_boundary_or_an_outer_one() {
        let text = "Content-Type: multipart/mixed;\n boundary=\"a\"\nMIME-Version: 1.0\n\npreamble\n--a\nContent-Type: text/cloud-config\n\nx: 1\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nplain\n--b\n\nlast without an end\n--a--\nepilogue\n";
        let mut found = Vec::new();
        leaves(&parse(text).expect("parsed"), &mut found);
        assert_eq!(
            found,
            [
                ("text/cloud-config".into(), "x: 1\n".into(), 8),
                ("text/plain".into(), "plain".into(), 15),
                ("text/plain".into(), "last without an end".into(), 18)
            ]
        );
    }

    #[test]
    fn messages_without_an_end_to_their_nesting_are_refused() {
        let mut text = String::new();
        for depth in 0..40 {
            text.push_str(&format!("Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n"));
        }
        assert!(parse(&text).expect_err("refused").contains("deep"));
        assert!(parse(&format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(1100))).is_err());
    }
}
