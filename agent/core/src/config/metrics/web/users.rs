use crate::config::section::Section;
use crate::secret::Secret;
use std::collections::BTreeMap;

/// Costs that bcrypt knows.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;
/// Of salt and hash together.
const DIGITS: usize = 53;

/// Reads `basic_auth_users:`.
pub fn read(root: &mut Section<'_>) -> BTreeMap<String, Secret> {
    let Some(node) = root.node("basic_auth_users") else { return BTreeMap::new() };
    let Some(mapping) = node.mapping() else {
        let message = format!("expected a mapping of users to hashes, found {}", node.kind());
        root.problem_at(node.place, "basic_auth_users", &message);
        return BTreeMap::new();
    };
    let mut users = BTreeMap::new();
    for entry in &mapping.entries {
        match entry.value.text().filter(|text| is_hash(text)) {
            Some(hash) => {
                users.insert(entry.key.clone(), Secret::new(hash.to_owned()));
            }
            // What was found is not shown: it may be the password itself.
            None => root.problem_at(
                entry.value.place,
                &format!("basic_auth_users.{}", entry.key),
                "expected a password as bcrypt has hashed it, such as `htpasswd -nBC 10 \"\" | tr -d ':\\n'` writes it",
            ),
        }
    }
    users
}

/// `$2y$10$` and 53 digits of bcrypt's own base 64.
fn is_hash(text: &str) -> bool {
    let mut parts = text.split('$');
    let (Some(""), Some(version), Some(cost), Some(digits), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    ["2a", "2b", "2x", "2y"].contains(&version)
        && cost.len() == 2
        && cost.bytes().all(|byte| byte.is_ascii_digit())
        && cost.parse().is_ok_and(|cost| COSTS.contains(&cost))
        && digits.len() == DIGITS
        && digits.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::is_hash;

    #[test]
    fn hashes_are_told_from_passwords() {
        let digits = "X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";
        for start in ["$2y$10$", "$2a$04$", "$2b$31$"] {
            assert!(is_hash(&format!("{start}{digits}")), "{start}");
        }
        for start in ["$2y$03$", "$2y$32$", "$2y$1$", "$1$10$", "2y$10$", "$2y$+9$", ""] {
            assert!(!is_hash(&format!("{start}{digits}")), "{start}");
        }
        assert!(!is_hash(&format!("$2y$10${}", &digits[1..])) && !is_hash("secret"));
    }
}
