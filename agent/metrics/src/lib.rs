//! Node metrics with node_exporter's names: sample → encode → serve.
//!
//! In: a request of a Prometheus. [`sample`] reads the kernel's files with a collector for each of node_exporter's,
//! [`own`] adds the agent's duties and process, [`encode`] writes the text format. Out: the answer, from [`serve`].
//! A thread of its own samples and serves, one scrape after the other; a mount that hangs is shown as in error and delays nothing
//! else, and for a file of the kernel that hangs, another thread goes on without it. Where receivers are configured, [`push`] sends them the same; [`discovery`] tells a Prometheus where this host
//! is. Nothing survives a restart but what waits for receivers: every number is the kernel's, or counts since the agent started.

/// gzip and zstd.
mod compress;
/// Containers' resources with cAdvisor's names.
mod containers;
/// How a Prometheus finds this host.
mod discovery;
/// The text format on a byte buffer.
mod encode;
/// How requests for metrics ended.
mod handled;
/// What duties measure of themselves.
mod measured;
/// The text format as OpenMetrics.
mod openmetrics;
/// The agent's own metrics.
mod own;
/// Prometheus remote_write: the same samples as a scrape, sent to receivers.
mod push;
/// What the kernel says of this host.
mod sample;
/// One scrape after the other on a thread of its own.
mod scraper;
/// HTTP: who may ask, for what, in which form.
mod serve;
/// The addresses, served by the thread that samples, and by another one when that hangs.
mod served;
/// How far a scrape is, and what is left out because it hangs.
mod stages;
/// The duty's status, kept up to date.
mod status;

use containers::Containers;
use discovery::{Discovery, Place};
use encode::{Encoder, Labels};
use futures_util::FutureExt as _;
use handled::Handled;
use hostwright_core::config::host::Host;
use hostwright_core::config::metrics::Metrics;
use hostwright_core::config::metrics::containers::Containers as Engine;
use hostwright_duty::supervisor::Context;
use own::Own;
use sample::Sampler;
use scraper::{Sampling, Scraper};
use serve::{Service, Web};
use served::Served;
use status::Told;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Serves until told to stop.
///
/// # Errors
/// An address cannot be listened on, or sampling ended.
pub async fn run(settings: Metrics, context: Context) -> anyhow::Result<()> {
    let web = Arc::new(Web::read(settings.web_config.as_deref())?);
    let receivers = push::Receivers::new(settings.remote_write.clone());
    let handled = Arc::new(Handled::default());
    let sampling = sampling(&settings, &context, &receivers, handled.clone());
    let listeners = serve::listen(&settings.listen)?;
    let listeners = listeners.into_iter().map(TcpListener::into_std).collect::<Result<Vec<_>, _>>()?;
    let addresses: Vec<_> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let (scraper, reports) = Scraper::start(&settings, sampling)?;
    let scraper = Arc::new(scraper);
    let place = Place {
        addresses: addresses.clone(),
        path: settings.path.clone(),
        has_tls: web.has_tls(),
        host_name: context.environment.host_name.clone(),
        labels: context.environment.host.labels.0.clone(),
    };
    let discovery = Arc::new(Discovery::new(place, settings.file_sd.clone()));
    // Ends the servers when this function ends, for whatever reason.
    let stop = context.stop.child_token();
    let _guard = stop.clone().drop_guard();
    let told =
        Told { addresses, web: web.clone(), reports, receivers: receivers.watch(), discovery: discovery.clone() };
    let served = Served { listeners, wanted: settings.listen.clone(), scraper: scraper.clone() };
    let service = Arc::new(Service::new(scraper.clone(), settings, web, handled));
    let mut served = tokio::spawn(served.serve(service, stop.clone()));
    let ended = tokio::try_join!(
        async { (&mut served).await? },
        discovery.write(&stop).map(Ok),
        told.tell(&context.status, &stop),
        receivers.serve(scraper, &context, &stop)
    );
    stop.cancel();
    if !served.is_finished() {
        // Why everything ends is known already.
        let _ = served.await;
    }
    ended.map(|_| ())
}

/// Makes what a thread samples with, as often as one is started.
fn sampling(
    settings: &Metrics,
    context: &Context,
    receivers: &push::Receivers,
    handled: Arc<Handled>,
) -> impl Fn() -> Sampling + Send + Sync + 'static {
    let host = host_labels(&context.environment.host);
    let (roots, collectors) = (settings.roots.clone(), settings.collectors.clone());
    let (statuses, receivers) = (context.statuses.clone(), receivers.watch());
    let folders = match &settings.containers {
        Engine::Of(folders) => Some(folders.clone()),
        Engine::Off => None,
    };
    move || Sampling {
        sampler: Sampler::new(&roots, &collectors),
        containers: folders.as_ref().map(|folders| Containers::new(folders, &roots)),
        own: Own::new(statuses.clone(), receivers.clone(), handled.clone()),
        out: Encoder::new(host.clone()),
    }
}

/// Labels of samples. A host's label of that name would make two of one name in a sample, which Prometheus refuses.
const SAMPLE_LABELS: &[&str] = &[
    "address",
    "adminstate",
    "algorithm",
    "altname",
    "ana_state",
    "backing_device",
    "bios_date",
    "bios_release",
    "bios_vendor",
    "bios_version",
    "block_group_type",
    "board_asset_tag",
    "board_id",
    "board_name",
    "board_serial",
    "board_vendor",
    "board_version",
    "broadcast",
    "bssid",
    "btrfs_dev_uuid",
    "bug",
    "build_id",
    "bus",
    "bus_info",
    "cache_device",
    "cachesize",
    "capacity_level",
    "card",
    "cause",
    "charge_type",
    "chassis_asset_tag",
    "chassis_serial",
    "chassis_vendor",
    "chassis_version",
    "chip",
    "chip_name",
    "class",
    "class_id",
    "class_name",
    "clocksource",
    "cntlid",
    "code",
    "codename",
    "collector",
    "container_label_com_docker_compose_container_number",
    "container_label_com_docker_compose_project",
    "container_label_com_docker_compose_service",
    "controller",
    "core",
    "cpu",
    "csrow",
    "data_type",
    "dataset",
    "dest",
    "dev_loss_tmo",
    "device",
    "device_error",
    "device_id",
    "device_name",
    "devices",
    "domainname",
    "driver",
    "duplex",
    "duty",
    "error",
    "error_type",
    "expansion_rom_version",
    "export",
    "fabric_name",
    "failure_type",
    "family",
    "fc_host",
    "file",
    "firmware_revision",
    "firmware_version",
    "flag",
    "fstype",
    "function",
    "goarch",
    "goos",
    "governor",
    "gw",
    "hca_type",
    "health",
    "id",
    "id_like",
    "identity",
    "ifalias",
    "image",
    "image_id",
    "image_version",
    "index",
    "info",
    "interface",
    "ip",
    "kind",
    "label",
    "local_address",
    "local_mark",
    "local_port",
    "lv_layer",
    "lv_name",
    "mac_address",
    "machine",
    "major",
    "manufacturer",
    "master",
    "memory_vendor",
    "method",
    "microcode",
    "minor",
    "mitigation",
    "mode",
    "model",
    "model_name",
    "mountaddr",
    "mountpoint",
    "name",
    "netmask",
    "node",
    "nodename",
    "nsid",
    "operation",
    "operstate",
    "options",
    "output",
    "package",
    "parent_bus",
    "parent_device",
    "parent_function",
    "parent_segment",
    "path",
    "port",
    "port_id",
    "port_name",
    "port_state",
    "port_type",
    "power_performance_level",
    "power_supply",
    "pretimeout_governor",
    "pretty_name",
    "priority",
    "product",
    "product_family",
    "product_name",
    "product_serial",
    "product_sku",
    "product_uuid",
    "product_version",
    "proto",
    "protocol",
    "queue",
    "rapl_zone",
    "receiver",
    "release",
    "remote",
    "remote_address",
    "remote_port",
    "revision",
    "rotational",
    "scope",
    "seat",
    "segment",
    "sensor",
    "serial",
    "serial_number",
    "service",
    "size",
    "slab",
    "source",
    "speed",
    "src",
    "ssid",
    "state",
    "status",
    "stepping",
    "subsys_name",
    "subsystem",
    "subsystem_device_id",
    "subsystem_device_name",
    "subsystem_vendor_id",
    "subsystem_vendor_name",
    "supported_classes",
    "supported_speeds",
    "swap_type",
    "symbolic_name",
    "sysname",
    "system_vendor",
    "technology",
    "thread_state",
    "time_zone",
    "transport",
    "type",
    "ulimit",
    "unique_id",
    "usage",
    "usb_type",
    "uuid",
    "value",
    "variant",
    "variant_id",
    "vector",
    "vendor",
    "vendor_id",
    "vendor_name",
    "version",
    "version_codename",
    "version_id",
    "vg_name",
    "virtualization_type",
    "weight",
    "wwn",
    "zone",
    "zpool",
];

fn host_labels(host: &Host) -> Labels {
    // Names with two underscores in front are Prometheus' own.
    let is_taken = |name: &str| SAMPLE_LABELS.contains(&name) || name.starts_with("__");
    let (taken, free): (Vec<_>, Vec<_>) = host.labels.0.iter().partition(|(name, _)| is_taken(name));
    for (name, _) in taken {
        log::warn!(
            "metrics: the host's label {name:?} is not put on metrics, where that name has a meaning of its own; choose another one in host.labels"
        );
    }
    Labels::new(&free.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::encode::Encoder;
    use super::sample::{Roots, Sampler, Selection};
    use super::{Host, Labels, SAMPLE_LABELS, host_labels};
    use hostwright_core::config::values;

    fn sample(roots: &Roots, out: &mut Encoder) -> String {
        Sampler::new(roots, &Default::default()).sample(&Selection::default(), out);
        String::from_utf8(out.take()).expect("UTF-8")
    }

    #[test]
    fn the_hosts_labels_are_on_every_sample_and_never_twice() {
        let labels =
            [("role", "a\"b"), ("device", "x"), ("__name__", "x")].map(|(name, value)| (name.into(), value.into()));
        let host = Host { name: None, labels: values::Labels(labels.into()) };
        assert_eq!(host_labels(&host), Labels::new(&[("role", b"a\"b")]));
        let text = sample(&Roots::default(), &mut Encoder::new(host_labels(&host)));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert_eq!(line.matches(r#"role="a\"b""#).count(), 1, "{line}");
        }
    }

    #[test]
    fn every_label_of_a_sample_is_kept_free_of_the_hosts() {
        let text = sample(&Roots::default(), &mut Encoder::default());
        let labels = text.lines().filter_map(|line| line.split_once('{')?.1.rsplit_once('}'));
        for name in labels.flat_map(|(labels, _)| labels.split("\",")).filter_map(|pair| pair.split_once("=\"")) {
            assert!(SAMPLE_LABELS.contains(&name.0), "{name:?}");
        }
    }

    #[test]
    fn a_tree_without_anything_gives_no_samples_but_tells_so() {
        let empty = tempfile::tempdir().expect("temporary folder");
        let path = || empty.path().to_owned();
        let roots = Roots { procfs: path(), sysfs: path(), rootfs: path(), udev: path() };
        let mut out = Encoder::default();
        let troubles = Sampler::new(&roots, &Default::default()).sample(&Selection::default(), &mut out);
        assert!(troubles.0.is_empty(), "{troubles:?}");
        let text = String::from_utf8(out.take()).expect("UTF-8");
        assert!(text.contains("node_scrape_collector_success{collector=\"meminfo\"} 0\n"), "{text}");
        assert!(!text.contains("node_memory_"), "{text}");
    }
}
