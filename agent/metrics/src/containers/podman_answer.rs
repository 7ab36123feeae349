use serde::Deserialize;
use std::collections::HashMap;

/// One of the service's list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
}

/// The ids and labels of an answer. Its head ends with an empty line; a service of HTTP/1.0 ends the body by closing.
pub fn parse(answer: &[u8]) -> Option<Vec<(String, HashMap<String, String>)>> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
    let is_ok = answer[..end].split(|byte| *byte == b' ').nth(1) == Some(b"200");
    let listed: Vec<Listed> = serde_json::from_slice(answer.get(end + 4..).filter(|_| is_ok)?).ok()?;
    Some(listed.into_iter().map(|Listed { id, labels }| (id, labels.unwrap_or_default())).collect())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_answer_is_understood_whole_or_not_at_all() {
        let body = r#"[{"Id":"abc","Labels":{"com.docker.compose.service":"web","x":"y"}},{"Id":"d","Labels":null}]"#;
        let answer = format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
        let known = parse(answer.as_bytes()).expect("understood");
        let [(abc, labels), (d, none)] = &known[..] else { panic!("{known:?}") };
        assert_eq!((abc.as_str(), labels["com.docker.compose.service"].as_str()), ("abc", "web"));
        assert!(d == "d" && none.is_empty());
        for length in 0..answer.len() {
            assert!(parse(&answer.as_bytes()[..length]).is_none(), "{length}");
        }
        assert!(parse(answer.replace("200 OK", "500 No").as_bytes()).is_none());
    }
}
