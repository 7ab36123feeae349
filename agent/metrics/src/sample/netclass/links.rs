use super::device::{ADDRESS, ALIAS, BROADCAST, DUPLEX, Device, STATE, UP, at};
use super::files::Files;
use crate::sample::rtnetlink::{Link, Links, text};
use crate::sample::sysfs::{Attribute, Page, Seldom, integer};
use hostwright_core::config::metrics::filter::Filter;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

const IFLA_ADDRESS: u16 = 1;
const IFLA_BROADCAST: u16 = 2;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKMODE: u16 = 17;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_CARRIER: u16 = 33;
const IFLA_CARRIER_CHANGES: u16 = 35;
const IFLA_CARRIER_UP_COUNT: u16 = 47;
const IFLA_CARRIER_DOWN_COUNT: u16 = 48;
const IFLA_ALLMULTI: u16 = 61;

const IFF_PROMISC: i64 = 0x100;
const IFF_ALLMULTI: i64 = 0x200;
const IFF_DORMANT: i64 = 0x20000;
/// States of the moment, which rtnetlink puts among the flags and sysfs does not, and the two that mean the operator's
/// wish there and the device's mode here.
const ELSEWHERE: i64 = 0x40 | 0x10000 | IFF_DORMANT | IFF_PROMISC | IFF_ALLMULTI;

/// By number (RFC 2863).
const STATES: [&str; 7] = ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"];
/// The kernel cuts a label's text here.
const LONGEST_ALIAS: usize = 128;
/// The longest hardware address has 32 bytes.
const LONGEST_ADDRESS: usize = 3 * 32;

/// The devices as the kernel tells of them.
pub struct LiveLinks {
    class: PathBuf,
    devices: Vec<LiveDevice>,
    used: usize,
    page: Page,
}

struct LiveDevice {
    device: Device,
    index: i32,
    /// Numbers that stay as long as the address does, with it.
    steady: Option<Vec<u8>>,
    steady_files: [(usize, Attribute); 3],
    flags: Attribute,
    speed: Attribute,
    duplex: Attribute,
    /// With these a port has the speed that it has: flags, how often the carrier changed, state.
    agreed: Option<(u32, Option<u32>, Option<u8>)>,
    /// When a speed that changes without them, as a bridge's does, is read again.
    seldom: Seldom,
}

impl LiveLinks {
    pub fn new(class: PathBuf) -> Self {
        Self { class, devices: Vec::new(), used: 0, page: Page::default() }
    }

    /// The same devices from their files.
    pub fn to_files(&self) -> Files {
        Files::new(self.class.clone())
    }

    /// Asks for every device, and reads the files of those that are taken.
    pub fn read(&mut self, links: &mut Links, taken: &Filter) -> io::Result<()> {
        let Self { class, devices, used, page } = self;
        *used = 0;
        let now = Instant::now();
        links.read(|link| {
            let Some(name) = link.name().filter(|name| taken.admits(name)) else { return };
            let found = devices[*used..].iter().position(|one| one.device.name == name && one.index == link.index);
            match found {
                // Devices come in the same order each time.
                Some(ahead) => devices.swap(*used, *used + ahead),
                None => devices.insert(*used, LiveDevice::new(class, name, link.index)),
            }
            devices[*used].read(link, now, page);
            *used += 1;
        })?;
        devices.truncate(*used);
        Ok(())
    }

    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().map(|one| &one.device)
    }
}

impl LiveDevice {
    fn new(class: &Path, name: &[u8], index: i32) -> Self {
        let folder = class.join(OsStr::from_bytes(name));
        let file = |name: &str| Attribute::new(folder.join(name));
        Self {
            device: Device::new(name),
            index,
            steady: None,
            steady_files: [
                (at::ADDRESS_ASSIGN_TYPE, file("addr_assign_type")),
                (at::DEVICE_ID, file("dev_id")),
                (at::NAME_ASSIGN_TYPE, file("name_assign_type")),
            ],
            flags: file("flags"),
            speed: file("speed"),
            duplex: file("duplex"),
            agreed: None,
            seldom: Seldom::default(),
        }
    }

    fn read(&mut self, link: Link<'_>, now: Instant, page: &mut Page) {
        let told = Told::of(link);
        let device = &mut self.device;
        let (values, flags) = (&mut device.values, i64::from(link.flags));
        let runs = flags & UP == UP;
        let mode = |count: Option<u32>, flag| count.map(|count| if count > 0 { flag } else { 0 });
        let modes = mode(told.promiscuous, IFF_PROMISC).zip(mode(told.all_multicast, IFF_ALLMULTI));
        values[at::FLAGS] = match modes {
            Some((promiscuous, multicast)) => Some(flags & !ELSEWHERE | promiscuous | multicast),
            // Kernels before 6.0 do not tell all of it.
            None => self.flags.read(page).ok().and_then(integer),
        };
        let number = |value: Option<u32>| value.map(i64::from);
        values[at::INDEX] = Some(link.index.into());
        values[at::KIND] = Some(link.kind.into());
        values[at::LINK] = told.link.map(|link| i64::from(link.cast_signed())).or(values[at::INDEX]);
        values[at::MTU] = number(told.mtu);
        values[at::QUEUE] = number(told.queue);
        values[at::GROUP] = number(told.group);
        values[at::LINK_MODE] = told.link_mode.map(i64::from);
        values[at::CARRIER_CHANGES] = number(told.carrier_changes);
        values[at::CARRIER_UP_COUNT] = number(told.carrier_up);
        values[at::CARRIER_DOWN_COUNT] = number(told.carrier_down);
        // As the files, which a device that is down does not answer.
        values[at::CARRIER] = told.carrier.filter(|_| runs).map(i64::from);
        values[at::DORMANT] = runs.then_some(i64::from(flags & IFF_DORMANT != 0));
        let agreed = Some((link.flags, told.carrier_changes, told.state));
        if std::mem::replace(&mut self.agreed, agreed) != agreed {
            self.seldom.forget();
        }
        if self.seldom.is_due(now) {
            values[at::SPEED] = if runs { self.speed.read_once(page).ok().and_then(integer) } else { None };
            let duplex = if runs { self.duplex.read_once(page).unwrap_or_default() } else { b"" };
            device.set_text(DUPLEX, duplex);
        }
        self.set_texts(&told);
        self.read_steady(told.address.unwrap_or_default(), page);
        self.device.render();
    }

    fn set_texts(&mut self, told: &Told<'_>) {
        let mut space = [0; LONGEST_ADDRESS];
        self.device.set_text(ADDRESS, hexadecimal(told.address.unwrap_or_default(), &mut space));
        self.device.set_text(BROADCAST, hexadecimal(told.broadcast.unwrap_or_default(), &mut space));
        let alias = told.alias.unwrap_or_default();
        self.device.set_text(ALIAS, alias[..alias.len().min(LONGEST_ALIAS)].trim_ascii());
        let state = told.state.and_then(|state| STATES.get(usize::from(state))).copied().unwrap_or("unknown");
        self.device.set_text(STATE, state.as_bytes());
    }

    fn read_steady(&mut self, address: &[u8], page: &mut Page) {
        if self.steady.as_deref() == Some(address) {
            return;
        }
        for (at, file) in &self.steady_files {
            self.device.values[*at] = file.read_once(page).ok().and_then(integer);
        }
        self.steady = Some(address.to_vec());
    }
}

/// What the attributes of a link say.
#[derive(Default)]
struct Told<'m> {
    address: Option<&'m [u8]>,
    broadcast: Option<&'m [u8]>,
    alias: Option<&'m [u8]>,
    mtu: Option<u32>,
    link: Option<u32>,
    queue: Option<u32>,
    group: Option<u32>,
    promiscuous: Option<u32>,
    all_multicast: Option<u32>,
    carrier_changes: Option<u32>,
    carrier_up: Option<u32>,
    carrier_down: Option<u32>,
    state: Option<u8>,
    link_mode: Option<u8>,
    carrier: Option<u8>,
}

impl<'m> Told<'m> {
    fn of(link: Link<'m>) -> Self {
        let mut told = Self::default();
        for (kind, value) in link.attributes() {
            let (byte, number) = (value.first().copied(), value.try_into().ok().map(u32::from_ne_bytes));
            match kind {
                IFLA_ADDRESS => told.address = Some(value),
                IFLA_BROADCAST => told.broadcast = Some(value),
                IFLA_IFALIAS => told.alias = Some(text(value)),
                IFLA_MTU => told.mtu = number,
                IFLA_LINK => told.link = number,
                IFLA_TXQLEN => told.queue = number,
                IFLA_GROUP => told.group = number,
                IFLA_PROMISCUITY => told.promiscuous = number,
                IFLA_ALLMULTI => told.all_multicast = number,
                IFLA_CARRIER_CHANGES => told.carrier_changes = number,
                IFLA_CARRIER_UP_COUNT => told.carrier_up = number,
                IFLA_CARRIER_DOWN_COUNT => told.carrier_down = number,
                IFLA_OPERSTATE => told.state = byte,
                IFLA_LINKMODE => told.link_mode = byte,
                IFLA_CARRIER => told.carrier = byte,
                _ => {}
            }
        }
        told
    }
}

/// `02:42:ac:11:00:02`.
fn hexadecimal<'s>(bytes: &[u8], space: &'s mut [u8; LONGEST_ADDRESS]) -> &'s [u8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut length = 0_usize;
    for (byte, place) in bytes.iter().zip(space.chunks_exact_mut(3)) {
        place.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)], b':']);
        length += 3;
    }
    &space[..length.saturating_sub(1)]
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_ADDRESS, hexadecimal};

    #[test]
    fn addresses_are_written_as_in_sysfs() {
        let mut space = [0; LONGEST_ADDRESS];
        assert_eq!(hexadecimal(&[2, 0x42, 0xff], &mut space), b"02:42:ff");
        assert_eq!(hexadecimal(&[], &mut space), b"");
        assert_eq!(hexadecimal(&[1; 100], &mut space).len(), LONGEST_ADDRESS - 1);
    }
}
