use super::configure::{Configure, Then};
use crate::boot::host::Host;
use crate::boot::userdata::certificates::Certificates;
use crate::boot::userdata::locale::{Keyboard, Locale};
use crate::boot::userdata::resolvers::Resolvers;
use crate::boot::userdata::yum::Yum;

const HEADER: &str = "# Written by hostwright-bootstrap from the user-data.\n";

/// `keyboard:`
pub fn keyboard(host: &Host, keyboard: &Keyboard) -> Configure {
    let Keyboard { layout, model, variant, options } = keyboard;
    if host.has_rpm() {
        let set = ["localectl", "set-x11-keymap", layout, model, variant, options];
        return Configure::new("keyboard").then(Then::run(&set));
    }
    let content = format!(
        "{HEADER}XKBMODEL=\"{model}\"\nXKBLAYOUT=\"{layout}\"\nXKBVARIANT=\"{variant}\"\nXKBOPTIONS=\"{options}\"\nBACKSPACE=\"guess\"\n"
    );
    let restart = ["systemctl", "--no-block", "try-restart", "keyboard-setup.service", "console-setup.service"];
    Configure::new("keyboard").file("/etc/default/keyboard", content, 0o644).then(Then::if_there(&restart))
}

/// `locale:`: made where the distribution makes locales, and the default from the next log-in on.
pub fn locale(host: &Host, locale: &Locale) -> Configure {
    let name = &locale.name;
    let default = if host.has_rpm() { "/etc/locale.conf" } else { "/etc/default/locale" };
    let path = locale.path.as_ref().map_or_else(|| default.to_owned(), |path| path.display().to_string());
    let configure = Configure::new("locale").file(path, format!("LANG={name}\n"), 0o644);
    let is_built_in = ["c", "posix", "c.utf-8", "c.utf8"].contains(&name.to_ascii_lowercase().as_str());
    if is_built_in || host.has_rpm() {
        return configure;
    }
    // Debian's and Ubuntu's: the line of the locale, and then all of them are made.
    let codeset = name.split_once('.').map_or("UTF-8", |(_, codeset)| codeset.split('@').next().unwrap_or(codeset));
    let list = std::fs::read_to_string(host.path("/etc/locale.gen")).unwrap_or_default();
    let line = format!("{name} {codeset}");
    let mut lines: String = list
        .lines()
        .filter(|other| other.trim_start_matches(['#', ' ']) != line)
        .map(|other| format!("{other}\n"))
        .collect();
    lines.push_str(&format!("{line}\n"));
    configure.file("/etc/locale.gen", lines, 0o644).then(Then::run(&["locale-gen"]))
}

/// `ca_certs:`
pub fn certificates(host: &Host, certificates: &Certificates) -> Configure {
    let rpm = host.has_rpm();
    let mut configure = Configure::new("certificates");
    if certificates.remove_defaults {
        configure = without_defaults(host, configure, rpm);
    }
    let folder = if rpm { "/etc/pki/ca-trust/source/anchors" } else { "/usr/local/share/ca-certificates" };
    for (at, text) in certificates.trusted.iter().enumerate() {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        configure =
            configure.file(format!("{folder}/cloud-init-ca-cert-{}.crt", at + 1), format!("{text}{end}"), 0o644);
    }
    configure.then(Then::run(if rpm { &["update-ca-trust"] } else { &["update-ca-certificates"] }))
}

/// Debian's list with every line switched off; an RPM distribution's file of distrust has no such list.
fn without_defaults(host: &Host, configure: Configure, rpm: bool) -> Configure {
    if rpm {
        let remove = ["/bin/sh", "-c", "find /usr/share/pki/ca-trust-source /etc/pki/ca-trust/source -type f -delete"];
        return configure.then(Then::run(&remove));
    }
    let list = std::fs::read_to_string(host.path("/etc/ca-certificates.conf")).unwrap_or_default();
    let off = |line: &str| match line.chars().next() {
        None | Some('#' | '!') => format!("{line}\n"),
        Some(_) => format!("!{line}\n"),
    };
    let content: String = list.lines().map(off).collect();
    let selection = "ca-certificates ca-certificates/trust_new_crts select no\n";
    let told = Then::if_there(&["debconf-set-selections"]).reading(selection);
    configure.file("/etc/ca-certificates.conf", content, 0o644).then(told)
}

/// `resolv_conf:`
pub fn resolvers(resolvers: &Resolvers) -> Configure {
    let Resolvers { servers, search, domain, sortlist, options } = resolvers;
    let mut content = HEADER.to_owned();
    servers.iter().for_each(|server| content.push_str(&format!("nameserver {server}\n")));
    for (word, values) in [("search", search), ("sortlist", sortlist), ("options", options)] {
        if !values.is_empty() {
            content.push_str(&format!("{word} {}\n", values.join(" ")));
        }
    }
    if let Some(domain) = domain {
        content.push_str(&format!("domain {domain}\n"));
    }
    Configure::new("resolvers").file("/etc/resolv.conf", content, 0o644)
}

/// `yum_repos:`; a repository that is there stays as it is.
pub fn yum(host: &Host, yum: &Yum) -> Configure {
    let mut configure = Configure::new("yum");
    for repository in &yum.repositories {
        let path = yum.folder.join(format!("{}.repo", repository.id));
        let before = std::fs::read_to_string(host.path(&path)).unwrap_or_default();
        if !before.is_empty() && !before.starts_with(HEADER) {
            continue;
        }
        let mut content = format!("{HEADER}[{}]\n", repository.id);
        let has_name = repository.settings.iter().any(|(key, _)| key == "name");
        if !has_name {
            content.push_str(&format!("name={}\n", repository.id));
        }
        repository.settings.iter().for_each(|(key, value)| content.push_str(&format!("{key}={value}\n")));
        configure = configure.file(path.display().to_string(), content, 0o644);
    }
    configure
}

/// `disable_ec2_metadata:`: the metadata service can be reached by nobody on this host, once it was asked.
pub fn no_metadata() -> Configure {
    Configure::new("metadata route").then(Then::run(&["ip", "route", "replace", "prohibit", "169.254.169.254"]))
}
