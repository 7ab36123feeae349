//! Wireless devices, the networks they are in and the stations they speak with.
//!
//! In: the kernel's nl80211, or a folder of JSON that stands in for it. Out: `node_wifi_*`. Labels are kept from scrape
//! to scrape.

/// A folder in place of the kernel.
mod fixtures;
/// nl80211.
mod kernel;

use super::rows::Rows;
use super::{CollectError, Collector, Scrape};
use crate::encode::{Family, Kind};
use fixtures::Fixtures;
use hostwright_core::config::metrics::collectors::wifi as options;
use kernel::Kernel;
use std::fmt::Write as _;

/// What is told of a station, in the order of [`Station::values`].
const FAMILIES: [(&str, Kind, &str); 12] = [
    (
        "connected_seconds_total",
        Kind::Counter,
        "The total number of seconds a station has been connected to an access point.",
    ),
    ("inactive_seconds", Kind::Gauge, "The number of seconds since any wireless activity has occurred on a station."),
    ("receive_bits_per_second", Kind::Gauge, "The current WiFi receive bitrate of a station, in bits per second."),
    ("transmit_bits_per_second", Kind::Gauge, "The current WiFi transmit bitrate of a station, in bits per second."),
    ("receive_bytes_total", Kind::Counter, "The total number of bytes received by a WiFi station."),
    ("transmit_bytes_total", Kind::Counter, "The total number of bytes transmitted by a WiFi station."),
    ("received_packets_total", Kind::Counter, "The total number of packets received by a station."),
    ("transmitted_packets_total", Kind::Counter, "The total number of packets transmitted by a station."),
    ("signal_dbm", Kind::Gauge, "The current WiFi signal strength, in decibel-milliwatts (dBm)."),
    (
        "transmit_retries_total",
        Kind::Counter,
        "The total number of times a station has had to retry while sending a packet.",
    ),
    ("transmit_failed_total", Kind::Counter, "The total number of times a station has failed to send a packet."),
    ("beacon_loss_total", Kind::Counter, "The total number of times a station has detected a beacon loss."),
];

/// A device that speaks 802.11.
#[derive(Debug, Default, PartialEq)]
pub struct Interface {
    pub name: Vec<u8>,
    pub megahertz: f64,
    pub network: Option<Network>,
    pub stations: Vec<Station>,
}

/// The network that a device is in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Network {
    pub ssid: Vec<u8>,
    pub bssid: Vec<u8>,
    pub status: u32,
}

/// The other end.
#[derive(Debug, Default, PartialEq)]
pub struct Station {
    pub address: Vec<u8>,
    pub values: [f64; FAMILIES.len()],
}

/// Where devices are known from.
enum Source {
    Kernel(Kernel),
    Fixtures(Fixtures),
}

/// The wireless devices of this host.
pub struct Wifi {
    source: Source,
    frequency: Family,
    info: Family,
    families: [Family; FAMILIES.len()],
    devices: Rows<f64>,
    networks: Rows<()>,
    stations: Rows<[f64; FAMILIES.len()]>,
}

impl Wifi {
    pub fn new(options: &options::Wifi) -> Self {
        Self {
            source: match &options.fixtures {
                Some(folder) => Source::Fixtures(Fixtures::new(folder)),
                None => Source::Kernel(Kernel::new()),
            },
            frequency: Family::gauge(
                "node_wifi_interface_frequency_hertz",
                "The current frequency a WiFi interface is operating at, in hertz.",
            ),
            info: Family::gauge(
                "node_wifi_station_info",
                "Labeled WiFi interface station information as provided by the operating system.",
            ),
            families: FAMILIES.map(|(name, kind, help)| Family::new(&format!("node_wifi_station_{name}"), help, kind)),
            devices: Rows::default(),
            networks: Rows::default(),
            stations: Rows::default(),
        }
    }

    fn keep(&mut self, interface: &Interface) {
        let device = &interface.name[..];
        *self.devices.row("device", device) = interface.megahertz * 1e6;
        if let Some(Network { ssid, bssid, status }) = &interface.network {
            let (mode, bssid) = (mode(*status), address(bssid));
            let key = [device, b"/", bssid.as_bytes(), b"/", mode.as_bytes(), b"/", ssid].concat();
            self.networks.row_with(&key, |labels| {
                labels.set(&[
                    ("bssid", bssid.as_bytes()),
                    ("device", device),
                    ("mode", mode.as_bytes()),
                    ("ssid", ssid),
                ]);
            });
        }
        for station in &interface.stations {
            let key = [device, b"/", &station.address].concat();
            *self.stations.row_with(&key, |labels| {
                labels.set(&[("device", device), ("mac_address", address(&station.address).as_bytes())]);
            }) = station.values;
        }
    }
}

/// What a device is in its network, by the kernel's number (`nl80211_bss_status`).
fn mode(status: u32) -> &'static str {
    match status {
        0 | 1 => "client",
        2 => "ad-hoc",
        _ => "unknown",
    }
}

/// `02:42:ac:11:00:02`.
fn address(bytes: &[u8]) -> String {
    bytes.iter().enumerate().fold(String::new(), |mut text, (at, byte)| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{}{byte:02x}", if at == 0 { "" } else { ":" });
        text
    })
}

impl Collector for Wifi {
    fn name(&self) -> &'static str {
        "wifi"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let interfaces = match &mut self.source {
            Source::Kernel(kernel) => kernel.read()?,
            Source::Fixtures(fixtures) => {
                let (interfaces, failed) = fixtures.read()?;
                scrape.failed = failed;
                interfaces
            }
        };
        self.devices.begin();
        self.networks.begin();
        self.stations.begin();
        // Some virtual devices have no name.
        interfaces.iter().filter(|interface| !interface.name.is_empty()).for_each(|interface| self.keep(interface));
        let mut samples = scrape.out.family(&self.frequency);
        self.devices.iter().for_each(|row| samples.with(&row.labels, row.values));
        let mut samples = scrape.out.family(&self.info);
        self.networks.iter().for_each(|row| samples.with(&row.labels, true));
        for (at, family) in self.families.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            self.stations.iter().for_each(|row| samples.with(&row.labels, row.values[at]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Wifi, options};
    use crate::sample::testing::{assert_has, collect, fails, samples, tree};

    #[test]
    fn a_folder_stands_in_for_the_kernel() {
        let (folder, roots) = tree(&[
            ("wifi/interfaces.json", r#"[{"name": "wlp2s0", "frequency": 5180}, {"name": ""}, {"name": "mon0"}]"#),
            ("wifi/wlp2s0/bss.json", r#"{"SSID": "the \"office\"", "BSSID": "AkKsEQAC", "Status": 1}"#),
            (
                "wifi/wlp2s0/stationinfo.json",
                r#"[{"HardwareAddr": "AkKsEQAC", "Connected": 61000000000, "Inactive": 40000000, "ReceivedBytes": 7,
                     "TransmittedBytes": 8, "ReceivedPackets": 3, "TransmittedPackets": 4, "ReceiveBitrate": 866700000,
                     "TransmitBitrate": 650000000, "Signal": -52, "TransmitRetries": 1, "TransmitFailed": 2,
                     "BeaconLoss": 5}]"#,
            ),
        ]);
        let options = options::Wifi { fixtures: Some(folder.path().join("wifi")) };
        let mut wifi = Wifi::new(&options);
        let lines = samples(&mut wifi, &roots);
        let station = r#"{device="wlp2s0",mac_address="02:42:ac:11:00:02"}"#;
        let of = |name: &str, value: &str| format!("node_wifi_station_{name}{station} {value}");
        let expected = [
            of("connected_seconds_total", "61"),
            of("inactive_seconds", "0.04"),
            of("receive_bits_per_second", "866700000"),
            of("signal_dbm", "-52"),
            of("beacon_loss_total", "5"),
            of("transmitted_packets_total", "4"),
        ];
        assert_has(&lines, &expected.each_ref().map(String::as_str));
        assert_has(
            &lines,
            &[
                r#"node_wifi_interface_frequency_hertz{device="wlp2s0"} 5180000000"#,
                r#"node_wifi_interface_frequency_hertz{device="mon0"} 0"#,
                r#"node_wifi_station_info{bssid="02:42:ac:11:00:02",device="wlp2s0",mode="client",ssid="the \"office\""} 1"#,
            ],
        );
        assert_eq!(lines.len(), 2 + 1 + 12);
        std::fs::remove_dir_all(folder.path().join("wifi")).expect("removed");
        assert!(collect(&mut wifi, &roots).is_err());
    }

    #[test]
    fn what_was_read_before_a_file_that_is_not_understood_stays() {
        let (folder, roots) = tree(&[
            ("wifi/interfaces.json", r#"[{"Name": "a"}, {"Name": "b"}, {"Name": "c"}]"#),
            ("wifi/a/bss.json", r#"{"SSID": "x", "Status": 3}"#),
            ("wifi/b/bss.json", r#"{"SSID": "y", "Status": 2}"#),
            ("wifi/b/stationinfo.json", "{"),
        ]);
        let mut wifi = Wifi::new(&options::Wifi { fixtures: Some(folder.path().join("wifi")) });
        let want = [
            r#"node_wifi_interface_frequency_hertz{device="a"} 0"#,
            r#"node_wifi_interface_frequency_hertz{device="b"} 0"#,
            r#"node_wifi_station_info{bssid="",device="a",mode="ad-hoc",ssid="x"} 1"#,
            r#"node_wifi_station_info{bssid="",device="b",mode="unknown",ssid="y"} 1"#,
        ];
        assert_eq!(samples(&mut wifi, &roots), want);
        assert!(fails(&mut wifi, &roots));
    }
}
