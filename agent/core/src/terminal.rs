use std::borrow::Cow;

/// A text as it may go to a terminal: characters that would steer it are escaped, the ends of lines and tabs stay.
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.is_control() && c != '\n' && c != '\t')
}

/// A name of somebody else's in a line: it has no end of a line either, and no tab.
pub fn name(text: &str) -> Cow<'_, str> {
    escaped(text, char::is_control)
}

fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_bad) {
        return text.into();
    }
    let mut all = String::with_capacity(text.len());
    for c in text.chars() {
        if is_bad(c) { all.extend(c.escape_default()) } else { all.push(c) }
    }
    all.into()
}

#[cfg(test)]
mod tests {
    use super::{name, plain};

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(plain("a\u{1b}[2J\u{9b}b\r\n\tc"), "a\\u{1b}[2J\\u{9b}b\\r\n\tc");
        assert_eq!(name("a\nb é"), "a\\nb é");
    }
}
