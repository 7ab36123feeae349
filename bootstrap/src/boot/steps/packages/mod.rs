/// With dnf, yum or tdnf.
mod rpm;

use super::command::Run;
use super::{Action, Context, Failure, Outcome};
use crate::boot::host::Host;
use crate::boot::userdata::packages::{Package, Packages};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Another apt (a periodic upgrade, a command of the operator's) is waited for as long as this.
const LOCK: Duration = Duration::from_secs(120);
/// For one run of apt-get: below the unit's own limit, so that the report can still tell of it.
const DEADLINE: Duration = Duration::from_secs(600);

/// Packages that shall be installed.
#[derive(Serialize)]
pub struct InstallPackages {
    packages: Packages,
}

impl InstallPackages {
    pub fn new(packages: Packages) -> Self {
        Self { packages }
    }
}

impl Action for InstallPackages {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let Packages { install, update, upgrade, reboot } = &self.packages;
        match ["dnf", "dnf5", "yum", "tdnf"].into_iter().find(|program| context.host.program(program).is_some()) {
            Some(program) if context.host.has_rpm() => rpm::install(context, program, &self.packages)?,
            _ => with_apt(context, install, *update, *upgrade)?,
        }
        if *reboot && (*upgrade || !install.is_empty()) && context.host.path(REBOOT_REQUIRED).exists() {
            context.host.run_last(["systemctl", "--no-block", "reboot"].map(str::to_owned).to_vec());
        }
        Ok(Outcome::Done)
    }
}

/// What packages of Debian leave when they count only after a reboot.
const REBOOT_REQUIRED: &str = "/run/reboot-required";

/// Installs by name what other steps need, where a program is missing.
pub fn install_for(context: &Context<'_>, program: &str, names: &[String]) -> Result<(), Failure> {
    if context.host.program(program).is_some() || context.host.path(program).is_file() {
        return Ok(());
    }
    install(context, names)
}

/// Installs packages by name, with new lists.
pub fn install(context: &Context<'_>, names: &[String]) -> Result<(), Failure> {
    if names.is_empty() {
        return Ok(());
    }
    let install = names.iter().map(|name| Package { name: name.clone(), version: None }).collect();
    let packages = Packages { install, update: true, ..Packages::default() };
    InstallPackages::new(packages).run(context).map(drop)
}

fn with_apt(context: &Context<'_>, install: &[Package], update: bool, upgrade: bool) -> Result<(), Failure> {
    let to_mend = context.resumed || is_interrupted(context.host);
    if missing(context.host, install).is_empty() && !update && !upgrade && !to_mend {
        return Ok(());
    }
    if context.host.program("apt-get").is_none() {
        return Err(Failure::new(
            "there is none of apt-get, dnf, yum and tdnf here",
            "install the packages into the image; other package managers can be used by runcmd",
        ));
    }
    if to_mend {
        mend(context)?;
    }
    let missing = missing(context.host, install);
    if missing.is_empty() && !update && !upgrade {
        return Ok(());
    }
    // Lists that cannot be fetched are no reason to try without: what is wanted may be in the lists that are here.
    let updated = apt_get(context, &["update"]);
    if upgrade {
        apt_get(context, &["dist-upgrade"])?;
    }
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(|package| argument(package, '=')).collect();
        let mut arguments = vec!["install", "--"];
        arguments.extend(names.iter().map(String::as_str));
        apt_get(context, &arguments).map_err(|failure| match &updated {
            Err(update) => Failure::new(format!("{}; before that, {}", failure.why, update.why), failure.remedy),
            Ok(()) => failure,
        })?;
    } else if update {
        updated?;
    }
    Ok(())
}

/// A dpkg that a power cut or a deadline stopped half-way is brought to its end first.
fn mend(context: &Context<'_>) -> Result<(), Failure> {
    let until = Instant::now() + LOCK;
    loop {
        let mut command = context.host.command("dpkg");
        command.args(["--force-confdef", "--force-confold", "--configure", "-a"]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        match (Run { deadline: Some(DEADLINE), ..Run::new("packages", command) }).succeed(context) {
            Err(failure) if failure.why.contains("by another process") && Instant::now() < until => {
                std::thread::sleep(Duration::from_secs(2));
            }
            ended => return ended,
        }
    }
}

/// By apt's own rule: what dpkg has not yet merged into its database lies in this folder, in files named by numbers.
fn is_interrupted(host: &Host) -> bool {
    let Ok(entries) = std::fs::read_dir(host.path("/var/lib/dpkg/updates")) else { return false };
    entries.flatten().any(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
}

/// Runs apt-get without questions, and waits for others that use it.
pub fn apt_get(context: &Context<'_>, arguments: &[&str]) -> Result<(), Failure> {
    let until = Instant::now() + LOCK;
    loop {
        let mut command = context.host.command("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["--yes", "--quiet"]);
        for option in [
            &format!("DPkg::Lock::Timeout={}", LOCK.as_secs()),
            "Dpkg::Options::=--force-confdef",
            "Dpkg::Options::=--force-confold",
            "Dpkg::Use-Pty=0",
            "Acquire::Retries=3",
        ] {
            command.args(["-o", option]);
        }
        command.args(arguments);
        let run = Run { deadline: Some(DEADLINE), ..Run::new("packages", command) };
        match run.succeed(context) {
            // The timeout above is for dpkg's lock; that of the lists fails at once.
            Err(failure) if failure.why.contains("Could not get lock") && Instant::now() < until => {
                std::thread::sleep(Duration::from_secs(2));
            }
            Err(failure) => {
                let failure = Failure::new(
                    failure.why.replacen("apt-get", &format!("apt-get {}", arguments[0]), 1),
                    failure.remedy,
                );
                return Err(failure);
            }
            Ok(()) => return Ok(()),
        }
    }
}

fn argument(package: &Package, between: char) -> String {
    match &package.version {
        Some(version) => format!("{}{between}{version}", package.name),
        None => package.name.clone(),
    }
}

/// The packages that dpkg does not have as they are wanted; also what only another package provides, which apt knows.
fn missing<'p>(host: &Host, wanted: &'p [Package]) -> Vec<&'p Package> {
    let installed = installed(&std::fs::read(host.path("/var/lib/dpkg/status")).unwrap_or_default());
    let is_there = |package: &&Package| {
        let version = installed.get(package.name.split(':').next().unwrap_or_default());
        version.is_some_and(|version| package.version.as_ref().is_none_or(|wanted| wanted == version))
    };
    wanted.iter().filter(|package| !is_there(package)).collect()
}

/// Installed packages with their versions, from dpkg's own file: no process is needed to see that nothing is to do.
fn installed(status: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(status);
    let mut installed = BTreeMap::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if let (Some(name), Some(status), Some(version)) = (field("Package"), field("Status"), field("Version"))
            && status.ends_with(" installed")
        {
            installed.insert(name.to_owned(), version.to_owned());
        }
    }
    installed
}

#[cfg(test)]
mod tests {
    use super::super::{Action as _, Context};
    use super::{InstallPackages, installed, is_interrupted, missing};
    use crate::boot::host::Host;
    use crate::boot::userdata::packages::{Package, Packages};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_dpkg_that_was_interrupted_or_failed_before_is_mended_first() {
        let tree = tempfile::tempdir().expect("temporary folder");
        for folder in ["var/lib/dpkg/updates", "usr/bin"] {
            std::fs::create_dir_all(tree.path().join(folder)).expect("folder");
        }
        std::fs::write(tree.path().join("usr/bin/apt-get"), "").expect("written");
        std::fs::set_permissions(tree.path().join("usr/bin/apt-get"), std::fs::Permissions::from_mode(0o755))
            .expect("mode");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let run = |resumed| {
            let context = Context { host: &host, instance_id: "i-1", folder: tree.path().to_owned(), resumed };
            InstallPackages::new(Packages::default()).run(&context)
        };
        run(false).expect("nothing to do");
        // There is no dpkg in the tree: that it is asked for shows.
        run(true).expect_err("dpkg is run");
        std::fs::write(tree.path().join("var/lib/dpkg/updates/0001"), "").expect("written");
        assert!(is_interrupted(&host));
        run(false).expect_err("dpkg is run");
    }

    #[test]
    fn only_what_is_not_installed_as_wanted_is_missing() {
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir_all(tree.path().join("var/lib/dpkg")).expect("folder");
        let status = "Package: jq\nStatus: install ok installed\nVersion: 1.6\n\nPackage: vim\nStatus: deinstall ok config-files\nVersion: 9\n\n";
        std::fs::write(tree.path().join("var/lib/dpkg/status"), status).expect("written");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let package =
            |name: &str, version: Option<&str>| Package { name: name.into(), version: version.map(Into::into) };
        let wanted =
            [package("jq", None), package("jq:amd64", Some("1.6")), package("jq", Some("1.7")), package("vim", None)];
        assert_eq!(missing(&host, &wanted), [&wanted[2], &wanted[3]]);
        assert_eq!(installed(b"").len(), 0);
    }
}
