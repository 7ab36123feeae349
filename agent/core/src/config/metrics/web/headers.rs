use crate::config::section::Section;

/// What the original lets an operator set, with the values where only some mean something.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// Reads `headers:`. One without a value is not set.
pub fn read(section: &mut Section<'_>) -> Vec<(&'static str, String)> {
    let Some(node) = section.node("headers") else { return Vec::new() };
    let Some(mapping) = node.mapping() else {
        section.problem_at(node.place, "headers", &format!("expected a mapping of headers, found {}", node.kind()));
        return Vec::new();
    };
    let mut headers = Vec::new();
    for entry in &mapping.entries {
        let key = format!("headers.{}", entry.key);
        let problem = |message: &str| section.problem_at(entry.value.place, &key, message);
        let Some((name, values)) = HEADERS.iter().find(|(name, _)| *name == entry.key) else {
            let names = HEADERS.map(|(name, _)| name).join(", ");
            problem(&format!("this header cannot be configured; these can: {names}"));
            continue;
        };
        match entry.value.text() {
            _ if entry.value.is_null() => {}
            Some(value) if !values.is_empty() && !values.contains(&value) => {
                problem(&format!("expected {}, found {value:?}", values.join(" or ")));
            }
            // RFC 9110, 5.5: visible characters, spaces and tabs.
            Some(value) if value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) => {
                headers.push((*name, value.to_owned()));
            }
            _ => problem("expected a text of visible ASCII characters in one line"),
        }
    }
    headers
}
