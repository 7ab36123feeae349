use super::Place;
use serde_json::{Value, json};
use std::path::Path;

/// What an operator puts into prometheus.yml, by what finds the hosts. All are whole, so that `promtool check config`
/// takes them; words in capitals are for the operator to replace.
pub fn all(place: &Place, file: Option<&Path>) -> Value {
    let mut all = json!({
        "Prometheus on EC2 (ec2_sd: instances with the tag Prometheus=true)": ec2(place),
        "Prometheus on OpenStack (openstack_sd: instances with the metadata prometheus_io_scrape=true)": openstack(place),
    });
    if let Some(file) = file {
        all["Prometheus with this host's file (file_sd)"] = file_sd(file).into();
    }
    all
}

/// How the targets are asked, where it is not as a Prometheus does it by itself.
fn way(place: &Place) -> String {
    let mut way = String::new();
    if place.has_tls {
        way.push_str("    scheme: https\n    # tls_config: {ca_file: AUTHORITY.pem}\n");
    }
    if place.path != "/metrics" {
        way.push_str(&format!("    metrics_path: {}\n", place.path));
    }
    way
}

fn ec2(place: &Place) -> String {
    format!(
        "# aws ec2 create-tags --resources INSTANCE --tags Key=Prometheus,Value=true\n\
         scrape_configs:\n  \
         - job_name: node\n    \
         honor_labels: true\n{way}    \
         ec2_sd_configs:\n      \
         - region: REGION\n        \
         port: {port}\n        \
         filters:\n          \
         - {{name: \"tag:Prometheus\", values: [\"true\"]}}\n          \
         - {{name: instance-state-name, values: [running]}}\n    \
         relabel_configs:\n      \
         - {{source_labels: [__meta_ec2_tag_Name], regex: (.+), target_label: instance}}\n",
        way = way(place),
        port = place.port()
    )
}

fn openstack(place: &Place) -> String {
    format!(
        "# openstack server set --property prometheus_io_scrape=true --property prometheus_io_port={port} SERVER\n\
         scrape_configs:\n  \
         - job_name: node\n    \
         honor_labels: true\n{way}    \
         openstack_sd_configs:\n      \
         - role: instance\n        \
         region: REGION\n        \
         identity_endpoint: https://IDENTITY/v3\n        \
         domain_name: DOMAIN\n        \
         project_name: PROJECT\n        \
         application_credential_id: ID\n        \
         application_credential_secret: SECRET\n        \
         port: {port}\n    \
         relabel_configs:\n      \
         - {{source_labels: [__meta_openstack_tag_prometheus_io_scrape], action: keep, regex: \"true\"}}\n      \
         - source_labels: [__address__, __meta_openstack_tag_prometheus_io_port]\n        \
         regex: ([^:]+)(?::\\d+)?;(\\d+)\n        \
         replacement: $1:$2\n        \
         target_label: __address__\n      \
         - {{source_labels: [__meta_openstack_tag_prometheus_io_group], regex: (.+), target_label: group}}\n      \
         - {{source_labels: [__meta_openstack_instance_name], regex: (.+), target_label: instance}}\n",
        way = way(place),
        port = place.port()
    )
}

/// What the file says of scheme and path it says of each target.
fn file_sd(file: &Path) -> String {
    let folder = file.parent().unwrap_or(Path::new("/")).display();
    format!(
        "# The host's labels are on its samples already; honor_labels keeps them from being there twice.\n\
         scrape_configs:\n  \
         - job_name: node\n    \
         honor_labels: true\n    \
         file_sd_configs:\n      \
         - files: [\"{folder}/*.json\"]\n"
    )
}
