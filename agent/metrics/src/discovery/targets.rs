use super::Place;
use hostwright_core::config::metrics::file_sd::FileSd;
use serde_json::{Map, Value, json};

/// The content of the file: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config>.
pub fn of(place: &Place, file: &FileSd) -> String {
    let given: Vec<&str> = file.targets.iter().map(|target| target.0.as_str()).collect();
    let targets = if given.is_empty() { json!([default(place)]) } else { json!(given) };
    let text = serde_json::to_string_pretty(&json!([{"targets": targets, "labels": labels(place, file)}]));
    // Texts under texts can always be written.
    text.unwrap_or_default() + "\n"
}

/// The host's address, or its name where it listens on all of them.
fn default(place: &Place) -> String {
    match place.address().filter(|address| !address.ip().is_unspecified()) {
        Some(address) => address.to_string(),
        None => format!("{}:{}", place.host_name, place.port()),
    }
}

fn labels(place: &Place, file: &FileSd) -> Map<String, Value> {
    let mut labels = Map::new();
    if place.has_tls {
        labels.insert("__scheme__".into(), "https".into());
    }
    if place.path != "/metrics" {
        labels.insert("__metrics_path__".into(), place.path.as_str().into());
    }
    // Names with two underscores are Prometheus' own, unless the operator gives them here on purpose.
    let of_host = place.labels.iter().filter(|(name, _)| !name.starts_with("__"));
    for (name, value) in of_host.chain(&file.labels.0) {
        labels.insert(name.clone(), value.as_str().into());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::{FileSd, Place, of};
    use hostwright_core::config::values::{HostPort, Labels};
    use serde_json::{Value, json};

    fn content(addresses: &[&str], targets: &[&str]) -> Value {
        let place = Place {
            addresses: addresses.iter().map(|address| address.parse().expect("address")).collect(),
            path: "/node".into(),
            has_tls: true,
            host_name: "h1".into(),
            labels: [("role", "web"), ("__x", "y")].map(|(name, value)| (name.into(), value.into())).into(),
        };
        let targets = targets.iter().map(|target| HostPort((*target).to_owned())).collect();
        let labels = Labels([("role".to_owned(), "db".to_owned())].into());
        let text = of(&place, &FileSd { path: "/x.json".into(), targets, labels });
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn the_target_is_where_the_host_is_reached_and_its_labels_are_the_hosts() {
        for (addresses, targets, want) in [
            (&["0.0.0.0:9100"][..], &[][..], json!(["h1:9100"])),
            (&["[::]:9101"], &[], json!(["h1:9101"])),
            (&["0.0.0.0:9100", "10.0.0.5:9101"], &[], json!(["10.0.0.5:9101"])),
            (&["127.0.0.1:9101", "0.0.0.0:9100"], &[], json!(["h1:9100"])),
            (&["127.0.0.1:9101"], &[], json!(["127.0.0.1:9101"])),
            (&["[fd00::5]:9100"], &[], json!(["[fd00::5]:9100"])),
            (&[], &[], json!(["h1:9100"])),
            (&["0.0.0.0:9100"], &["nat.example:19100", "other:1"], json!(["nat.example:19100", "other:1"])),
        ] {
            let content = content(addresses, targets);
            assert_eq!(content[0]["targets"], want);
            let labels = json!({"__scheme__": "https", "__metrics_path__": "/node", "role": "db"});
            assert_eq!(content[0]["labels"], labels);
        }
    }
}
