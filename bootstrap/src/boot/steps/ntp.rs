use super::configure::{Then, execute};
use super::packages::install_for;
use super::place::File;
use super::{Action, Context, Failure, Outcome};
use crate::boot::userdata::ntp::Ntp;
use crate::boot::userdata::template;
use serde::Serialize;
use std::path::Path;

/// The host's clock goes by others.
#[derive(Serialize)]
pub struct ConfigureNtp {
    ntp: Ntp,
}

/// A client: how it is known, named and configured.
struct Client {
    name: String,
    program: String,
    path: String,
    packages: Vec<String>,
    service: String,
}

impl ConfigureNtp {
    pub fn new(ntp: &Ntp) -> Self {
        Self { ntp: ntp.clone() }
    }
}

impl Action for ConfigureNtp {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let client = self.client(context);
        install_for(context, &client.program, &client.packages)?;
        let content = match &self.ntp.own.template {
            Some(template) => self.filled(template)?,
            None => self.content(context, &client.name),
        };
        let file =
            File { path: Path::new(&client.path), content: content.as_bytes(), mode: 0o644, owner: (None, None) };
        file.place_if_changed(context)?;
        let restart = ["systemctl", "--no-block", "reload-or-restart", &client.service];
        execute(context, "ntp", &Then::run(&restart))?;
        Ok(Outcome::Done)
    }
}

impl ConfigureNtp {
    /// The one that is named, else the first that is installed, else systemd's own.
    fn client(&self, context: &Context<'_>) -> Client {
        let host = context.host;
        let is_there =
            |client: &Client| host.program(&client.program).is_some() || host.path(&client.program).is_file();
        let mut client = match &self.ntp.client {
            Some(name) => client(name, host.has_rpm()),
            None => {
                let known = ["chrony", "systemd-timesyncd", "ntp", "ntpsec"].map(|name| client(name, host.has_rpm()));
                known.into_iter().find(is_there).unwrap_or_else(|| client("systemd-timesyncd", host.has_rpm()))
            }
        };
        let own = &self.ntp.own;
        client.path = own.path.clone().unwrap_or(client.path);
        client.program = own.program.clone().unwrap_or(client.program);
        client.packages = own.packages.clone().unwrap_or(client.packages);
        client.service = own.service.clone().unwrap_or(client.service);
        client
    }

    /// Where nothing is named, the distribution's own pool.
    fn pools(&self, distribution: &str) -> Vec<String> {
        if self.ntp.servers.is_empty() && self.ntp.pools.is_empty() && self.ntp.peers.is_empty() {
            return (0..4).map(|number| format!("{number}.{distribution}.pool.ntp.org")).collect();
        }
        self.ntp.pools.clone()
    }

    fn content(&self, context: &Context<'_>, client: &str) -> String {
        let pools = self.pools(&context.host.distribution());
        let Ntp { servers, peers, allow, .. } = &self.ntp;
        let mut content = "# Written by hostwright-bootstrap from the user-data.\n".to_owned();
        let mut lines = |word: &str, hosts: &[String], end: &str| {
            hosts.iter().for_each(|host| content.push_str(&format!("{word} {host}{end}\n")));
        };
        match client {
            "systemd-timesyncd" => {
                let all = [servers.as_slice(), &pools].concat().join(" ");
                content.push_str(&format!("[Time]\nNTP={all}\n"));
            }
            "openntpd" => {
                lines("server", servers, "");
                lines("servers", &pools, "");
            }
            "chrony" => {
                lines("pool", &pools, " iburst");
                lines("server", servers, " iburst");
                lines("peer", peers, "");
                lines("allow", allow, "");
                content.push_str("keyfile /etc/chrony/chrony.keys\ndriftfile /var/lib/chrony/chrony.drift\nlogdir /var/log/chrony\nmaxupdateskew 100.0\nrtcsync\nmakestep 1 3\n");
            }
            _ => {
                lines("pool", &pools, " iburst");
                lines("server", servers, " iburst");
                lines("peer", peers, "");
                content.push_str("driftfile /var/lib/ntp/ntp.drift\nrestrict default kod nomodify nopeer noquery limited\nrestrict 127.0.0.1\nrestrict ::1\nrestrict source nomodify noquery\n");
                allow.iter().for_each(|network| {
                    content.push_str(&format!("restrict {network} kod nomodify noquery limited\n"));
                });
            }
        }
        content
    }

    /// The operator's own text, a template of the lists.
    fn filled(&self, template: &str) -> Result<String, Failure> {
        let Ntp { servers, pools, peers, allow, .. } = &self.ntp;
        let has_head = template.trim_start().starts_with("##");
        let text = if has_head { template.to_owned() } else { format!("## template: jinja\n{template}") };
        let lists = serde_json::json!({"servers": servers, "pools": pools, "peers": peers, "allow": allow});
        let rendered = template::render(&text, &lists);
        let failed = |template::Refused { place, why }| {
            // The head that was put before it is none of its lines.
            let line = place.line - usize::from(!has_head);
            let why = format!("the template cannot be filled in: line {line}, column {}: {why}", place.column);
            Failure::new(why, "correct ntp: config: template")
        };
        rendered.map(|rendered| rendered.text).map_err(failed)
    }
}

fn client(name: &str, rpm: bool) -> Client {
    let (program, path, packages, service): (_, _, &[&str], _) = match (name, rpm) {
        ("chrony", false) => ("chronyd", "/etc/chrony/chrony.conf", &["chrony"], "chrony.service"),
        ("chrony", true) => ("chronyd", "/etc/chrony.conf", &["chrony"], "chronyd.service"),
        ("ntp", false) => ("ntpd", "/etc/ntp.conf", &["ntp"], "ntp.service"),
        ("ntp", true) => ("ntpd", "/etc/ntp.conf", &["ntp"], "ntpd.service"),
        ("ntpsec", _) => ("ntpd", "/etc/ntpsec/ntp.conf", &["ntpsec"], "ntpsec.service"),
        ("ntpdate", _) => ("ntpdate", "/etc/ntp.conf", &["ntpdate"], "ntpdate.service"),
        ("openntpd", _) => ("ntpd", "/etc/openntpd/ntpd.conf", &["openntpd"], "openntpd.service"),
        ("systemd-timesyncd", _) => (
            "/usr/lib/systemd/systemd-timesyncd",
            "/etc/systemd/timesyncd.conf.d/cloud-init.conf",
            if rpm { &[] } else { &["systemd-timesyncd"] },
            "systemd-timesyncd.service",
        ),
        (other, _) => (other, "/etc/ntp.conf", &[], other),
    };
    let packages = packages.iter().map(|name| (*name).to_owned()).collect();
    let [program, path, service] = [program, path, service].map(str::to_owned);
    Client { name: name.to_owned(), program, path, packages, service }
}

#[cfg(test)]
mod tests {
    use super::ConfigureNtp;
    use crate::boot::userdata;

    #[test]
    fn an_operators_template_has_the_lists() {
        let text = "#cloud-config\nntp:\n  servers: [a, b]\n  config:\n    template: |\n      ## template:jinja\n      {% for server in servers %}server {{ server }}\n      {% endfor %}\n";
        let ntp = userdata::read(text.as_bytes()).config.ntp.expect("ntp");
        let step = ConfigureNtp::new(&ntp);
        let filled = step.filled(ntp.own.template.as_deref().expect("template")).expect("filled");
        assert!(filled.contains("server a\nserver b\n"), "{filled:?}");
        let told = step.filled("a\n{% if %}\n").expect_err("refused");
        assert!(told.why.contains("filled in: line 2, column 7: "), "{told:?}");
    }
}
