//! Where the instance reads who it is and what it shall be.
//!
//! In: the kernel command line, the image's `datasource_list`, folders, labelled disks, the machine's DMI strings, and
//! the metadata service that one of them points to. Out: a [`Seed`], with everything read and nothing interpreted but
//! the metadata. Nothing is waited for that nothing points to. What a metadata service said is kept with the instance,
//! so that a later boot of the same machine asks nobody. A further datasource is a module here and a line in [`find`].

/// Microsoft Azure: a provisioning disk, and a service beside it.
mod azure;
/// What Azure says of an instance, on a disk and by its service.
mod azure_environment;
/// The kernel command line.
mod cmdline;
/// OpenStack's config drive.
mod config_drive;
/// A disk, mounted.
mod disk;
/// The machine's own description.
mod dmi;
/// OpenStack's documents, from its service or a config drive.
mod documents;
/// Amazon EC2's metadata service, and what imitates it.
mod ec2;
/// Google Compute Engine's metadata server.
mod gce;
/// What Google's metadata server says of an instance.
mod gce_document;
/// What the image says of datasources.
mod image;
/// Volume labels.
mod labels;
/// Who the instance is.
mod metadata;
/// Folders, `cidata` disks and URLs.
mod nocloud;
/// OpenStack's metadata service.
mod openstack;
/// A seed on disk, for the next boot.
mod seed;
/// A metadata service, asked.
mod service;

pub use azure::ReportReady;
pub use metadata::Metadata;
pub use seed::{About, Bytes, Cached, Identity, Network, Seed};

use super::host::Host;
use dmi::{Cloud, Dmi};
use image::{Image, OwnNetwork};

/// The outcome of the search.
pub enum Found {
    /// This instance's seed.
    Seed(Box<Seed>),
    /// It is at a place that only the network reaches.
    OverNetwork(String),
    /// No datasource answers.
    Nothing,
}

/// How the search is done.
#[derive(Default)]
pub struct Search {
    /// Whether the network is up. Before it is, a service is told and not asked.
    pub network: bool,
    /// What was found in an earlier boot of this disk.
    pub cached: Option<Cached>,
    /// Where metadata services are, if not at their clouds' addresses.
    pub metadata_url: Option<String>,
}

/// Finds the seed. What the kernel command line or the image says of the network counts before the datasource's word.
///
/// # Errors
/// A datasource is there, but cannot be read.
pub fn find(host: &Host, search: &Search) -> anyhow::Result<Found> {
    let image = Image::read(host);
    let line = std::fs::read_to_string(host.proc("cmdline")).unwrap_or_default();
    let mut found = find_seed(host, search, &image, cmdline::named(&line))?;
    if let Found::Seed(seed) = &mut found {
        match cmdline::network(&line).or_else(|| image.network()) {
            None => {}
            Some(OwnNetwork::Untouched) => seed.network = None,
            Some(OwnNetwork::Config(text)) => seed.network = Some(Network::Config(text)),
        }
    }
    Ok(found)
}

fn find_seed(host: &Host, search: &Search, image: &Image, named: Option<String>) -> anyhow::Result<Found> {
    let only = named.or_else(|| image.only());
    let wanted = |name: &str| match &only {
        Some(only) => only.eq_ignore_ascii_case(name),
        None => image.lists(name),
    };
    // A seed that the command line or a disk brings is meant, whatever the image lists.
    if only.as_deref().is_none_or(|only| only.eq_ignore_ascii_case("nocloud")) || image.lists("NoCloud") {
        match nocloud::find(host, search.network, image)? {
            Found::Nothing => {}
            found => return Ok(found),
        }
    }
    if wanted("ConfigDrive")
        && let Some(seed) = config_drive::find(host)?
    {
        return Ok(Found::Seed(Box::new(seed)));
    }
    let dmi = Dmi::read(host);
    let cloud = only.as_deref().and_then(Cloud::of_name).or_else(|| dmi.cloud()).filter(|cloud| wanted(cloud.name()));
    match cloud {
        Some(cloud) => over_network(host, search, cloud, &dmi, image),
        None => Ok(of_the_image(image).map_or(Found::Nothing, |seed| Found::Seed(Box::new(seed)))),
    }
}

/// `datasource: {None: {userdata_raw: …, metadata: …}}`, which Ubuntu's installer leaves behind.
fn of_the_image(image: &Image) -> Option<Seed> {
    let [user_data, metadata] = ["userdata_raw", "metadata"].map(|key| image.text("None", key));
    if !image.lists("None") || user_data.is_none() && metadata.is_none() {
        return None;
    }
    let mut metadata = metadata.and_then(|text| Metadata::parse(text.as_bytes()).ok()).unwrap_or_default();
    metadata.instance_id.get_or_insert_with(|| "iid-datasource-none".to_owned());
    let about =
        About { cloud: "none".into(), platform: "none".into(), subplatform: "config".into(), ..About::default() };
    let user_data = Bytes(user_data.unwrap_or_default().into_bytes());
    Some(Seed { datasource: "none (the image)".into(), metadata, user_data, about, ..Seed::default() })
}

/// Tells the cloud why this instance cannot be configured, where the cloud asks to be told.
pub fn report_failure(host: &Host, why: &str) {
    if matches!(Dmi::read(host).cloud(), Some(Cloud::Azure)) {
        azure::report_failure(host, why);
    }
}

/// A cloud's metadata service, unless what it said in an earlier boot is known to be of this very machine.
fn over_network(host: &Host, search: &Search, cloud: Cloud, dmi: &Dmi, image: &Image) -> anyhow::Result<Found> {
    let identity = Identity { cloud: cloud.name().to_owned(), machine: dmi.product_uuid.clone() };
    let cached = search.cached.as_ref().filter(|cached| cached.identity.cloud == identity.cloud);
    if let Some(cached) = cached.filter(|cached| cached.identity == identity && !identity.machine.is_empty()) {
        return Ok(Found::Seed(Box::new(cached.seed.clone())));
    }
    if !search.network {
        return Ok(Found::OverNetwork(format!("the metadata service of {}", cloud.name())));
    }
    let base = search.metadata_url.clone().or_else(|| image.metadata_url(cloud.name()));
    let fetched = match cloud {
        Cloud::Ec2 { is_aws } => ec2::fetch(host, base, !is_aws || image.allows_imds_v1()),
        Cloud::OpenStack => openstack::fetch(host, base),
        Cloud::Gce => gce::fetch(host, base),
        Cloud::Azure => azure::fetch(host, base, dmi),
    };
    match (fetched, cached) {
        (Ok(seed), _) => Ok(Found::Seed(Box::new(Seed { identity: Some(identity), ..seed }))),
        // An outage is no reason to take this machine for a new one; another machine's id is.
        (Err(error), Some(cached)) if identity.machine.is_empty() || cached.identity.machine.is_empty() => {
            let mut seed = cached.seed.clone();
            seed.warnings.push(format!("{error:#}; this host stays the instance that it was"));
            Ok(Found::Seed(Box::new(seed)))
        }
        (Err(error), _) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, Network, Search, find};
    use crate::boot::host::Host;

    #[test]
    fn the_images_word_on_the_network_counts_before_the_datasources_and_the_command_lines_before_both() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let write = |path: &str, text: &str| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, text).expect("written");
        };
        for (file, text) in [("meta-data", "instance-id: i\n"), ("user-data", ""), ("network-config", "of: the seed\n")]
        {
            write(&format!("var/lib/cloud/seed/nocloud/{file}"), text);
        }
        let host = Host::new(tree.path().to_owned(), tree.path().join("proc"), tree.path().join("sys")).expect("host");
        let network = |line: &str, image: &str| {
            write("proc/cmdline", line);
            write("etc/cloud/cloud.cfg.d/50.cfg", image);
            let search = Search { network: false, cached: None, metadata_url: None };
            let Found::Seed(seed) = find(&host, &search).expect("found") else { panic!("no seed") };
            seed.network
        };
        let config = |text: &str| Some(Network::Config(text.to_owned()));
        assert_eq!(network("quiet", ""), config("of: the seed\n"));
        assert_eq!(network("quiet", "network: {config: disabled}\n"), None);
        assert_eq!(
            network("network-config=b2Y6IHRoZSBsaW5lCg==", "network: {config: disabled}\n"),
            config("of: the line\n")
        );
        assert_eq!(network("network-config=disabled", "network: {version: 2}\n"), None);
        let Some(Network::Config(of_the_image)) = network("quiet", "network: {version: 2}\n") else { panic!("none") };
        assert!(of_the_image.contains("version"), "{of_the_image}");
    }
}
