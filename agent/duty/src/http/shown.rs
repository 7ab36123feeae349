/// The most of a text that is shown to a person.
const SHOWN: usize = 300;

/// A text of a server as far as it can be shown: one line, not too long, without our secrets.
pub fn shown<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    let mut text = on_one_line(text);
    let mut secrets: Vec<String> = secrets.map(on_one_line).filter(|secret| !secret.is_empty()).collect();
    // One may be part of another, of which the rest would stay.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        text = text.replace(&secret, "(secret)");
    }
    let mut shown: String = text.trim().chars().take(SHOWN + 1).collect();
    if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_secret_is_not_shown_even_if_it_comes_with_control_characters() {
        let text = "no \u{7}access for to\u{0}ken!\r\n";
        assert_eq!(shown(text, ["to ken"].into_iter()), "no  access for (secret)!");
        assert_eq!(shown("to ken", ["to\nken", ""].into_iter()), "(secret)");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = shown(&"ü".repeat(301), [].into_iter());
        assert!(text.chars().count() == 301 && text.ends_with("ü…"), "{text}");
    }
}
