use super::{Interface, Network, Station};
use crate::sample::CollectError;
use crate::sample::devices_file::{number, read, read_list, text};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use std::path::{Path, PathBuf};

const NANOSECONDS: f64 = 1e9;
/// The numbers that node_exporter has for states, and the kernel's. Its 2 is a state that the kernel does not tell.
const STATUSES: [(f64, u32); 3] = [(0.0, 0), (1.0, 1), (3.0, 2)];

/// Devices in a folder: `interfaces.json`, and for each of them `NAME/bss.json` and `NAME/stationinfo.json`.
pub struct Fixtures {
    folder: PathBuf,
}

impl Fixtures {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The devices up to the first of which a file is not understood, with what was read of it, and why it is not.
    pub fn read(&self) -> Result<(Vec<Interface>, Option<CollectError>), CollectError> {
        let mut interfaces = Vec::new();
        for found in read_list(&self.folder.join("interfaces.json"))? {
            let (name, megahertz) = (text(&found, "Name"), number(&found, "Frequency"));
            let mut interface = Interface { name: name.into(), megahertz, ..Interface::default() };
            let filled = self.fill(&mut interface, name);
            interfaces.push(interface);
            if let Err(error) = filled {
                return Ok((interfaces, Some(error)));
            }
        }
        Ok((interfaces, None))
    }

    fn fill(&self, interface: &mut Interface, name: &str) -> Result<(), CollectError> {
        // A name is part of a path, and nothing else.
        if name.is_empty() || name.contains('/') || name == ".." {
            return Ok(());
        }
        let folder = self.folder.join(name);
        interface.network = if_there(read(&folder.join("bss.json")))?.as_ref().map(network);
        let stations = if_there(read_list(&folder.join("stationinfo.json")))?;
        interface.stations = stations.unwrap_or_default().iter().map(station).collect();
        Ok(())
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
    let known = STATUSES.iter().find(|(number, _)| *number == status);
    let status = known.map_or(u32::MAX, |(_, status)| *status);
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
