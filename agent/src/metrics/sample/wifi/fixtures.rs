use super::{Interface, Network, Station};
use crate::metrics::sample::CollectError;
use crate::metrics::sample::devices_file::{number, read, read_list, text};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use std::path::{Path, PathBuf};

const NANOSECONDS: f64 = 1e9;

/// Devices in a folder: `interfaces.json`, and for each of them `NAME/bss.json` and `NAME/stationinfo.json`.
pub struct Fixtures {
    folder: PathBuf,
}

impl Fixtures {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub fn read(&self) -> Result<Vec<Interface>, CollectError> {
        read_list(&self.folder.join("interfaces.json"))?.iter().map(|found| self.interface(found)).collect()
    }

    fn interface(&self, found: &Value) -> Result<Interface, CollectError> {
        let name = text(found, "Name");
        let mut interface =
            Interface { name: name.into(), megahertz: number(found, "Frequency"), ..Interface::default() };
        // A name is part of a path, and nothing else.
        if name.is_empty() || name.contains('/') || name == ".." {
            return Ok(interface);
        }
        let folder = self.folder.join(name);
        interface.network = if_there(read(&folder.join("bss.json")))?.as_ref().map(network);
        let stations = if_there(read_list(&folder.join("stationinfo.json")))?;
        interface.stations = stations.unwrap_or_default().iter().map(station).collect();
        Ok(interface)
    }
}

/// A device need not have a network or stations.
fn if_there<T>(read: Result<T, CollectError>) -> Result<Option<T>, CollectError> {
    match read {
        Err(CollectError::NoData { .. }) => Ok(None),
        other => other.map(Some),
    }
}

fn network(found: &Value) -> Network {
    let status = number(found, "Status");
    // One that is no such number is unknown, as are those that nl80211 may get.
    let status = if status >= 0.0 && status.fract() == 0.0 { status as u32 } else { u32::MAX };
    Network { ssid: text(found, "SSID").into(), bssid: bytes(found, "BSSID"), status }
}

fn station(found: &Value) -> Station {
    let of = |name| number(found, name);
    Station {
        address: bytes(found, "HardwareAddr"),
        values: [
            of("Connected") / NANOSECONDS,
            of("Inactive") / NANOSECONDS,
            of("ReceiveBitrate"),
            of("TransmitBitrate"),
            of("ReceivedBytes"),
            of("TransmittedBytes"),
            of("ReceivedPackets"),
            of("TransmittedPackets"),
            of("Signal"),
            of("TransmitRetries"),
            of("TransmitFailed"),
            of("BeaconLoss"),
        ],
    }
}

/// Go writes bytes as Base64.
fn bytes(found: &Value, name: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text(found, name)).unwrap_or_default()
}
