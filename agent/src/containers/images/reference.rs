//! An image's name as people write it, taken apart as the engine does.

/// Where names without a registry are.
const DOCKER_HUB: &str = "docker.io";
/// What answers there.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// A name taken apart: `registry.example.org:5000/team/app:1.2@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The registry, with its port.
    pub host: String,
    /// The name there: `team/app`.
    pub repository: String,
    pub tag: Option<String>,
    /// `sha256:…`
    pub digest: Option<String>,
}

impl Reference {
    /// Takes a name apart. Short names are completed as the engine does: `nginx` is `docker.io/library/nginx`.
    ///
    /// # Errors
    /// A sentence, where it is no name of an image.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!("{text:?} is no image's name: {what}; names look like registry.example.org/team/app:1.2")
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(wrong("what follows @ is no digest (sha256: and 64 hexadecimal digits)"));
        }
        let (name, tag) = match rest.rsplit_once(':') {
            // A colon before a slash belongs to the registry's port.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("the tag has characters that no tag has"));
        }
        let (host, repository) = match name.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest.to_owned()),
            Some(_) => (DOCKER_HUB, name.to_owned()),
            None => (DOCKER_HUB, format!("library/{name}")),
        };
        let host = if host == "index.docker.io" { DOCKER_HUB } else { host };
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if !host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') || !host.chars().all(fits) {
            return Err(wrong("what stands before the first slash is no host"));
        }
        if !repository.split('/').all(is_component) {
            return Err(wrong("a part between slashes is made of lower-case letters, digits and . _ - between them"));
        }
        let own = str::to_owned;
        Ok(Self { host: own(host), repository, tag: tag.map(own), digest: digest.map(own) })
    }

    /// The name without tag and digest, as patterns are compared with it: `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// The tag, or the one that stands for none.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }

    /// The name with a digest alone.
    pub fn at(&self, digest: &str) -> String {
        format!("{}@{digest}", self.name())
    }

    /// Scheme and host of the registry's API. The engine, too, speaks without TLS to this host alone.
    pub fn api(&self, has_tls: bool) -> String {
        let host = if self.host == DOCKER_HUB { DOCKER_HUB_API } else { self.host.as_str() };
        let scheme = if is_loopback(host) && !has_tls { "http" } else { "https" };
        format!("{scheme}://{host}")
    }

    /// The key of its registry in `~/.docker/config.json`.
    pub fn login_key(&self) -> &str {
        if self.host == DOCKER_HUB { "https://index.docker.io/v1/" } else { &self.host }
    }
}

/// Whether a `host` or `host:port` is this host.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `sha256:` and its digits.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

/// OCI distribution specification: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub fn is_tag(text: &str) -> bool {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    first && text.len() <= 128 && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

fn is_component(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(fits) && text.ends_with(fits) && text.chars().all(|c| fits(c) || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::Reference;

    fn parts(text: &str) -> (String, Option<String>, Option<String>) {
        let reference = Reference::parse(text).expect(text);
        (reference.name(), reference.tag, reference.digest)
    }

    #[test]
    fn names_are_taken_apart_and_completed_as_the_engine_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, name, tag) in [
            ("nginx", "docker.io/library/nginx", None),
            ("team/app:1.2", "docker.io/team/app", Some("1.2")),
            ("localhost:5000/app", "localhost:5000/app", None),
            ("localhost/app:x", "localhost/app", Some("x")),
            ("r.example/a/b/c:v_1", "r.example/a/b/c", Some("v_1")),
        ] {
            assert_eq!(parts(text), (name.into(), tag.map(str::to_owned), None), "{text}");
        }
        assert_eq!(parts(&format!("r.example/a:1@{digest}")), ("r.example/a".into(), Some("1".into()), Some(digest)));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for wrong in ["", "A", "r.example/", "a//b", "a:", "a:b c", "a@sha256:12", "a@md5:1", "a:-x", "-a", "../a"] {
            assert!(Reference::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_this_host_is_asked_without_tls() {
        let api = |text: &str| Reference::parse(text).expect(text).api(false);
        assert_eq!(api("127.0.0.1:5000/a"), "http://127.0.0.1:5000");
        assert_eq!(api("localhost/a"), "http://localhost");
        assert_eq!(api("10.0.0.1:5000/a"), "https://10.0.0.1:5000");
        assert_eq!(api("a"), "https://registry-1.docker.io");
        assert_eq!(Reference::parse("127.0.0.1:5000/a").expect("valid").api(true), "https://127.0.0.1:5000");
    }
}
