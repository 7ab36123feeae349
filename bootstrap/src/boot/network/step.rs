use super::interfaces::Interfaces;
use super::manager::Manager;
use super::network_data::is_only_told;
use super::{File, ifupdown, keyfile, render_for};
use crate::boot::datasource::Network;
use crate::boot::host::Host;
use crate::boot::steps::{Action, Context, Failure, Outcome};
use hostwright_core::atomic_file;
use serde::Serialize;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Where files of ours may lie; those of an earlier description, or for another manager, go.
const FOLDERS: [&str; 3] =
    ["/etc/systemd/network", "/etc/NetworkManager/system-connections", "/etc/network/interfaces.d"];
/// An address that does not come is not waited for here.
const PATIENCE: Duration = Duration::from_secs(10);
/// By which our files are known, so that those of an earlier description go.
const PREFIX: &str = "10-hostwright-";

/// Writes the network that the datasource describes.
#[derive(Serialize)]
pub struct WriteNetwork {
    network: Network,
}

impl WriteNetwork {
    pub fn new(network: Network) -> Self {
        Self { network }
    }
}

impl Action for WriteNetwork {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let manager = Manager::of(context.host);
        if manager == Manager::Wicked {
            return Ok(Outcome::Skipped(
                "the datasource describes the network, and this image sets it up by wicked: it stays as it is; enable systemd-networkd or NetworkManager in the image for it"
                    .to_owned(),
            ));
        }
        let interfaces = Interfaces::read(context.host);
        let rendered = render_for(manager, &self.network, &interfaces);
        let changed = write(context.host, manager, &rendered.files)
            .map_err(|error| Failure::io("write the network's files", &error))?;
        if context.host.has_systemd() {
            tell(context.host, manager, &rendered.files, changed);
        }
        // Unknown keys and kinds are told as those of the user-data are, and fail nothing.
        let problems = rendered.problems.iter().filter(|problem| !is_only_told(problem));
        match &problems.map(ToString::to_string).collect::<Vec<_>>()[..] {
            [] => Ok(Outcome::Done),
            told => Err(Failure::new(
                format!("a part of the network's description is not done: {}", told.join("; ")),
                "correct the network-config; the rest of it is in place",
            )),
        }
    }
}

/// Whether anything is new.
fn write(host: &Host, manager: Manager, files: &[File]) -> std::io::Result<bool> {
    let mut changed = false;
    for folder in FOLDERS.map(|folder| host.path(folder)) {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let name = entry?.file_name().into_string().unwrap_or_default();
            let is_ours = name.starts_with(PREFIX) || name.starts_with(keyfile::PREFIX) || name == ifupdown::NAME;
            if is_ours && !files.iter().any(|file| file.name == name) {
                std::fs::remove_file(folder.join(name))?;
                changed = true;
            }
        }
    }
    for file in files {
        let (folder, mode) = manager.place(&file.name);
        std::fs::create_dir_all(host.path(folder))?;
        let path = host.path(folder).join(&file.name);
        changed |= std::fs::read(&path).map_or(true, |before| before != file.content.as_bytes());
        atomic_file::replace(&path, file.content.as_bytes(), mode)?;
    }
    if manager == Manager::Ifupdown {
        include(&host.path("/etc/network/interfaces"))?;
    }
    Ok(changed)
}

/// An image whose own file says nothing of the folder gets the line that does.
fn include(path: &Path) -> std::io::Result<()> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|_| "auto lo\niface lo inet loopback\n".to_owned());
    let says = |line: &str| {
        line.trim_start().starts_with("source") && line.contains("/etc/network/interfaces.d")
            || line.split_whitespace().eq(["source-directory", "interfaces.d"])
    };
    if text.lines().any(says) {
        return Ok(());
    }
    atomic_file::replace(path, format!("{}\nsource /etc/network/interfaces.d/*\n", text.trim_end()).as_bytes(), 0o644)
}

/// Where it runs already, in the final stage, it reads them now; before it starts there is nobody to tell.
fn tell(host: &Host, manager: Manager, files: &[File], changed: bool) {
    ask(host, "udevadm", &["control", "--reload"]);
    match manager {
        Manager::Networkd => ask(host, "networkctl", &["reload"]),
        Manager::NetworkManager if changed => {
            ask(host, "nmcli", &["connection", "reload"]);
            for file in files.iter().filter(|file| file.name.ends_with(keyfile::END)) {
                let path = format!("{}/{}", manager.place(&file.name).0, file.name);
                ask(host, "nmcli", &["--wait", "5", "connection", "up", "filename", &path]);
            }
        }
        // It has begun where it has noted what is up; what is up already stays as it is until the next boot.
        Manager::Ifupdown if changed && host.path("/run/network/ifstate").exists() => ask(host, "ifup", &["--all"]),
        Manager::NetworkManager | Manager::Ifupdown | Manager::Wicked => {}
    }
}

fn ask(host: &Host, program: &str, arguments: &[&str]) {
    let mut command = host.command(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let ended = host.block_on(async { tokio::time::timeout(PATIENCE, command.status()).await });
    if !matches!(ended, Ok(Ok(status)) if status.success()) {
        log::debug!("{program} {arguments:?} has nobody to tell");
    }
}

#[cfg(test)]
mod tests {
    use super::WriteNetwork;
    use crate::boot::datasource::Network;
    use crate::boot::host::Host;
    use crate::boot::steps::{Action as _, Context, Outcome};
    use std::path::Path;

    fn step(text: &str) -> WriteNetwork {
        WriteNetwork::new(Network::Config(text.to_owned()))
    }

    fn place(tree: &Path, path: &str, content: &str) {
        let path = tree.join(path);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(&path, content).expect("written");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|e| e.expect("entry").file_name().into_string().expect("name")).collect();
        names.sort();
        names
    }

    #[test]
    fn files_of_an_earlier_description_go_and_each_manager_gets_its_own() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), tree.path().join("sys")).expect("host");
        let context = Context { host: &host, instance_id: "i", folder: tree.path().to_owned(), resumed: false };
        let of = |path: &str| tree.path().join(path);
        place(tree.path(), "etc/systemd/network/10-hostwright-old.network", "");
        place(tree.path(), "etc/systemd/network/10-own.network", "");
        let described = step("version: 2\nethernets: {eth0: {addresses: [10.0.0.2/24], gateway4: 10.0.0.1}}\n");
        assert_eq!(described.run(&context), Ok(Outcome::Done));
        assert_eq!(names(&of("etc/systemd/network")), ["10-hostwright-eth0.network", "10-own.network"]);

        place(tree.path(), "usr/sbin/ifup", "");
        place(tree.path(), "etc/network/interfaces", "auto lo\niface lo inet loopback\n");
        assert_eq!(described.run(&context), Ok(Outcome::Done));
        assert_eq!(names(&of("etc/systemd/network")), ["10-own.network"]);
        let text = std::fs::read_to_string(of("etc/network/interfaces.d/50-hostwright")).expect("read");
        assert!(
            text.contains("\nauto eth0\niface eth0 inet static\n    address 10.0.0.2/24\n    gateway 10.0.0.1\n"),
            "{text}"
        );
        let main = "auto lo\niface lo inet loopback\nsource /etc/network/interfaces.d/*\n";
        assert_eq!(described.run(&context), Ok(Outcome::Done));
        assert_eq!(std::fs::read_to_string(of("etc/network/interfaces")).expect("read"), main);

        place(tree.path(), "usr/sbin/NetworkManager", "");
        place(tree.path(), "etc/NetworkManager/system-connections/hostwright-old.nmconnection", "");
        place(tree.path(), "etc/NetworkManager/system-connections/own.nmconnection", "");
        assert_eq!(described.run(&context), Ok(Outcome::Done));
        let folder = of("etc/NetworkManager/system-connections");
        assert_eq!(names(&folder), ["hostwright-eth0.nmconnection", "own.nmconnection"]);
        let mode = std::fs::metadata(folder.join("hostwright-eth0.nmconnection")).expect("there").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    }

    #[test]
    fn what_a_manager_has_no_words_for_is_told_and_the_rest_is_done() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), tree.path().join("sys")).expect("host");
        let context = Context { host: &host, instance_id: "i", folder: tree.path().to_owned(), resumed: false };
        place(tree.path(), "usr/sbin/ifup", "");
        let text = "version: 2\nethernets: {eth0: {dhcp4: true}, x: {match: {macaddress: 'aa:bb:cc:00:00:01'}}}\nvrfs: {red: {table: 7}}\n";
        let told = step(text).run(&context).expect_err("told").why;
        assert!(told.contains("x: this machine has no such interface"), "{told}");
        assert!(told.contains("red: ifupdown makes no vrf"), "{told}");
        let text = std::fs::read_to_string(tree.path().join("etc/network/interfaces.d/50-hostwright")).expect("read");
        assert!(text.ends_with("\nauto eth0\niface eth0 inet dhcp\n"), "{text}");
    }
}
