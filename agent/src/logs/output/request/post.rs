use super::batch::Selection;
use super::http::{Client, Request};
use super::{NotTaken, Undelivered};
use bytes::Bytes;
use hostwright_core::config::logs::output::http::{Format, Http};
use reqwest::header::HeaderMap;

/// Whatever takes lines with a POST: any 2xx says that it has them.
#[derive(Debug)]
pub struct Post {
    client: Client,
    format: Format,
}

impl Post {
    pub fn new(settings: &Http) -> Self {
        Self { client: Client::new(&settings.endpoint, String::new()), format: settings.format }
    }

    pub async fn deliver(&mut self, items: Selection<'_>) -> Result<Vec<NotTaken>, Undelivered> {
        let (content_type, body) = match self.format {
            Format::Ndjson => ("application/x-ndjson", items.bytes()),
            Format::Text => ("text/plain; charset=utf-8", items.bytes()),
            Format::Array => ("application/json", array(items)),
        };
        let request = Request { content_type, headers: HeaderMap::new(), body };
        let answer = self.client.post(request).await?;
        if answer.status.is_success() { Ok(Vec::new()) } else { Err(self.client.undelivered(&answer)) }
    }
}

/// Lines, each a JSON object, as one array.
fn array(items: Selection<'_>) -> Bytes {
    let mut out = b"[".to_vec();
    for (_, line) in items.items() {
        out.extend_from_slice(line.trim_ascii_end());
        out.push(b',');
    }
    if out.len() > 1 {
        out.pop();
    }
    out.push(b']');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::array;
    use crate::logs::output::request::batch::{Batch, Item, Selection};

    #[test]
    fn lines_become_an_array() {
        let item = |end| Item { is_dated: true, end, time: 0, content: 0, offset: 0, length: 0 };
        let batch = Batch { bytes: "{}\n[]\n1\n".into(), items: vec![item(3), item(6), item(8)], groups: Vec::new() };
        let of = |indices: &[usize]| array(Selection { batch: &batch, indices });
        assert_eq!(of(&[0, 2]), "[{},1]");
        assert_eq!(of(&[]), "[]");
    }
}
