//! Names of families that are made from the kernel's own words.

/// What a name must not have becomes one underscore, together with the underscores beside it.
pub fn sanitized(name: &str) -> String {
    let is_fit = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find(|character| !is_fit(character)) {
        out.push_str(rest[..at].trim_end_matches('_'));
        out.push('_');
        rest = rest[at..].trim_start_matches(|character| !is_fit(character)).trim_start_matches('_');
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::sanitized;

    #[test]
    fn what_a_name_must_not_have_is_one_underscore() {
        for (name, want) in [
            ("package", "package"),
            ("a__b", "a__b"),
            ("dram-1", "dram_1"),
            ("a_-_b", "a_b"),
            ("a_-_: b", "a__b"),
            ("-x-", "_x_"),
            ("__é__", "_"),
            ("", ""),
        ] {
            assert_eq!(sanitized(name), want, "{name}");
        }
    }
}
