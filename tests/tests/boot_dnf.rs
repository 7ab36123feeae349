//! A host whose packages are RPMs: Debian's dnf and rpm on a root that says it is Fedora, and a repository of signed
//! packages that are made here.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::busybox_root::outcomes;
use hostwright_tests::debian_packages::{fetch, install};
use hostwright_tests::nspawn::Machine;

const BOOT: Duration = Duration::from_secs(180);

/// What holds dnf's lock ends after a while; podman's package is no Podman, but is named and started like it.
const USER_DATA: &str = r#"#cloud-config
users: []
bootcmd:
- mkdir -p /var/cache/dnf; sleep 6 & echo $! > /var/cache/dnf/metadata_lock.pid
yum_repos:
  our packages:
    name: Ours
    baseurl: [file:///srv/repository, file:///srv/nowhere]
    Enabled: true
    gpgcheck: yes
    gpgkey: file:///srv/repository/key.asc
    skip-if-unavailable: false
    priority: 10
  nowhere: {name: x}
package_update: true
package_upgrade: true
packages:
- tool
- [pinned, 1.0-1]
- by-path
write_files: [{path: /usr/share/pki/ca-trust-source/kept, content: x}]
timezone: Europe/Paris
hostwright: {boot: {engine: podman}, metrics: {listen: '127.0.0.1:9100'}}
"#;

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {:?}", command.get_program()))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An RPM with one file, which holds its version.
fn build(folder: &Path, name: &str, version: &str, script: &str) -> Result<()> {
    let spec = folder.join(format!("{name}.spec"));
    let text = format!(
        "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n%install\nmkdir -p %{{buildroot}}/usr/bin %{{buildroot}}/usr/lib/systemd/system\necho {version} > %{{buildroot}}/usr/bin/{name}\nchmod 755 %{{buildroot}}/usr/bin/{name}\n{script}\n%files\n/usr\n"
    );
    fs::write(&spec, text)?;
    let home = folder.join("gnupg");
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.args(["-bb", "--quiet", "--define", &format!("_rpmdir {}", folder.join("repository").display())]);
    rpmbuild.args(["--define", &format!("_topdir {}", folder.join("build").display())]).arg(&spec);
    run(rpmbuild.env("GNUPGHOME", home)).map(drop)
}

fn gpg(folder: &Path, words: &[&str]) -> Result<String> {
    let mut gpg = Command::new("gpg");
    run(gpg.args(["--batch", "--quiet", "--homedir"]).arg(folder.join("gnupg")).args(words))
}

/// Signed packages with their index and key, in `repository`.
fn make_repository(folder: &Path) -> Result<()> {
    let repository = folder.join("repository");
    fs::create_dir_all(&repository)?;
    run(Command::new("mkdir").args(["-m", "700"]).arg(folder.join("gnupg")))?;
    gpg(folder, &["--passphrase", "", "--quick-generate-key", "ours", "rsa2048", "sign", "never"])?;
    fs::write(repository.join("key.asc"), gpg(folder, &["--armor", "--export", "ours"])?)?;
    for (name, version) in [("tool", "1.0"), ("pinned", "1.0"), ("pinned", "2.0"), ("by-path", "1.0"), ("old", "2.0")] {
        build(folder, name, version, "")?;
    }
    let unit = "printf '[Socket]\\nListenStream=/run/podman.sock\\n[Install]\\nWantedBy=sockets.target\\n' > %{buildroot}/usr/lib/systemd/system/podman.socket\nprintf '[Service]\\nExecStart=/bin/true\\n' > %{buildroot}/usr/lib/systemd/system/podman.service";
    build(folder, "podman", "4.0", unit)?;
    for entry in fs::read_dir(repository.join("noarch"))? {
        let mut sign = Command::new("rpmsign");
        sign.args(["--define", "_gpg_name ours", "--define", "__gpg /usr/bin/gpg", "--addsign"]).arg(entry?.path());
        run(sign.env("GNUPGHOME", folder.join("gnupg")))?;
    }
    run(Command::new("createrepo_c").arg("--quiet").arg(&repository))?;
    // It is not in the repository: the image has it.
    build(folder, "old", "1.0", "")?;
    run(Command::new("gpgconf").arg("--homedir").arg(folder.join("gnupg")).args(["--kill", "all"])).map(drop)
}

/// A root that knows nothing of Debian's package managers.
fn machine(packages: &Path) -> Result<Machine> {
    let machine = Machine::new()?;
    for package in ["dnf", "rpm"] {
        install(&machine, &packages.join(package))?;
    }
    machine.write("/etc/os-release", "ID=fedora\nVERSION_ID=40\n")?;
    // Debian's default is a folder of root's.
    machine.write("/etc/rpm/macros", "%_dbpath /var/lib/rpm\n")?;
    for program in ["dpkg", "apt-get", "apt"] {
        fs::remove_file(machine.path("/usr/bin").join(program))?;
    }
    Ok(machine)
}

#[test]
fn packages_come_by_dnf_from_a_repository_of_the_user_data() -> Result<()> {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    for package in ["dnf", "rpm"] {
        fetch(package, &packages.join(package))?;
    }
    let folder = tempfile::tempdir()?;
    make_repository(folder.path())?;
    let mut machine = machine(&packages)?;
    run(Command::new("cp").arg("-r").arg(folder.path().join("repository")).arg(machine.path("/srv")))?;
    let old = "/srv/repository/noarch/old-1.0-1.noarch.rpm";
    let mut rpm = Command::new("chroot");
    run(rpm.arg(machine.path("/")).args(["rpm", "--install", "--nodeps", old]))?;
    machine.seed("i-rpm", USER_DATA)?;

    let mut boot = machine.boot()?;
    boot.wait_for("instance i-rpm is ", BOOT)?;
    let report = machine.report("i-rpm")?;
    let console = boot.console();
    let failed: Vec<_> = outcomes(&report).into_iter().filter(|step| step.1 != "done" && step.1 != "skipped").collect();
    ensure!(failed.len() == 1 && failed[0].0 == "user-data", "{report:#}\n{console}");
    ensure!(report.to_string().contains("one of the keys baseurl, metalink, mirrorlist is needed"), "{report:#}");
    boot.shell("systemctl is-active podman.socket hostwright-agent.service")?;
    let installed = boot.shell("rpm --query tool pinned by-path old podman gpg-pubkey")?;
    boot.power_off()?;
    for wanted in ["tool-1.0-1", "pinned-1.0-1", "by-path-1.0-1", "old-2.0-1", "podman-4.0-1", "gpg-pubkey-"] {
        ensure!(installed.contains(wanted), "{wanted} is missing in {installed}");
    }
    let kept = machine.path("/var/lib/hostwright/bootstrap/i-rpm");
    let output = run(Command::new("grep").args(["-rhc", "Waiting for process"]).arg(kept)).unwrap_or_default();
    ensure!(output.lines().any(|count| count != "0"), "dnf was to be waited for:\n{console}");
    let repository = machine.read("/etc/yum.repos.d/our-packages.repo")?;
    ensure!(repository.contains("\n[our-packages]\n") && repository.contains("\nenabled=1\n"), "{repository}");
    Ok(())
}
