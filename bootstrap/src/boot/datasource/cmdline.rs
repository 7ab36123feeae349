use super::image::OwnNetwork;
use crate::boot::userdata::bounded_gunzip;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// A kernel command line is shorter, packed or not.
const MAX_NETWORK: u64 = 1 << 20;

/// What `ds=nocloud` on the kernel command line says of the seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoCloudLine {
    /// `i=` or `instance-id=`
    pub instance_id: Option<String>,
    /// `h=` or `local-hostname=`
    pub local_hostname: Option<String>,
    /// `s=` or `seedfrom=`
    pub seed_from: Option<String>,
}

/// Reads `ds=nocloud;s=…;i=…;h=…` (also `ds=nocloud-net`, and the older `ci.ds=`); the last one on the line counts.
pub fn read(command_line: &str) -> Option<NoCloudLine> {
    words(command_line).iter().rev().find_map(|word| {
        let value = word.strip_prefix("ds=").or_else(|| word.strip_prefix("ci.ds="))?;
        let mut parts = value.split(';');
        let name = parts.next()?.to_ascii_lowercase();
        (name == "nocloud" || name == "nocloud-net").then(|| pairs(parts))
    })
}

/// The datasource that `ds=NAME` names, in any case: the last one on the line counts.
pub fn named(command_line: &str) -> Option<String> {
    words(command_line).iter().rev().find_map(|word| {
        let value = ["ds=", "ci.ds=", "ci.datasource="].iter().find_map(|key| word.strip_prefix(key))?;
        let name = value.split(';').next()?.to_ascii_lowercase();
        let name = if name == "nocloud-net" { "nocloud".to_owned() } else { name };
        (!name.is_empty()).then_some(name)
    })
}

/// `network-config=disabled`, or the document in base64 that it stands for.
pub fn network(command_line: &str) -> Option<OwnNetwork> {
    let words = words(command_line);
    let value = words.iter().rev().find_map(|word| word.strip_prefix("network-config="))?;
    if value == "disabled" {
        return Some(OwnNetwork::Untouched);
    }
    let bytes = BASE64_STANDARD.decode(value).ok()?;
    let bytes = if bytes.starts_with(b"\x1f\x8b") { bounded_gunzip(&bytes, MAX_NETWORK).ok()? } else { bytes };
    String::from_utf8(bytes).ok().map(OwnNetwork::Config)
}

fn pairs<'a>(parts: impl Iterator<Item = &'a str>) -> NoCloudLine {
    let mut line = NoCloudLine::default();
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = Some(value.to_owned()).filter(|value| !value.is_empty());
        match key {
            "i" | "instance-id" => line.instance_id = value,
            "h" | "local-hostname" => line.local_hostname = value,
            "s" | "seedfrom" => line.seed_from = value,
            _ => log::warn!("the kernel command line has ds=nocloud with {key:?}, which is not known; known: i, h, s"),
        }
    }
    line
}

/// The kernel keeps the quotes of `"ds=nocloud;s=…"` and of `ds="nocloud;s=…"`; both are spaces' protection only.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.trim().chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(String::new()),
            c => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::image::OwnNetwork;
    use super::{NoCloudLine, named, network, read};

    #[test]
    fn the_line_may_describe_the_network_or_keep_it_as_it_is() {
        assert_eq!(network("quiet network-config=disabled"), Some(OwnNetwork::Untouched));
        let config = OwnNetwork::Config("version: 2\n".into());
        assert_eq!(network("network-config=dmVyc2lvbjogMgo= ro"), Some(config));
        assert_eq!((network("network-config=???"), network("quiet")), (None, None));
    }

    #[test]
    fn the_line_names_seed_instance_and_host() {
        let line = "root=/dev/vda1 ro quiet \"ds=nocloud;s=http://10.0.2.2:8000/x/;i=i-1;h=web\" console=ttyS0";
        let expected = NoCloudLine {
            instance_id: Some("i-1".into()),
            local_hostname: Some("web".into()),
            seed_from: Some("http://10.0.2.2:8000/x/".into()),
        };
        assert_eq!(read(line), Some(expected.clone()));
        assert_eq!(
            read("ds=\"nocloud-net;seedfrom=http://10.0.2.2:8000/x/;instance-id=i-1;local-hostname=web\""),
            Some(expected)
        );
    }

    #[test]
    fn other_datasources_and_lines_without_one_say_nothing() {
        assert_eq!(read("ds=ec2 root=/dev/vda"), None);
        assert_eq!(named("quiet ds=Ec2 root=/dev/vda").as_deref(), Some("ec2"));
        assert_eq!(named("ds=nocloud-net;s=/x/").as_deref(), Some("nocloud"));
        assert_eq!(named("quiet"), None);
        assert_eq!(read("ids=nocloud"), None);
        assert_eq!(read(""), None);
        assert_eq!(read("ds=nocloud"), Some(NoCloudLine::default()));
    }
}
