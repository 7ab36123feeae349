/// The most of a text that is shown to a person.
const SHOWN: usize = 300;

/// A text of a server as far as it can be shown: one line, not too long, without our secrets.
pub fn shown<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    let mut text = text.to_owned();
    for secret in secrets.filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "(secret)");
    }
    let printable = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = printable.take(SHOWN + 1).collect();
    if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}
