use super::cmdline::{self, NoCloudLine};
use super::disk::Mounted;
use super::image::Image;
use super::labels;
use super::seed::{About, Bytes, Network};
use super::{Found, Metadata, Seed};
use crate::boot::host::{Host, read_bounded};
use crate::boot::http::{self, Ask, Bounds};
use crate::boot::web;
use anyhow::Context as _;
use hostwright_core::backoff::Backoff;
use hyper::{StatusCode, Uri};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Seed folders in the order in which they are looked at; cloud-init's first, so that its images work as they are.
const FOLDERS: [&str; 3] =
    ["/var/lib/cloud/seed/nocloud", "/var/lib/cloud/seed/nocloud-net", "/var/lib/hostwright/seed"];
/// No cloud hands over more than 256 KiB; a seed's disk may hold a little more.
const MAX_BYTES: usize = 4 << 20;
/// For each of the files.
const FETCH_DEADLINE: Duration = Duration::from_secs(10);
/// A server that starts together with this machine may need a moment.
const FETCH_PATIENCE: Duration = Duration::from_secs(60);

/// Looks at the kernel command line, the seed folders, the image's own words and the labelled disks, in this order. What
/// is found may name another place: its user-data is what counts then.
///
/// # Errors
/// A seed is there but cannot be read.
pub fn find(host: &Host, network: bool, image: &Image) -> anyhow::Result<Found> {
    let command_line = std::fs::read_to_string(host.proc("cmdline")).unwrap_or_default();
    // QEMU hands the same line over as the machine's serial number.
    let serial = std::fs::read_to_string(host.sys("class/dmi/id/product_serial")).unwrap_or_default();
    let mut line = cmdline::read(&command_line).or_else(|| cmdline::read(&serial));
    let mut place =
        line.as_ref().and_then(|line| line.seed_from.clone()).map(|place| (place, "the kernel command line"));
    let mut files = None;
    if place.is_none() {
        files = in_folders(host)?
            .or_else(|| of_the_image(image))
            .map_or_else(|| on_disk(host, image), |files| Ok(Some(files)))?;
        place = image.text("NoCloud", "seedfrom").map(|place| (place, "the image"));
        place = place.or_else(|| Some((files.as_ref()?.seed_from()?, "the seed's own meta-data")));
    }
    if let Some((place, by)) = place {
        let place = with_dmi(host, &place);
        if (place.starts_with("http://") || place.starts_with("https://")) && !network {
            return Ok(Found::OverNetwork(place));
        }
        // What was said at the place that names it counts before what the place says.
        if let Some(before) = files.and_then(|files| Metadata::parse(files.metadata.as_deref()?).ok()) {
            let said = line.get_or_insert_default();
            said.instance_id = said.instance_id.take().or(before.instance_id);
            said.local_hostname = said.local_hostname.take().or(before.local_hostname);
        }
        files =
            Some(named(host, &place).with_context(|| format!("{by} names the seed {place}, which cannot be read"))?);
    }
    match (files, line) {
        (Some(files), line) => files.seed(line.unwrap_or_default()).map(|seed| Found::Seed(Box::new(seed))),
        // An instance id on the command line is a whole, if small, seed.
        (None, Some(line)) if line.instance_id.is_some() => {
            Files::at("kernel command line").seed(line).map(|seed| Found::Seed(Box::new(seed)))
        }
        (None, _) => Ok(Found::Nothing),
    }
}

/// The files of a seed as they were found.
#[derive(Default)]
struct Files {
    place: String,
    metadata: Option<Vec<u8>>,
    user_data: Option<Vec<u8>>,
    vendor_data: Option<Vec<u8>>,
    network_config: Option<Vec<u8>>,
}

impl Files {
    fn at(place: impl Into<String>) -> Self {
        Self { place: place.into(), ..Self::default() }
    }

    fn read(place: String, mut read: impl FnMut(&str) -> anyhow::Result<Option<Vec<u8>>>) -> anyhow::Result<Self> {
        Ok(Self {
            metadata: read("meta-data")?,
            user_data: read("user-data")?,
            vendor_data: read("vendor-data")?,
            network_config: read("network-config")?,
            place,
        })
    }

    /// `seedfrom:` of its metadata.
    fn seed_from(&self) -> Option<String> {
        let place = as_json(self.metadata.as_deref()?);
        place.get("seedfrom").and_then(serde_json::Value::as_str).map(str::to_owned)
    }

    fn is_a_seed(&self) -> bool {
        self.metadata.is_some() || self.user_data.is_some()
    }

    fn seed(self, line: NoCloudLine) -> anyhow::Result<Seed> {
        let read = self.metadata.as_deref().map(Metadata::parse).transpose();
        let mut metadata = read.with_context(|| format!("the seed in {}", self.place))?.unwrap_or_default();
        metadata.instance_id = line.instance_id.or(metadata.instance_id);
        metadata.local_hostname = line.local_hostname.or(metadata.local_hostname);
        let mut warnings = Vec::new();
        let not_empty = |content: &Vec<u8>| !content.trim_ascii().is_empty();
        let meta_data = self.metadata.as_deref().map(as_json).unwrap_or_default();
        if metadata.instance_id.is_none() {
            warnings.push(format!(
                "the seed in {} has no instance-id, so it is \"nocloud\" as on every such instance; put one into meta-data",
                self.place
            ));
        }
        let network = self.network_config.filter(not_empty).and_then(|content| match String::from_utf8(content) {
            Ok(text) => Some(Network::Config(text)),
            Err(_) => {
                warnings.push(format!("network-config in {} is not UTF-8: it is passed over", self.place));
                None
            }
        });
        Ok(Seed {
            datasource: format!("nocloud ({})", self.place),
            metadata,
            user_data: Bytes(self.user_data.unwrap_or_default()),
            vendor_data: self.vendor_data.filter(not_empty).map(Bytes).into_iter().collect(),
            network,
            about: About {
                cloud: "nocloud".into(),
                platform: "nocloud".into(),
                subplatform: format!("seed ({})", self.place),
                meta_data,
                ..About::default()
            },
            warnings,
            ..Seed::default()
        })
    }
}

fn as_json(metadata: &[u8]) -> serde_json::Value {
    let text = String::from_utf8_lossy(metadata);
    let root = hostwright_core::yaml::load(&text, hostwright_core::yaml::Duplicates::LastWins);
    root.map(|document| hostwright_core::yaml::to_json(&document.root)).unwrap_or_default()
}

/// The place that `s=` names: a folder of the host or a server.
fn named(host: &Host, place: &str) -> anyhow::Result<Files> {
    let files = match place.strip_prefix("file://").unwrap_or(place) {
        folder if folder.starts_with('/') => in_folder(&host.path(folder), folder.to_owned())?,
        url if url.starts_with("http://") => over_http(host, url)?,
        url if url.starts_with("https://") => over_https(host, url)?,
        _ => anyhow::bail!("expected /folder/, file:///folder/, https://host/folder/ or http://host/folder/"),
    };
    anyhow::ensure!(files.is_a_seed(), "there is neither meta-data nor user-data");
    Ok(files)
}

fn in_folders(host: &Host) -> anyhow::Result<Option<Files>> {
    for folder in FOLDERS {
        let files = in_folder(&host.path(folder), folder.to_owned())?;
        if files.is_a_seed() {
            return Ok(Some(files));
        }
    }
    Ok(None)
}

/// `datasource: {NoCloud: {user-data: …, meta-data: …}}`
fn of_the_image(image: &Image) -> Option<Files> {
    let of = |key: &str| image.text("NoCloud", key).map(String::into_bytes);
    let (metadata, user_data) = (of("meta-data")?, of("user-data")?);
    let [vendor_data, network_config] = ["vendor-data", "network-config"].map(of);
    let place = "the image's own configuration".to_owned();
    Some(Files { place, metadata: Some(metadata), user_data: Some(user_data), vendor_data, network_config })
}

/// `__dmi.system-serial-number__` and its kin in the name of a place: what the machine's firmware says.
fn with_dmi(host: &Host, place: &str) -> String {
    const KINDS: [(&str, &str); 5] =
        [("baseboard", "board"), ("bios", "bios"), ("chassis", "chassis"), ("system", "product"), ("system", "sys")];
    const NAMES: [(&str, &str); 8] = [
        ("asset-tag", "asset_tag"),
        ("manufacturer", "vendor"),
        ("vendor", "vendor"),
        ("product-name", "name"),
        ("serial-number", "serial"),
        ("uuid", "uuid"),
        ("release-date", "date"),
        ("version", "version"),
    ];
    let mut filled = place.to_owned();
    for (kind, file) in KINDS {
        for (name, end) in NAMES {
            let word = format!("__dmi.{kind}-{name}__");
            // Of the system the vendor alone is in a file of another name.
            let is_said = filled.contains(&word) && (kind != "system" || (end == "vendor") == (file == "sys"));
            if is_said {
                let path = host.sys("class/dmi/id").join(format!("{file}_{end}"));
                let text = std::fs::read_to_string(path).unwrap_or_default();
                filled = filled.replace(&word, text.trim());
            }
        }
    }
    filled
}

fn on_disk(host: &Host, image: &Image) -> anyhow::Result<Option<Files>> {
    let devices = image.seed_label().map(|label| labels::devices(host, label)).unwrap_or_default();
    for (device, file_system) in devices {
        let mounted = Mounted::new(host, &device, file_system)?;
        let files = in_folder(mounted.folder(), device.display().to_string())?;
        if files.is_a_seed() {
            return Ok(Some(files));
        }
    }
    Ok(None)
}

fn in_folder(folder: &Path, place: String) -> anyhow::Result<Files> {
    Files::read(place, |name| {
        let path = folder.join(name);
        match read_bounded(&path, MAX_BYTES as u64) {
            Ok(content) => Ok(Some(content)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    })
}

fn over_http(host: &Host, base: &str) -> anyhow::Result<Files> {
    let slash = if base.ends_with('/') || base.contains('?') { "" } else { "/" };
    let until = Instant::now() + FETCH_PATIENCE;
    Files::read(base.to_owned(), |name| {
        let url = format!("{base}{slash}{name}");
        let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
        host.block_on(fetch_patiently(&uri, until)).with_context(|| format!("cannot fetch {url}"))
    })
}

fn over_https(host: &Host, base: &str) -> anyhow::Result<Files> {
    let slash = if base.ends_with('/') || base.contains('?') { "" } else { "/" };
    Files::read(base.to_owned(), |name| {
        let url = format!("{base}{slash}{name}");
        match web::fetch(host, &url, web::Redirects::Refused) {
            Ok(content) => Ok(Some(content)),
            Err(web::Refusal { status: Some(404), .. }) => Ok(None),
            Err(refusal) => Err(anyhow::anyhow!("cannot fetch {url}: {}", refusal.why)),
        }
    })
}

async fn fetch_patiently(uri: &Uri, until: Instant) -> anyhow::Result<Option<Vec<u8>>> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let error = match fetch(uri).await {
            Ok(Ok(content)) => return Ok(content),
            Ok(Err(refused)) => return Err(refused),
            Err(error) => error,
        };
        let delay = backoff.next_delay();
        if Instant::now() + delay > until {
            return Err(error.context(format!("no answer in {} s of trying", FETCH_PATIENCE.as_secs())));
        }
        tokio::time::sleep(delay).await;
    }
}

/// The outer error may pass by itself; the inner one is the server's last word.
async fn fetch(uri: &Uri) -> anyhow::Result<anyhow::Result<Option<Vec<u8>>>> {
    let authority = uri.authority().context("the URL names no host")?;
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let connect = tokio::net::TcpStream::connect((name, authority.port_u16().unwrap_or(80)));
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let bounds = Bounds { deadline: FETCH_DEADLINE, bytes: MAX_BYTES };
    let answer = http::send(connect, Ask::get(authority.as_str(), target), bounds).await?;
    match answer.status {
        StatusCode::OK if answer.body.trim_ascii_start().starts_with(b"<") => {
            Ok(Err(anyhow::anyhow!("the server answered with HTML or XML: this is some other server's page")))
        }
        StatusCode::OK => Ok(Ok(Some(answer.body))),
        StatusCode::NOT_FOUND => Ok(Ok(None)),
        status if status.is_redirection() => {
            Ok(Err(anyhow::anyhow!("the server answered {status}: redirects are not followed, name the final place")))
        }
        status if status.is_server_error() => Err(anyhow::anyhow!("the server answered {status}")),
        status => Ok(Err(anyhow::anyhow!("the server answered {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Found;
    use super::super::image::Image;
    use crate::boot::host::Host;
    use std::io::{Read as _, Write as _};
    use std::path::Path;

    fn find(host: &Host, network: bool) -> anyhow::Result<Found> {
        super::find(host, network, &Image::read(host))
    }

    #[test]
    fn the_image_and_a_seed_may_name_another_place_by_the_machines_own_numbers() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = host(tree.path(), "quiet");
        let write = |path: &str, text: &str| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, text).expect("written");
        };
        write("sys/class/dmi/id/product_serial", "S-7\n");
        write("sys/class/dmi/id/sys_vendor", "Maker\n");
        write("srv/Maker/S-7/meta-data", "instance-id: i-far\nlocal-hostname: far\n");
        write("srv/Maker/S-7/user-data", "#cloud-config\nhostname: far\n");
        let place = "/srv/__dmi.system-manufacturer__/__dmi.system-serial-number__/";
        let image = "etc/cloud/cloud.cfg.d/90.cfg";
        write(image, "datasource: {NoCloud: {meta-data: {instance-id: i-image}, user-data: '#!/bin/sh'}}\n");
        let Found::Seed(seed) = find(&host, false).expect("found") else { panic!("no seed") };
        assert_eq!((seed.metadata.instance_id.as_deref(), &seed.user_data[..]), (Some("i-image"), &b"#!/bin/sh"[..]));

        write(image, &format!("datasource: {{NoCloud: {{seedfrom: {place}}}}}\n"));
        let Found::Seed(seed) = find(&host, false).expect("found") else { panic!("no seed") };
        assert_eq!(seed.metadata.instance_id.as_deref(), Some("i-far"));

        write(image, "");
        write("var/lib/cloud/seed/nocloud/meta-data", &format!("instance-id: i-near\nseedfrom: {place}\n"));
        write("var/lib/cloud/seed/nocloud/user-data", "");
        let Found::Seed(seed) = find(&host, false).expect("found") else { panic!("no seed") };
        assert_eq!(seed.metadata.instance_id.as_deref(), Some("i-near"), "what is near counts first");
        assert_eq!(seed.metadata.local_hostname.as_deref(), Some("far"));
        assert_eq!(&seed.user_data[..], b"#cloud-config\nhostname: far\n");
    }

    fn host(tree: &Path, command_line: &str) -> Host {
        for folder in ["proc", "sys/class/block", "var/lib/cloud/seed/nocloud"] {
            std::fs::create_dir_all(tree.join(folder)).expect("folder");
        }
        std::fs::write(tree.join("proc/cmdline"), command_line).expect("written");
        Host::new(tree.to_owned(), tree.join("proc"), tree.join("sys")).expect("host")
    }

    #[test]
    fn a_seed_folder_is_read_and_the_command_line_overrides_its_metadata() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = host(tree.path(), "quiet ds=nocloud;h=other\n");
        let seed = tree.path().join("var/lib/cloud/seed/nocloud");
        std::fs::write(seed.join("meta-data"), "instance-id: i-7\nlocal-hostname: web\n").expect("written");
        std::fs::write(seed.join("user-data"), "#cloud-config\n").expect("written");
        std::fs::write(seed.join("network-config"), "version: 2\n").expect("written");
        let Found::Seed(seed) = find(&host, false).expect("found") else { panic!("no seed") };
        assert_eq!(seed.datasource, "nocloud (/var/lib/cloud/seed/nocloud)");
        assert_eq!(seed.metadata.instance_id.as_deref(), Some("i-7"));
        assert_eq!(seed.metadata.local_hostname.as_deref(), Some("other"));
        assert_eq!(&seed.user_data[..], b"#cloud-config\n");
        assert_eq!(seed.network, Some(super::Network::Config("version: 2\n".into())));
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let tree = tempfile::tempdir().expect("temporary folder");
        assert!(matches!(find(&host(tree.path(), "quiet"), true), Ok(Found::Nothing)));
    }

    #[test]
    fn a_named_seed_that_is_not_there_is_an_error_with_its_place() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let error = find(&host(tree.path(), "ds=nocloud;s=/nowhere/"), true).err().expect("refused");
        assert!(format!("{error:#}").contains("/nowhere/"), "{error:#}");
    }

    /// Answers requests in turn with what `answer` makes of their path.
    fn server(answer: fn(&str) -> String) -> u16 {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("port");
        let port = listener.local_addr().expect("address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("connection");
                let mut request = [0; 4096];
                let length = stream.read(&mut request).expect("request");
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default();
                stream.write_all(answer(path).as_bytes()).expect("answered");
            }
        });
        port
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn a_seed_url_waits_for_the_network_and_is_then_fetched() {
        let port = server(|path| match path {
            "/i-1/meta-data" => ok("instance-id: i-1"),
            "/i-1/user-data" => ok("#cloud-config\n"),
            _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(),
        });
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = host(tree.path(), &format!("ds=nocloud;s=http://127.0.0.1:{port}/i-1"));
        assert!(matches!(find(&host, false), Ok(Found::OverNetwork(_))));
        let Found::Seed(seed) = find(&host, true).expect("fetched") else { panic!("no seed") };
        assert_eq!(seed.metadata.instance_id.as_deref(), Some("i-1"));
        assert_eq!(&seed.user_data[..], b"#cloud-config\n");
    }

    #[test]
    fn redirects_and_pages_are_refused_with_a_reason() {
        for (answer, reason) in [
            (
                (|_| "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".into())
                    as fn(&str) -> String,
                "redirects are not followed",
            ),
            (|_| ok("<!DOCTYPE html><html>log in</html>"), "HTML"),
            (|_| "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".into(), "403"),
        ] {
            let tree = tempfile::tempdir().expect("temporary folder");
            let host = host(tree.path(), &format!("ds=nocloud;s=http://127.0.0.1:{}/", server(answer)));
            let error = format!("{:#}", find(&host, true).err().expect("refused"));
            assert!(error.contains(reason), "{error}");
        }
    }
}
