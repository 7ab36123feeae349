use super::super::command::Run;
use super::super::{Context, Failure};
use super::{DEADLINE, argument};
use crate::boot::userdata::packages::{Package, Packages};

/// Installs and upgrades; what is said is understood by dnf (4 and 5), yum and tdnf. dnf and yum wait by themselves for others that hold their lock.
pub fn install(context: &Context<'_>, program: &str, packages: &Packages) -> Result<(), Failure> {
    if packages.update {
        run(context, program, &["makecache".to_owned()])?;
    }
    if packages.upgrade {
        run(context, program, &["upgrade".to_owned()])?;
    }
    let missing: Vec<_> = packages.install.iter().filter(|package| !is_there(context, package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["install".to_owned()];
    arguments.extend(missing.iter().map(|package| argument(package, '-')));
    run(context, program, &arguments)?;
    // yum of RHEL 7 is content with those of the packages that it finds.
    let is_a_name = |package: &&&Package| !package.name.starts_with(['@', '/']) && !package.name.contains("://");
    let absent = missing.iter().filter(|_| program == "yum").filter(is_a_name);
    let absent: Vec<_> = absent.filter(|package| !is_there(context, package)).map(|p| argument(p, '-')).collect();
    match &absent[..] {
        [] => Ok(()),
        names => Err(Failure::new(
            format!("yum has not installed {}", names.join(", ")),
            "correct the names, or name their repository under yum_repos",
        )),
    }
}

fn is_there(context: &Context<'_>, package: &Package) -> bool {
    let mut command = context.host.command("rpm");
    command.args(["--query", "--quiet", "--whatprovides", &argument(package, '-')]);
    Run::new("packages", command).succeed(context).is_ok()
}

fn run(context: &Context<'_>, program: &str, arguments: &[String]) -> Result<(), Failure> {
    let mut command = context.host.command(program);
    command.arg("--assumeyes").args(arguments);
    Run { deadline: Some(DEADLINE), ..Run::new("packages", command) }.succeed(context)
}

#[cfg(test)]
mod tests {
    use super::super::super::Context;
    use super::install;
    use crate::boot::host::Host;
    use crate::boot::userdata::packages::{Package, Packages};
    use std::os::unix::fs::PermissionsExt as _;

    /// Fakes of rpm and dnf, which write down what they are asked: a real dnf has a test of its own.
    #[test]
    fn what_is_missing_is_installed_by_one_command_without_questions() {
        if !nix::unistd::geteuid().is_root() || !std::path::Path::new("/bin/busybox").exists() {
            return; // commands of a tree run in a chroot
        }
        let tree = tempfile::tempdir().expect("temporary folder");
        let place = |path: &str, content: &[u8]| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(&path, content).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
        };
        place("bin/busybox", &std::fs::read("/bin/busybox").expect("read"));
        place("usr/bin/dnf", b"#!/bin/busybox sh\necho dnf $* >> /asked\n");
        place("usr/bin/rpm", b"#!/bin/busybox sh\ntest \"$4\" = there\n");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: tree.path().join("kept"), resumed: false };
        let package =
            |name: &str, version: Option<&str>| Package { name: name.into(), version: version.map(Into::into) };
        let wanted = vec![package("there", None), package("jq", None), package("vim", Some("9.0"))];
        let packages = Packages { install: wanted, update: true, upgrade: true, ..Packages::default() };
        install(&context, "dnf", &packages).expect("installed");
        let asked = std::fs::read_to_string(tree.path().join("asked")).expect("asked");
        assert_eq!(asked, "dnf --assumeyes makecache\ndnf --assumeyes upgrade\ndnf --assumeyes install jq vim-9.0\n");
        place("usr/bin/yum", b"#!/bin/busybox sh\necho yum $* >> /asked\n");
        let told = install(&context, "yum", &packages).expect_err("it installs nothing and says so to nobody");
        assert_eq!(told.why, "yum has not installed jq, vim-9.0");
    }
}
