pub use hostwright_duty::netlink::text;
use hostwright_duty::netlink::{Netlink, attributes};
use nix::sys::socket::SockProtocol;
use std::io;

const LINK_MESSAGE: usize = 16;
const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_STATS64: u16 = 23;
const IFLA_EXT_MASK: u16 = 29;
/// Leaves out counters per address family, half of the work; those of the device stay.
const RTEXT_FILTER_SKIP_STATS: u32 = 8;

const FIELDS: usize = 24;

/// A link's counters, in the kernel's order.
pub type Stats = [u64; FIELDS];

/// The links of this network namespace with their 64-bit counters (rtnetlink(7)). The kernel is asked once a scrape,
/// whoever of the collectors needs them.
pub struct Links {
    netlink: Netlink,
    /// The kernel's messages, one after the other.
    answer: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    is_asked: bool,
}

impl Default for Links {
    fn default() -> Self {
        let netlink = Netlink::new(SockProtocol::NetlinkRoute);
        Self { netlink, answer: Vec::new(), ends: Vec::new(), is_asked: false }
    }
}

impl Links {
    /// A scrape begins.
    pub fn forget(&mut self) {
        self.is_asked = false;
    }

    /// Calls `each` with every link.
    pub fn read(&mut self, mut each: impl FnMut(Link<'_>)) -> io::Result<()> {
        if !self.is_asked {
            self.ask()?;
        }
        let mut start = 0;
        for end in &self.ends {
            if let Some(link) = Link::of(&self.answer[start..*end]) {
                each(link);
            }
            start = *end;
        }
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        let Self { netlink, answer, ends, .. } = self;
        answer.clear();
        ends.clear();
        netlink.dump(RTM_GETLINK, &request(), |body| {
            answer.extend_from_slice(body);
            ends.push(answer.len());
        })?;
        self.is_asked = true;
        Ok(())
    }
}

fn request() -> [u8; LINK_MESSAGE + 8] {
    let mut message = [0; LINK_MESSAGE + 8];
    let attribute = &mut message[LINK_MESSAGE..];
    attribute[..2].copy_from_slice(&8_u16.to_ne_bytes());
    attribute[2..4].copy_from_slice(&IFLA_EXT_MASK.to_ne_bytes());
    attribute[4..].copy_from_slice(&RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    message
}

/// A network device as the kernel tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Link<'m> {
    /// What kind of hardware it is, by ARP's numbers.
    pub kind: u16,
    /// Its number.
    pub index: i32,
    /// `IFF_*`.
    pub flags: u32,
    attributes: &'m [u8],
}

impl<'m> Link<'m> {
    fn of(body: &'m [u8]) -> Option<Self> {
        let (head, attributes) = body.split_at_checked(LINK_MESSAGE)?;
        Some(Self {
            kind: u16::from_ne_bytes(head[2..4].try_into().ok()?),
            index: i32::from_ne_bytes(head[4..8].try_into().ok()?),
            flags: u32::from_ne_bytes(head[8..12].try_into().ok()?),
            attributes,
        })
    }

    /// Its attributes (`IFLA_*`), each with its number.
    pub fn attributes(&self) -> impl Iterator<Item = (u16, &'m [u8])> {
        attributes(self.attributes)
    }

    /// Its name.
    pub fn name(&self) -> Option<&'m [u8]> {
        self.attributes().find(|(kind, _)| *kind == IFLA_IFNAME).map(|(_, name)| text(name))
    }

    /// Its name and counters.
    pub fn stats(&self) -> Option<(&'m [u8], Stats)> {
        let (mut name, mut stats) = (None, None);
        for (kind, value) in self.attributes() {
            match kind {
                IFLA_IFNAME => name = Some(text(value)),
                IFLA_STATS64 => stats = stats_of(value),
                _ => {}
            }
        }
        name.zip(stats)
    }
}

/// `struct rtnl_link_stats64`: older kernels have less of it, and what is not there is 0.
fn stats_of(stats: &[u8]) -> Option<Stats> {
    let mut fields = [0; FIELDS];
    for (slot, bytes) in fields.iter_mut().zip(stats.chunks_exact(8)) {
        *slot = u64::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::{Link, Links, stats_of};

    #[test]
    fn the_kernel_is_asked_once_a_scrape() {
        let mut links = Links::default();
        let names = |links: &mut Links| {
            let mut names = Vec::new();
            links.read(|link| names.extend(link.name().map(<[u8]>::to_vec))).expect("read");
            names
        };
        let first = names(&mut links);
        assert!(first.contains(&b"lo".to_vec()), "{first:?}");
        links.ends.truncate(1);
        assert_eq!(names(&mut links), first[..1], "the same answer");
        links.forget();
        assert!(!names(&mut links).is_empty() && links.ends.len() >= first.len().min(2), "a new one");
    }

    #[test]
    fn truncated_links_end_the_walk_and_nothing_panics() {
        let whole: Vec<u8> = (0..=255).cycle().take(400).collect();
        for length in 0..whole.len() {
            let link = Link::of(&whole[..length]).and_then(|link| link.stats());
            let _ = (link, stats_of(&whole[..length]));
        }
    }
}
