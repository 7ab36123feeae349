use crate::logs::record::json::{self, Piece};
use hostwright_core::config::logs::filter::Secret;
use regex::Regex;
use std::borrow::Cow;

/// What stands in a secret's place.
const REDACTED: &str = "[redacted]";

/// Tokens by their form. A group `secret` is what is replaced; without one it is the whole.
const TOKENS: [&str; 4] = [
    // What issuers made recognisable: JWT, AWS, GitHub, GitLab, Slack, Stripe, Google; and private keys.
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_\w{36,}|\bgithub_pat_\w{22,}|\bglpat-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}|\b[rs]k_(?:live|test)_\w{16,}|\bAIza[\w-]{35}|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
    r"(?i)\b(?:bearer|basic|token)\s+(?P<secret>[\w.~+/=-]{8,})",
    r"://[^/\s:@]*:(?P<secret>[^/\s@]+)@",
    r#"(?i)(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|authorization)\\?["']?\s*[=:]\s*\\?["']?(?P<secret>[^\s"'&,;\\]+)"#,
];
/// Names of fields whose values are secrets, without case and separators.
const NAMES: [&str; 14] = [
    "password",
    "passwd",
    "pwd",
    "secret",
    "clientsecret",
    "token",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "apikey",
    "secretkey",
    "privatekey",
    "authorization",
    "passphrase",
];
/// In every name that tells, whatever its case and separators.
const TELLING: &str = r"(?i)pass|pwd|secret|token|api\W?_?key|private\W?_?key|authorization";
/// Thirteen to nineteen digits, perhaps in groups.
const CARD: &str = r"(?-u:\b)[0-9](?:[ -]?[0-9]){12,18}(?-u:\b)";
const EMAIL: &str = r"[\w.%+-]+@[[:alnum:]](?:[[:alnum:]-]*[[:alnum:]])?(?:\.[[:alnum:]-]+)*\.[[:alpha:]]{2,}";

/// Replaces what should not leave the host.
#[derive(Debug)]
pub struct Redaction {
    patterns: Vec<Pattern>,
    /// The values of fields with telling names too.
    by_name: bool,
    /// What there is in every text that has a secret; none if an operator's expression is among the patterns, which may
    /// mean a string's beginning or end.
    signs: Option<Vec<Regex>>,
}

#[derive(Debug)]
struct Pattern {
    regex: Regex,
    /// The number of the group `secret`, or 0 for the whole.
    group: usize,
    is_secret: fn(&str) -> bool,
}

impl Pattern {
    fn new(text: &str, is_secret: fn(&str) -> bool) -> Result<Self, regex::Error> {
        let regex = Regex::new(text)?;
        let group = regex.capture_names().position(|name| name == Some("secret")).unwrap_or(0);
        Ok(Self { regex, group, is_secret })
    }

    /// The text with its secrets replaced; none if there are none.
    fn replaced(&self, text: &str) -> Option<String> {
        if !self.regex.is_match(text) {
            return None;
        }
        let (mut out, mut end) = (String::new(), 0);
        for found in self.regex.captures_iter(text) {
            if let Some(secret) = found.get(self.group)
                && secret.as_str() != REDACTED
                && (self.is_secret)(secret.as_str())
            {
                out.push_str(&text[end..secret.start()]);
                out.push_str(REDACTED);
                end = secret.end();
            }
        }
        (end > 0).then(|| out + &text[end..])
    }
}

impl Redaction {
    /// # Errors
    /// A regular expression is not valid.
    pub fn new(secrets: &[Secret]) -> Result<Self, regex::Error> {
        let mut patterns = Vec::new();
        for secret in secrets {
            match secret {
                Secret::Tokens => {
                    for token in TOKENS {
                        patterns.push(Pattern::new(token, |_| true)?);
                    }
                }
                Secret::CardNumbers => patterns.push(Pattern::new(CARD, is_card_number)?),
                Secret::Emails => patterns.push(Pattern::new(EMAIL, |_| true)?),
                Secret::Pattern(pattern) => patterns.push(Pattern::new(pattern.as_str(), |_| true)?),
            }
        }
        let by_name = secrets.contains(&Secret::Tokens);
        let is_own = secrets.iter().all(|secret| !matches!(secret, Secret::Pattern(_)));
        let signs = is_own.then(|| {
            let telling = by_name.then(|| Regex::new(TELLING));
            patterns.iter().map(|pattern| Ok(pattern.regex.clone())).chain(telling).collect::<Result<_, _>>()
        });
        Ok(Self { patterns, by_name, signs: signs.transpose()? })
    }

    /// Appends the text without its secrets. A JSON text stays one.
    pub fn push(&self, text: &str, is_object: bool, out: &mut String) {
        if !is_object {
            out.push_str(&self.of_text(text));
            return;
        }
        if self.is_surely_clean(text) {
            return out.push_str(text);
        }
        let mut is_secret = false;
        json::pieces(text, |piece| match piece {
            Piece::String(content, is_name) => {
                out.push('"');
                if is_secret && !is_name {
                    out.push_str(REDACTED);
                } else {
                    self.push_content(content, out);
                }
                out.push('"');
                is_secret = is_name && self.by_name && is_telling(content);
            }
            Piece::Number(number) => {
                if is_secret || matches!(self.of_text(number), Cow::Owned(_)) {
                    out.extend(["\"", REDACTED, "\""]);
                } else {
                    out.push_str(number);
                }
                is_secret = false;
            }
            Piece::Other(other) => {
                out.push_str(other);
                is_secret &= other.trim_ascii() == ":";
            }
        });
    }

    /// Whether no string of the text has a secret: each of our own patterns that is in a string is in the text too, as
    /// long as nothing is escaped. Most records are done with at this.
    fn is_surely_clean(&self, text: &str) -> bool {
        let Some(signs) = &self.signs else { return false };
        !text.contains('\\') && !signs.iter().any(|sign| sign.is_match(text))
    }

    /// Appends the content of a JSON string.
    fn push_content(&self, content: &str, out: &mut String) {
        let plain = if content.contains('\\') {
            let mut plain = String::new();
            json::unescape(content, &mut plain);
            Cow::Owned(plain)
        } else {
            Cow::Borrowed(content)
        };
        match self.of_text(&plain) {
            Cow::Borrowed(_) => out.push_str(content),
            Cow::Owned(redacted) => json::push_content(&redacted, out),
        }
    }

    /// Owned if something was replaced.
    fn of_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for pattern in &self.patterns {
            if let Some(replaced) = pattern.replaced(&text) {
                text = Cow::Owned(replaced);
            }
        }
        text
    }
}

fn is_telling(name: &str) -> bool {
    let plain = name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    NAMES.iter().any(|telling| plain.clone().eq(telling.bytes()))
}

/// By the issuers' ranges (ISO/IEC 7812) with their lengths, and the check digit. One in ten numbers has a check digit
/// that fits, so without the ranges milliseconds since 1970 would be cards.
fn is_card_number(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let first = |count: usize| digits[..count].iter().fold(0, |number, digit| number * 10 + digit);
    let is_issued = matches!(
        (digits.len(), first(1), first(2), first(4)),
        (13 | 16 | 19, 4, _, _)
            | (16, _, 51..=55 | 35 | 60 | 64 | 65, _)
            | (16, _, _, 2221..=2720)
            | (16..=19, _, 62, _)
            | (15, _, 34 | 37, _)
            | (14, _, 30 | 36 | 38 | 39, _)
            | (13..=19, _, 50 | 56..=59 | 63 | 67, _)
    );
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { *digit })
        .sum();
    is_issued && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::{REDACTED, Redaction, Secret};

    fn redacted(secrets: &[Secret], text: &str) -> String {
        let mut out = String::new();
        Redaction::new(secrets).expect("valid").push(text, text.starts_with('{'), &mut out);
        out
    }

    #[test]
    fn tokens_are_found_by_their_form_and_by_their_name() {
        for (text, expected) in [
            ("Authorization: Bearer abcdefgh.ijkl rest", "Authorization: [redacted] [redacted] rest"),
            (
                "get https://user:pa55@host/x?api_key=abc&b=1",
                "get https://user:[redacted]@host/x?api_key=[redacted]&b=1",
            ),
            ("key AKIAIOSFODNN7EXAMPLE.", "key [redacted]."),
            ("DB_PASSWORD=hunter2 x", "DB_PASSWORD=[redacted] x"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-_d ok", "jwt [redacted] ok"),
            ("the password was wrong, tokens are counted", "the password was wrong, tokens are counted"),
        ] {
            assert_eq!(redacted(&[Secret::Tokens], text), expected);
        }
        assert_eq!(
            redacted(
                &[Secret::Tokens],
                r#"{"Access-Token":"x","pwd":12,"a":{"password" : "y"},"token":null,"b":"token"}"#
            ),
            r#"{"Access-Token":"[redacted]","pwd":"[redacted]","a":{"password" : "[redacted]"},"token":null,"b":"token"}"#
        );
    }

    #[test]
    fn card_numbers_are_told_from_other_numbers_by_range_and_check_digit() {
        let cards = [Secret::CardNumbers];
        for card in
            ["4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "30569309025904"]
        {
            assert_eq!(redacted(&cards, &format!("card {card}.")), "card [redacted].", "{card}");
        }
        for other in
            ["4111111111111112", "1795169472125", "1234567890123452", "2026-11-20 10:11:12.123456", "0000000000000000"]
        {
            assert_eq!(redacted(&cards, other), other);
        }
        assert_eq!(
            redacted(&cards, r#"{"n":4111111111111111,"t":1795169472125,"s":"4111111111111111"}"#),
            r#"{"n":"[redacted]","t":1795169472125,"s":"[redacted]"}"#
        );
    }

    #[test]
    fn what_is_written_with_escapes_is_found_and_json_stays_json() {
        assert_eq!(
            redacted(&[Secret::Emails], r#"{"m":"a\n\"b\u0040example.org\" c","\u0061@b.io":"d\\e"}"#),
            r#"{"m":"a\n\"[redacted]\" c","[redacted]":"d\\e"}"#
        );
        assert_eq!(redacted(&[Secret::Emails], "to b.c+d@mail.example.org, e@f"), "to [redacted], e@f");
    }

    #[test]
    fn every_telling_name_is_a_sign() {
        for name in super::NAMES {
            let spelled = name.replace("key", "-KEY").replace("token", "_Token");
            let text = format!(r#"{{"{spelled}":"x"}}"#);
            assert_eq!(redacted(&[Secret::Tokens], &text), format!(r#"{{"{spelled}":"[redacted]"}}"#));
        }
    }

    #[test]
    fn random_objects_stay_json_and_keep_no_secret() {
        let mut random = fastrand::Rng::with_seed(9);
        let parts =
            ["a@b.org", "4111111111111111", "\"", "\\", "\n", " ", "é", "x", "password=q1w2e3", "{", "}", ":", ","];
        let all = [Secret::Tokens, Secret::CardNumbers, Secret::Emails];
        let redaction = Redaction::new(&all).expect("valid");
        for _ in 0..5000 {
            let mut string = || (0..random.usize(..5)).map(|_| parts[random.usize(..parts.len())]).collect::<String>();
            let value = serde_json::json!({string(): string(), "n": [1, -2.5e3, {string(): null}], "m": string()});
            let mut out = String::new();
            redaction.push(&value.to_string(), true, &mut out);
            serde_json::from_str::<serde_json::Value>(&out).unwrap_or_else(|error| panic!("{value} {out}: {error}"));
            assert!(!out.contains("a@b.org") && !out.contains("q1w2e3"), "{value} {out}");
            if value.to_string().contains("a@b.org") {
                assert!(out.contains(REDACTED), "{out}");
            }
        }
    }
}
