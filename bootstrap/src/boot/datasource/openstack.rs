use super::documents::Documents;
use super::ec2;
use super::seed::Seed;
use super::service::Service;
use crate::boot::host::Host;

/// The link-local IPv6 address needs an interface, which the resolver takes behind a `%`: it is tried where IPv4 fails.
const ADDRESSES: [&str; 1] = ["http://169.254.169.254"];

/// Asks the metadata service for all its documents at once: one round trip to connect and one for the answers.
///
/// # Errors
/// It does not answer, or gives no instance id.
pub fn fetch(host: &Host, base: Option<String>) -> anyhow::Result<Seed> {
    let mut addresses = base.map_or_else(|| ADDRESSES.map(str::to_owned).to_vec(), |base| vec![base]);
    if addresses[0].contains("169.254.169.254") {
        addresses.extend(interfaces(host).iter().map(|name| format!("http://[fe80::a9fe:a9fe%{name}]")));
    }
    let service = Service::at(&addresses);
    let documents = host.block_on(async {
        let of = |name: &str| format!("/openstack/latest/{name}");
        let paths =
            ["meta_data.json", "user_data", "vendor_data.json", "vendor_data2.json", "network_data.json"].map(of);
        let (meta_data, user_data, vendor_data, vendor_data2, network_data) = tokio::join!(
            service.get(&paths[0]),
            service.get(&paths[1]),
            service.get(&paths[2]),
            service.get(&paths[3]),
            service.get(&paths[4]),
        );
        let Some(meta_data) = meta_data? else { return Ok(None) };
        anyhow::Ok(Some(Documents {
            meta_data,
            user_data: user_data?,
            vendor_data: vendor_data?,
            vendor_data2: vendor_data2?,
            network_data: network_data?,
        }))
    })?;
    match documents {
        Some(documents) => {
            documents.seed(&format!("openstack ({})", service.base), &format!("metadata ({})", service.base))
        }
        // An old one has EC2's documents alone.
        None => ec2::fetch(host, Some(service.base), true),
    }
}

fn interfaces(host: &Host) -> Vec<String> {
    let entries = std::fs::read_dir(host.sys("class/net")).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name != "lo");
    names.sort();
    names
}
