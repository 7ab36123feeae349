use super::values::{Flag, Text};
use hostwright_core::config::section::Section;
use serde::Serialize;

/// `ntp:`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ntp {
    /// `ntp_client:`; nothing for the host's own.
    pub client: Option<String>,
    /// `servers:`
    pub servers: Vec<String>,
    /// `pools:`
    pub pools: Vec<String>,
    /// `peers:`
    pub peers: Vec<String>,
    /// `allow:`, networks that may ask this host.
    pub allow: Vec<String>,
    /// `config:`
    pub own: OwnClient,
}

/// `config:` of `ntp:`, by which a client is described or changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OwnClient {
    /// Its file.
    pub path: Option<String>,
    /// The program by which it is known to be installed.
    pub program: Option<String>,
    /// Its packages.
    pub packages: Option<Vec<String>>,
    /// Its unit.
    pub service: Option<String>,
    /// The text of its file, a template.
    pub template: Option<String>,
}

/// The clients that are known without `config:`.
pub const CLIENTS: [&str; 6] = ["chrony", "ntp", "ntpsec", "ntpdate", "openntpd", "systemd-timesyncd"];

impl Ntp {
    /// Reads the top-level key; nothing where it is off.
    pub fn read(root: &mut Section<'_>) -> Option<Self> {
        // An empty `ntp:` wants the defaults.
        root.section("ntp", ntp)
    }
}

fn ntp(mut section: Section<'_>) -> Option<Ntp> {
    let mut list = |key| section.list::<String>(key).unwrap_or_default();
    let [servers, pools, peers, allow] = ["servers", "pools", "peers", "allow"].map(&mut list);
    let enabled = section.or("enabled", Flag(true)).0;
    let client =
        section.optional::<Text>("ntp_client").map(|text| text.0).filter(|text| text != "auto" && !text.is_empty());
    let own = section.section("config", |section| Some(own(section))).unwrap_or_default();
    let is_known = client.as_ref().is_none_or(|client| CLIENTS.contains(&client.as_str()));
    if !is_known && (own.path.is_none() || own.template.is_none()) {
        section.problem_with(
            "ntp_client",
            &format!(
                "this is none of {}; another one needs config: {{confpath, template, service_name}}",
                CLIENTS.join(", ")
            ),
        );
    }
    for (key, hosts) in [("servers", &servers), ("pools", &pools), ("peers", &peers), ("allow", &allow)] {
        if let Some(odd) = hosts.iter().find(|host| host.contains(char::is_whitespace)) {
            section.problem_with(key, &format!("{odd:?} is no host"));
        }
    }
    section.finish();
    enabled.then_some(Ntp { client, servers, pools, peers, allow, own })
}

fn own(mut section: Section<'_>) -> OwnClient {
    let own = OwnClient {
        path: section
            .optional::<hostwright_core::config::values::AbsolutePath>("confpath")
            .map(|path| path.0.display().to_string()),
        program: section.optional("check_exe"),
        packages: section.list("packages"),
        service: section.optional("service_name"),
        template: section.optional::<Text>("template").map(|text| text.0).filter(|text| !text.is_empty()),
    };
    section.finish();
    own
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn an_empty_section_wants_the_defaults_and_one_that_is_off_nothing() {
        assert!(read(b"#cloud-config\nntp:\n").config.ntp.is_some());
        assert!(read(b"#cloud-config\nntp: {enabled: false, servers: [a]}\n").config.ntp.is_none());
        let user_data = read(
            b"#cloud-config\nntp:\n  ntp_client: my\n  servers: [a.example]\n  pools: [p]\n  allow: [10.0.0.0/8]\n  config: {confpath: /etc/my, check_exe: my, packages: [my], service_name: my, template: '## template:jinja'}\n",
        );
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        assert_eq!(user_data.config.ntp.expect("ntp").own.service.as_deref(), Some("my"));
        assert_eq!(read(b"#cloud-config\nntp: {ntp_client: my, servers: ['a b']}\n").findings.errors.len(), 2);
    }
}
