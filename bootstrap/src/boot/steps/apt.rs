use super::command::Run;
use super::configure::{Then, execute};
use super::own_mirrors::OwnMirrors;
use super::packages::apt_get;
use super::place::File;
use super::{Action, Context, Failure, Outcome, each};
use crate::boot::userdata::apt::{Apt, Key, Mirror, Source};
use crate::boot::web::has_login;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hostwright_core::atomic_file;
use serde::Serialize;
use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::time::Duration;

const PROXY: &str = "/etc/apt/apt.conf.d/90cloud-init-aptproxy";
const SETTINGS: &str = "/etc/apt/apt.conf.d/94cloud-init-config";
const PIPELINING: &str = "/etc/apt/apt.conf.d/90cloud-init-pipelining";
const TRUSTED: &str = "/etc/apt/trusted.gpg.d";
/// Keys of single sources, which `$KEY_FILE` names.
const OF_SOURCES: &str = "/etc/apt/cloud-init.gpg.d";
const KEY_SERVER: &str = "keyserver.ubuntu.com";
const DEADLINE: Duration = Duration::from_secs(60);

/// Where apt has packages from, and how.
#[derive(Serialize)]
pub struct ConfigureApt {
    apt: Apt,
    /// Where mirrors with well-known names are looked for.
    domain: String,
}

impl ConfigureApt {
    pub fn new(apt: &Apt, domain: &str) -> Self {
        Self { apt: apt.clone(), domain: domain.to_owned() }
    }
}

impl Action for ConfigureApt {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        if context.host.program("apt-get").is_none() {
            return Ok(Outcome::Skipped("there is no apt here".into()));
        }
        self.write_settings(context)?;
        if !self.apt.selections.is_empty() {
            let then = Then::run(&["debconf-set-selections"]).reading(self.apt.selections.join("\n") + "\n");
            execute(context, "apt", &then)?;
        }
        let words = self.words(context);
        if self.apt.changes_lists() {
            for (name, mirrors) in [("primary", &self.apt.primary), ("security", &self.apt.security)] {
                for mirror in mirrors.iter().filter(|mirror| mirror.key.is_given()) {
                    write_key(context, &mirror.key, TRUSTED, name)?;
                }
            }
            self.write_lists(context, &words)?;
        }
        each(&self.apt.sources, |source| source.name.clone(), |source| self.write_source(context, source, &words))?;
        if !self.apt.sources.is_empty() {
            apt_get(context, &["update"])?;
        }
        Ok(Outcome::Done)
    }
}

/// What stands for `$NAME` in lines.
type Words = Vec<(&'static str, String)>;

impl ConfigureApt {
    fn write_settings(&self, context: &Context<'_>) -> Result<(), Failure> {
        let Apt { proxies, settings, pipelining, .. } = &self.apt;
        if !proxies.is_empty() {
            let lines: String =
                proxies.iter().map(|(name, url)| format!("Acquire::{name}::Proxy \"{url}\";\n")).collect();
            // A proxy's address may hold a password; apt reads its lists as another user but its settings as root.
            File::new(PROXY, lines.as_bytes(), 0o600).place_if_changed(context)?;
        }
        if let Some(text) = settings {
            File::new(SETTINGS, text.as_bytes(), 0o644).place_if_changed(context)?;
        }
        if let Some(depth) = pipelining {
            let text = format!(
                "// Written by hostwright-bootstrap from the user-data.\nAcquire::http::Pipeline-Depth \"{depth}\";\n"
            );
            File::new(PIPELINING, text.as_bytes(), 0o644).place_if_changed(context)?;
        }
        Ok(())
    }

    /// Mirrors are those that the user-data names, else those that the image has. A word that nobody knows is left out.
    fn words(&self, context: &Context<'_>) -> Words {
        let arch = architecture();
        let id = context.host.distribution();
        let own = OwnMirrors::of(context.host);
        let named = self.mirror(&self.apt.primary, arch, &format!("{id}-mirror"), &id);
        let security = self.mirror(&self.apt.security, arch, &format!("{id}-security-mirror"), &id);
        let security = security.or_else(|| named.clone()).or(own.security);
        let primary = named.or(own.primary);
        let release = context.host.codename().unwrap_or_else(|| "stable".to_owned());
        let words =
            [("RELEASE", Some(release)), ("MIRROR", primary.clone()), ("PRIMARY", primary), ("SECURITY", security)];
        words.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The mirror for this architecture: the one that is named, or the first whose host has an address.
    fn mirror(&self, mirrors: &[Mirror], arch: &str, name: &str, id: &str) -> Option<String> {
        let of = |arch: &str| mirrors.iter().find(|mirror| mirror.arches.iter().any(|one| one == arch));
        let mirror = of(arch).or_else(|| of("default"))?;
        let mut candidates = mirror.search.clone();
        if mirror.search_dns {
            let domains = [format!(".{}", self.domain), ".localdomain".to_owned(), String::new()];
            candidates.extend(
                domains.iter().filter(|domain| *domain != ".").map(|domain| format!("http://{name}{domain}/{id}")),
            );
        }
        mirror.uri.clone().or_else(|| candidates.into_iter().find(|url| has_address(url)))
    }

    /// The distribution's own lists: anew where mirrors or a text are given, else as they are, without suites that are
    /// not wanted.
    fn write_lists(&self, context: &Context<'_>, words: &Words) -> Result<(), Failure> {
        const LIST: &str = "/etc/apt/sources.list";
        let host = context.host;
        let own = format!("/etc/apt/sources.list.d/{}.sources", host.distribution());
        let text = match &self.apt.list {
            Some(text) => complete(filled(text, words))?,
            None if self.apt.primary.is_empty() && self.apt.security.is_empty() => {
                for path in [LIST, own.as_str()] {
                    if let Ok(text) = std::fs::read_to_string(host.path(path)) {
                        let text = self.without_suites(&text, words);
                        File::new(path, text.as_bytes(), mode_of(&text)).place_if_changed(context)?;
                    }
                }
                return Ok(());
            }
            None => complete(filled(template(&host.distribution()), words))?,
        };
        let text = self.without_suites(&text, words);
        let in_new_form = text.lines().any(|line| line.starts_with("Types:"));
        let (used, unused) = if in_new_form { (own.as_str(), LIST) } else { (LIST, own.as_str()) };
        File::new(used, text.as_bytes(), mode_of(&text)).place_if_changed(context)?;
        if host.path(unused).exists() {
            let note = format!("# See {used}, which hostwright-bootstrap wrote from the user-data.\n");
            File::new(unused, note.as_bytes(), 0o644).place_if_changed(context)?;
        }
        Ok(())
    }

    fn without_suites(&self, text: &str, words: &Words) -> String {
        let full = |suite: &String| match suite.as_str() {
            "release" => "$RELEASE".to_owned(),
            "updates" | "backports" | "security" | "proposed" => format!("$RELEASE-{suite}"),
            _ => suite.clone(),
        };
        let suites: Vec<_> = self.apt.disabled_suites.iter().map(|suite| filled(&full(suite), words)).collect();
        let mut after = String::new();
        for line in text.split_inclusive('\n') {
            let in_new_form = line.strip_prefix("Suites:");
            if let Some(listed) = in_new_form {
                let kept: Vec<_> =
                    listed.split_whitespace().filter(|suite| !suites.iter().any(|gone| gone == suite)).collect();
                // An entry without suites is an error for apt.
                let entry = if kept.is_empty() {
                    "Enabled: no\n".to_owned() + line
                } else {
                    format!("Suites: {}\n", kept.join(" "))
                };
                after.push_str(&entry);
            } else if suite_of(line).is_some_and(|suite| suites.iter().any(|gone| gone == suite)) {
                after.push_str(&format!("# suite disabled by hostwright-bootstrap: {line}"));
            } else {
                after.push_str(line);
            }
        }
        after
    }

    fn write_source(&self, context: &Context<'_>, source: &Source, words: &Words) -> Result<(), Failure> {
        let mut words = words.clone();
        let wants_key_file = source.line.as_ref().is_some_and(|line| line.contains("KEY_FILE"));
        if source.key.is_given() {
            let folder = if wants_key_file { OF_SOURCES } else { TRUSTED };
            let name = source.file.as_deref().unwrap_or(&source.name);
            words.push(("KEY_FILE", write_key(context, &source.key, folder, name)?));
        }
        let Some(line) = &source.line else { return Ok(()) };
        let line = complete(filled(line, &words))?;
        if self.is_for_add_apt_repository(&line) {
            let mut command = context.host.command("add-apt-repository");
            command.args(["--no-update", "--yes", &line]);
            return Run { deadline: Some(DEADLINE), ..Run::new("apt", command) }.succeed(context);
        }
        let name = source.file.as_deref().unwrap_or(&source.name);
        let end = if name.ends_with(".list") || name.ends_with(".sources") { "" } else { ".list" };
        let path =
            if name.starts_with('/') { format!("{name}{end}") } else { format!("/etc/apt/sources.list.d/{name}{end}") };
        let before = if source.append {
            std::fs::read_to_string(context.host.path(&path)).unwrap_or_default()
        } else {
            String::new()
        };
        if before.contains(&line) {
            return Ok(());
        }
        let path_of = Path::new(&path);
        let content = format!("{before}{line}\n");
        File { path: path_of, content: content.as_bytes(), mode: mode_of(&content), owner: (None, None) }.place(context)
    }

    /// By cloud-init's own pattern unless another is given: `ppa:name`.
    fn is_for_add_apt_repository(&self, line: &str) -> bool {
        match &self.apt.repository_match {
            Some(pattern) => regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(line)),
            None => line.split_once(':').is_some_and(|(start, rest)| {
                let word = |c: char| c.is_alphanumeric() || c == '_';
                !start.is_empty() && start.chars().all(|c| word(c) || c == '-') && rest.starts_with(word)
            }),
        }
    }
}

/// The third word of a line, or the one after its options in brackets.
fn suite_of(line: &str) -> Option<&str> {
    if line.starts_with('#') {
        return None;
    }
    let mut words = line.split_whitespace().skip(1).peekable();
    if words.peek()?.starts_with('[') {
        words.find(|word| word.ends_with(']'))?;
    }
    words.nth(1)
}

fn has_address(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    (host, 80).to_socket_addrs().is_ok_and(|mut addresses| addresses.next().is_some())
}

/// Debian's name of it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        "arm" => "armhf",
        "powerpc64" => "ppc64el",
        other => other,
    }
}

/// `$NAME` and `${NAME}` replaced; other words stay.
fn filled(text: &str, words: &Words) -> String {
    words.iter().fold(text.to_owned(), |text, (name, value)| {
        let lower = name.to_ascii_lowercase();
        // The forms of cloud-init's own templates beside those of its documentation.
        let forms = [format!("${{{name}}}"), format!("${name}"), format!("{{{{{name}}}}}"), format!("{{{{{lower}}}}}")];
        forms.iter().fold(text, |text, form| text.replace(form.as_str(), value))
    })
}

/// Refuses what still has a word for a mirror in it.
fn complete(text: String) -> Result<String, Failure> {
    let open =
        ["MIRROR", "PRIMARY", "SECURITY"].into_iter().find(|name| filled(&text, &vec![(name, String::new())]) != text);
    match open {
        None => Ok(text),
        Some(name) => Err(Failure::new(
            format!("no mirror is known for ${name}: the image's own lists have none"),
            "name one by apt: {primary: [{arches: [default], uri: …}]}",
        )),
    }
}

fn template(distribution: &str) -> &'static str {
    match distribution {
        "ubuntu" => {
            "deb $PRIMARY $RELEASE main restricted universe multiverse\n\
             deb $PRIMARY $RELEASE-updates main restricted universe multiverse\n\
             deb $PRIMARY $RELEASE-backports main restricted universe multiverse\n\
             deb $SECURITY $RELEASE-security main restricted universe multiverse\n"
        }
        _ => {
            "deb $PRIMARY $RELEASE main\ndeb $PRIMARY $RELEASE-updates main\n\
             deb $PRIMARY $RELEASE-backports main\ndeb $SECURITY $RELEASE-security main\n"
        }
    }
}

/// Writes a key where apt looks for it, and gives its path.
fn write_key(context: &Context<'_>, key: &Key, folder: &str, name: &str) -> Result<String, Failure> {
    let text = match (&key.text, &key.id) {
        (Some(text), _) => text.clone(),
        (None, Some(id)) => fetch_key(context, id, key.server.as_deref().unwrap_or(KEY_SERVER))?,
        (None, None) => String::new(),
    };
    let content = dearmored(&text).ok_or_else(|| {
        Failure::new(
            "the key is no PGP public key in text form",
            "give all of it, from -----BEGIN PGP PUBLIC KEY BLOCK----- on",
        )
    })?;
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let path = format!("{folder}/{stem}.gpg");
    File::new(&path, &content, 0o644).place_if_changed(context)?;
    Ok(path)
}

/// By gpg, with a keyring that is thrown away.
fn fetch_key(context: &Context<'_>, id: &str, server: &str) -> Result<String, Failure> {
    let script = r#"set -e; umask 077; home=$(mktemp -d); trap 'gpgconf --homedir "$home" --kill all 2>/dev/null; rm -rf "$home"' EXIT
gpg --homedir "$home" --batch --no-tty --keyserver "$2" --recv-keys "$1"; gpg --homedir "$home" --batch --armour --export "$1" >"$3""#;
    let key = context.folder.join("apt-key.asc");
    let _ = std::fs::remove_file(&key); // that it is not there is as good
    let id: String = id.chars().filter(|c| !c.is_whitespace()).collect();
    let mut command = context.host.command("/bin/sh");
    command.args(["-c", script, "sh", &id, server]).arg(context.host.inside(&key));
    Run { deadline: Some(DEADLINE), ..Run::new("apt", command) }.succeed(context).map_err(|failure| {
        Failure::new(
            failure.why,
            "fetching by keyid needs gpg and dirmngr and the key server; give the key itself under key: instead",
        )
    })?;
    let text = std::fs::read_to_string(&key).map_err(|e| Failure::io("read a key that was fetched", &e))?;
    let _ = atomic_file::remove_unfinished(&key);
    let _ = std::fs::remove_file(&key); // a public key: no harm where it stays
    Ok(text)
}

/// Binary from armour (RFC 4880, 6.2): headers, an empty line, base64, a checksum. Several blocks are put together.
fn dearmored(text: &str) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    for block in text.split("-----BEGIN PGP PUBLIC KEY BLOCK-----").skip(1) {
        let body = block.split("-----END").next()?;
        let mut lines = body.lines().map(str::trim).skip_while(|line| line.is_empty()).peekable();
        if lines.peek().is_some_and(|line| line.contains(": ")) {
            lines.find(|line| line.is_empty())?;
        }
        let packed: String = lines.filter(|line| !line.starts_with('=')).collect();
        content.extend(BASE64_STANDARD.decode(packed).ok()?);
    }
    (!content.is_empty()).then_some(content)
}

/// Passwords of archives are for root alone; what others ask apt is then answered without these archives.
fn mode_of(sources: &str) -> u32 {
    if has_login(sources) { 0o600 } else { 0o644 }
}

#[cfg(test)]
mod tests {
    use super::{ConfigureApt, complete, dearmored, filled};
    use crate::boot::userdata;

    fn configured(text: &str) -> ConfigureApt {
        let config = userdata::read(format!("#cloud-config\n{text}").as_bytes()).config;
        ConfigureApt::new(&config.apt.expect("apt"), "")
    }

    #[test]
    fn suites_are_disabled_in_either_form_of_a_list() {
        let apt = configured("apt: {disable_suites: [updates, $RELEASE-security]}\n");
        let words = vec![("RELEASE", "bookworm".to_owned())];
        let old = "deb http://x bookworm main\ndeb [arch=amd64 a=b] http://x bookworm-updates main\n# deb http://x bookworm-updates\n";
        let after = apt.without_suites(old, &words);
        assert!(after.contains("\n# suite disabled by hostwright-bootstrap: deb [arch=amd64"), "{after}");
        assert_eq!(after.matches("disabled by").count(), 1);
        let new = "Types: deb\nSuites: bookworm bookworm-updates\n\nTypes: deb\nSuites: bookworm-security\n";
        assert_eq!(
            apt.without_suites(new, &words),
            "Types: deb\nSuites: bookworm\n\nTypes: deb\nEnabled: no\nSuites: bookworm-security\n"
        );
    }

    #[test]
    fn what_add_apt_repository_takes_is_told_from_lines() {
        let apt = configured("apt: {sources: {}, conf: x}\n");
        assert!(apt.is_for_add_apt_repository("ppa:a/b") && apt.is_for_add_apt_repository("cloud-archive:x"));
        assert!(!apt.is_for_add_apt_repository("deb http://x bookworm main"));
        let own = configured("apt: {add_apt_repo_match: '^deb'}\n");
        assert!(own.is_for_add_apt_repository("deb http://x bookworm main"));
    }

    #[test]
    fn a_line_whose_mirror_nobody_knows_is_refused() {
        let refused = complete("deb $MIRROR bookworm main".into()).expect_err("no mirror");
        assert!(refused.why.contains("$MIRROR") && refused.remedy.contains("primary"), "{refused:?}");
        assert!(complete("deb http://x bookworm main".into()).is_ok());
    }

    #[test]
    fn words_are_filled_in_and_keys_lose_their_armour() {
        let words = vec![("RELEASE", "bookworm".to_owned()), ("KEY_FILE", "/k".to_owned())];
        assert_eq!(
            filled("deb [signed-by=$KEY_FILE] x ${RELEASE} $OTHER", &words),
            "deb [signed-by=/k] x bookworm $OTHER"
        );
        let key = "\n-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: X: y\n\naGVs\nbG8=\n=AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(dearmored(key).as_deref(), Some(&b"hello"[..]));
        assert_eq!(dearmored("hello"), None);
    }
}
