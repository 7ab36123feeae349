use super::place::File;
use super::{Action, Context, Failure, Outcome};
use crate::boot::datasource::Metadata;
use crate::boot::userdata::names::{ManageHosts, Names, is_host_name};
use serde::Serialize;
use std::net::Ipv4Addr;

/// What the host is called.
#[derive(Clone, Serialize)]
pub struct SetHostName {
    /// For the kernel and `/etc/hostname`.
    name: String,
    pub(super) short: String,
    pub(super) fqdn: String,
    keep_away_from_the_file: bool,
}

impl SetHostName {
    /// The user-data's name, else the cloud's; nothing where neither says. Of a distribution it depends whether the
    /// name has its domain.
    pub fn new(names: &Names, metadata: &Metadata, prefers_fqdn: bool) -> Option<Self> {
        // A cloud that knows the address alone: as with cloud-init a name is made of it.
        let named = |name: String| match name.parse::<Ipv4Addr>() {
            Ok(_) => format!("ip-{}", name.replace('.', "-")),
            Err(_) => name,
        };
        let from_cloud = || metadata.local_hostname.clone().filter(|name| is_host_name(name)).map(named);
        let fqdn = names.fqdn.clone().or_else(|| names.hostname.clone()).or_else(from_cloud)?;
        let short = match (&names.hostname, &names.fqdn) {
            (Some(hostname), Some(_)) => hostname.clone(),
            _ => fqdn.split('.').next().unwrap_or(&fqdn).to_owned(),
        };
        let name = if names.prefer_fqdn.unwrap_or(prefers_fqdn) { fqdn.clone() } else { short.clone() };
        Some(Self { name, short, fqdn, keep_away_from_the_file: names.keep_away_from_the_file })
    }
}

impl Action for SetHostName {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let content = format!("{}\n", self.name);
        if !self.keep_away_from_the_file || context.host.path("/etc/hostname").exists() {
            File::new("/etc/hostname", content.as_bytes(), 0o644).place_if_changed(context)?;
        }
        if context.host.is_this_machine() {
            nix::unistd::sethostname(&self.name).map_err(|e| Failure::io("set the host name", &e.into()))?;
        }
        Ok(Outcome::Done)
    }
}

/// `/etc/hosts`
#[derive(Serialize)]
pub struct EtcHosts {
    line: String,
    whole: bool,
}

impl EtcHosts {
    pub fn new(name: &SetHostName, manage: ManageHosts) -> Self {
        let mut line = format!("127.0.1.1 {}", name.fqdn);
        if name.short != name.fqdn {
            line.push(' ');
            line.push_str(&name.short);
        }
        Self { line, whole: manage == ManageHosts::Whole }
    }

    fn content(&self, before: &str) -> String {
        if self.whole {
            return format!(
                "# Written by hostwright-bootstrap at each boot, because the user-data has manage_etc_hosts: true.\n\
                 {}\n127.0.0.1 localhost\n\n::1 localhost ip6-localhost ip6-loopback\n\
                 ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n",
                self.line
            );
        }
        let is_ours = |line: &&str| line.split_whitespace().next() == Some("127.0.1.1");
        let others = before.lines().filter(|line| !is_ours(line)).map(|line| format!("{line}\n"));
        std::iter::once(format!("{}\n", self.line)).chain(others).collect()
    }
}

impl Action for EtcHosts {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let before = std::fs::read(context.host.path("/etc/hosts")).unwrap_or_default();
        let content = self.content(&String::from_utf8_lossy(&before));
        File::new("/etc/hosts", content.as_bytes(), 0o644).place_if_changed(context)?;
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::{EtcHosts, SetHostName};
    use crate::boot::datasource::Metadata;
    use crate::boot::userdata::names::{ManageHosts, Names};

    #[test]
    fn the_name_is_the_user_datas_else_the_clouds_and_has_no_domain_unless_wanted() {
        let metadata = Metadata { local_hostname: Some("vm-1.novalocal".into()), ..Metadata::default() };
        let said = |hostname: Option<&str>, fqdn: Option<&str>, prefer_fqdn| {
            let names = Names {
                hostname: hostname.map(Into::into),
                fqdn: fqdn.map(Into::into),
                prefer_fqdn: Some(prefer_fqdn),
                ..Names::default()
            };
            SetHostName::new(&names, &metadata, false).map(|set| (set.name, set.fqdn)).expect("a name")
        };
        assert_eq!(said(None, None, false), ("vm-1".into(), "vm-1.novalocal".into()));
        assert_eq!(said(Some("web"), Some("web.example.org"), false), ("web".into(), "web.example.org".into()));
        assert_eq!(said(None, Some("web.example.org"), true), ("web.example.org".into(), "web.example.org".into()));
        assert!(SetHostName::new(&Names::default(), &Metadata::default(), false).is_none());
        let metadata = Metadata { local_hostname: Some("10.0.0.7".into()), ..Metadata::default() };
        let name = SetHostName::new(&Names::default(), &metadata, false).map(|set| (set.name, set.fqdn));
        assert_eq!(name, Some(("ip-10-0-0-7".into(), "ip-10-0-0-7".into())));
    }

    #[test]
    fn localhost_keeps_the_lines_of_others() {
        let names = Names { hostname: Some("web".into()), ..Names::default() };
        let name = SetHostName::new(&names, &Metadata::default(), false).expect("a name");
        let hosts = EtcHosts::new(&name, ManageHosts::Localhost);
        let after = hosts.content("127.0.0.1 localhost\n127.0.1.1 old\n10.0.0.1 db\n");
        assert_eq!(after, "127.0.1.1 web\n127.0.0.1 localhost\n10.0.0.1 db\n");
        assert_eq!(hosts.content(&after), after);
    }
}
