use super::interfaces::Interfaces;
use super::network_data::is_only_told;
use super::{File, render};
use crate::boot::datasource::Network;
use crate::boot::host::Host;
use crate::boot::steps::{Action, Context, Failure, Outcome};
use hostwright_core::atomic_file;
use serde::Serialize;
use std::process::Stdio;

const FOLDER: &str = "/etc/systemd/network";
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
        if let Some(other) = other_than_networkd(context.host) {
            return Ok(Outcome::Skipped(format!(
                "the datasource describes the network, and this image sets it up by {other}: it stays as it is; enable systemd-networkd in the image for it"
            )));
        }
        let interfaces = Interfaces::read(context.host);
        let rendered = render(&self.network, &interfaces);
        write(context.host, &rendered.files).map_err(|error| Failure::io(format!("write {FOLDER}"), &error))?;
        if context.host.has_systemd() {
            reload(context.host);
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

/// Who else sets the network up, if systemd-networkd does not.
fn other_than_networkd(host: &Host) -> Option<&'static str> {
    let wants = [
        "multi-user.target.wants/systemd-networkd.service",
        "sockets.target.wants/systemd-networkd.socket",
        "network-online.target.wants/systemd-networkd-wait-online.service",
    ];
    let is_enabled = ["/etc/systemd/system", "/usr/lib/systemd/system"]
        .iter()
        .any(|folder| wants.iter().any(|name| host.path(format!("{folder}/{name}")).symlink_metadata().is_ok()));
    if is_enabled || host.program("netplan").is_some() && host.path("/usr/lib/systemd/systemd-networkd").exists() {
        return None;
    }
    [("NetworkManager", "NetworkManager"), ("ifup", "ifupdown"), ("wicked", "wicked")]
        .into_iter()
        .find(|(program, _)| host.program(program).is_some())
        .map(|(_, name)| name)
}

fn write(host: &Host, files: &[File]) -> std::io::Result<()> {
    let folder = host.path(FOLDER);
    std::fs::create_dir_all(&folder)?;
    for entry in std::fs::read_dir(&folder)? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        if name.starts_with(PREFIX) && !files.iter().any(|file| file.name == name) {
            std::fs::remove_file(folder.join(name))?;
        }
    }
    for file in files {
        // networkd reads them as a user of its own.
        atomic_file::replace(&folder.join(&file.name), file.content.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Where networkd runs already, in the final stage, it reads them now; before it starts there is nobody to tell.
fn reload(host: &Host) {
    for (program, arguments) in [("udevadm", &["control", "--reload"][..]), ("networkctl", &["reload"])] {
        let mut command = host.command(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let ended =
            host.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(10), command.status()).await });
        if !matches!(ended, Ok(Ok(status)) if status.success()) {
            log::debug!("{program} {arguments:?} has nobody to tell");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WriteNetwork;
    use crate::boot::datasource::Network;
    use crate::boot::host::Host;
    use crate::boot::steps::{Action as _, Context, Outcome};

    #[test]
    fn files_of_an_earlier_description_go_and_ifupdown_is_left_alone() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), tree.path().join("sys")).expect("host");
        let context = Context { host: &host, instance_id: "i", folder: tree.path().to_owned(), resumed: false };
        let folder = tree.path().join("etc/systemd/network");
        std::fs::create_dir_all(&folder).expect("folder");
        std::fs::write(folder.join("10-hostwright-old.network"), "").expect("written");
        std::fs::write(folder.join("10-own.network"), "").expect("written");
        let step = WriteNetwork::new(Network::Config("version: 2\nethernets: {eth0: {dhcp4: true}}\n".into()));
        assert_eq!(step.run(&context), Ok(Outcome::Done));
        let mut names: Vec<_> =
            std::fs::read_dir(&folder).expect("folder").map(|e| e.expect("entry").file_name()).collect();
        names.sort();
        assert_eq!(names, ["10-hostwright-eth0.network", "10-own.network"]);
        let program = tree.path().join("usr/sbin/ifup");
        std::fs::create_dir_all(program.parent().expect("parent")).expect("folder");
        std::fs::write(&program, "").expect("written");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
        assert!(matches!(step.run(&context), Ok(Outcome::Skipped(why)) if why.contains("ifupdown")));
    }
}
