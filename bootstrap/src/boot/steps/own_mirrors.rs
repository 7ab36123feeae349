use crate::boot::host::Host;

/// Where the image itself has its packages from: what stands in the distribution's own lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OwnMirrors {
    /// Of the release.
    pub primary: Option<String>,
    /// Of its security updates.
    pub security: Option<String>,
}

impl OwnMirrors {
    /// Reads the lists of a host; one that is not there has none.
    pub fn of(host: &Host) -> Self {
        let mut all = Self::default();
        for path in
            ["/etc/apt/sources.list".to_owned(), format!("/etc/apt/sources.list.d/{}.sources", host.distribution())]
        {
            all.add(&std::fs::read_to_string(host.path(&path)).unwrap_or_default());
        }
        all
    }

    /// Either form of a list (sources.list(5)); the first mirror of a kind counts.
    fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| line.starts_with("deb ")) {
            let mut words = line.split_whitespace().skip(1).peekable();
            if words.peek().is_some_and(|word| word.starts_with('[')) {
                words.find(|word| word.ends_with(']'));
            }
            if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
                self.note(uri, suite);
            }
        }
        for entry in text.split("\n\n").filter(|entry| entry.lines().any(|line| line.starts_with("Types:"))) {
            let first = |name: &str| entry.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next();
            if let (Some(uri), Some(suite)) = (first("URIs:"), first("Suites:")) {
                self.note(uri, suite);
            }
        }
    }

    fn note(&mut self, uri: &str, suite: &str) {
        let is_security = suite.ends_with("-security") || suite.ends_with("/updates");
        let kind = if is_security { &mut self.security } else { &mut self.primary };
        kind.get_or_insert_with(|| uri.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::OwnMirrors;

    #[test]
    fn the_mirrors_of_the_image_are_found_in_either_form_of_a_list() {
        let expected =
            OwnMirrors { primary: Some("http://a/debian".into()), security: Some("http://b/security".into()) };
        let old = "# deb http://no bookworm main\ndeb [arch=amd64 signed-by=/k] http://a/debian bookworm main\n\
                   deb http://other bookworm-updates main\ndeb http://b/security bookworm-security main\n";
        let new = "Types: deb deb-src\nURIs: http://a/debian\nSuites: bookworm bookworm-updates\n\n\
                   Types: deb\nURIs: http://b/security\nSuites: bookworm-security\n";
        for text in [old, new] {
            let mut found = OwnMirrors::default();
            found.add(text);
            assert_eq!(found, expected);
        }
    }
}
