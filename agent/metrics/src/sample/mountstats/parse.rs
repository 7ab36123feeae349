use crate::sample::kernel_file::Text;
use crate::sample::{CollectError, number, words};

/// Numbers on a line of bytes, and on one of events.
const BYTES: usize = 8;
const EVENTS: usize = 27;
/// Where those of events begin: the age and the bytes stand before them.
const EVENTS_AT: usize = 1 + BYTES;
/// All of a mount.
const OF_A_MOUNT: usize = EVENTS_AT + EVENTS;
/// Numbers of a transport, as TCP has them.
const OF_A_TRANSPORT: usize = 13;
/// Numbers of an operation; newer kernels add one that is not told.
const OF_AN_OPERATION: usize = 8;

/// A mount of NFS.
#[derive(Debug, Default)]
pub struct Mount<'a> {
    /// Its place among all mounts.
    pub place: usize,
    pub device: &'a [u8],
    /// Age, bytes and events.
    pub numbers: Vec<u64>,
    /// Protocol and numbers of each.
    pub transports: Vec<(&'a [u8], [u64; OF_A_TRANSPORT])>,
    /// Name and numbers of each.
    pub operations: Vec<(&'a [u8], [u64; OF_AN_OPERATION])>,
}

impl<'a> Mount<'a> {
    /// Begins anew, with the same buffers.
    fn begin(&mut self, place: usize, device: &'a [u8]) {
        (self.place, self.device) = (place, device);
        self.numbers.clear();
        self.numbers.resize(OF_A_MOUNT, 0);
        self.transports.clear();
        self.operations.clear();
    }

    /// Takes what a line says, if it is one of those that are told.
    fn take(&mut self, line: &'a [u8], in_operations: bool) -> Option<()> {
        let mut words = words(line);
        let key = words.next()?;
        match key {
            _ if in_operations => {
                let mut operation = [0; OF_AN_OPERATION];
                fill(&mut operation, words)?;
                self.operations.push((key.strip_suffix(b":").unwrap_or(key), operation));
            }
            b"age:" => self.numbers[0] = number(words.next()?)?,
            b"bytes:" => fill(&mut self.numbers[1..EVENTS_AT], words)?,
            b"events:" => fill(&mut self.numbers[EVENTS_AT..], words)?,
            b"xprt:" => {
                let protocol = words.next()?;
                self.transports.push((protocol, transport(protocol, words)?));
            }
            _ => {}
        }
        Some(())
    }
}

/// As many numbers as there are places.
fn fill<'a>(places: &mut [u64], mut words: impl Iterator<Item = &'a [u8]>) -> Option<()> {
    places.iter_mut().try_for_each(|place| {
        *place = number(words.next()?)?;
        Some(())
    })
}

/// The numbers of a transport at the places where TCP has them; kernels before 2.6.38 lack the last three.
fn transport<'a>(protocol: &[u8], words: impl Iterator<Item = &'a [u8]>) -> Option<[u64; OF_A_TRANSPORT]> {
    let mut given = [0; OF_A_TRANSPORT];
    let mut count = 0;
    for (place, word) in given.iter_mut().zip(words) {
        *place = number(word)?;
        count += 1;
    }
    let mut numbers = [0; OF_A_TRANSPORT];
    match protocol {
        // Without connections there is neither their count nor their times.
        b"udp" if count >= 7 => {
            numbers[..2].copy_from_slice(&given[..2]);
            numbers[5..].copy_from_slice(&given[2..10]);
        }
        // What follows is of its own kind.
        b"rdma" if count >= 10 => numbers[..10].copy_from_slice(&given[..10]),
        b"udp" | b"rdma" => return None,
        _ if count >= 10 => numbers = given,
        _ => return None,
    }
    Some(numbers)
}

/// Gives each mount of NFS.
pub fn parse<'a>(text: Text<'a>, mut give: impl FnMut(&Mount<'a>)) -> Result<(), CollectError> {
    let (mut mounts, mut mount) = (0, Mount::default());
    let (mut is_nfs, mut in_operations) = (false, false);
    for line in text.lines() {
        let mut words = words(line);
        let first = words.next();
        let is_device = first == Some(b"device");
        if is_nfs && (is_device || first.is_none()) {
            give(&mount);
            is_nfs = false;
        }
        if is_device {
            let device = words.next().ok_or_else(|| text.malformed("a mount", line))?;
            // `mounted on /mnt with fstype nfs4 statvers=1.1`
            let mut rest = words.skip(5);
            is_nfs = matches!(rest.next(), Some(b"nfs" | b"nfs4")) && rest.next().is_some();
            in_operations = false;
            mount.begin(mounts, device);
            mounts += 1;
        } else if is_nfs && first == Some(b"per-op") {
            in_operations = true;
        } else if is_nfs {
            mount.take(line, in_operations).ok_or_else(|| text.malformed("statistics of a mount of NFS", line))?;
        }
    }
    if is_nfs {
        give(&mount);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Mount, Text, parse, transport, words};
    use std::path::Path;

    fn mounts(text: &str) -> Result<Vec<String>, String> {
        let mut mounts = Vec::new();
        let text = Text { path: Path::new("mountstats"), bytes: text.as_bytes() };
        let told = |mount: &Mount<'_>| {
            let device = String::from_utf8_lossy(mount.device).into_owned();
            format!("{} {device} {} {}", mount.place, mount.numbers[0], mount.operations.len())
        };
        parse(text, |mount| mounts.push(told(mount))).map_err(|error| error.to_string())?;
        Ok(mounts)
    }

    #[test]
    fn mounts_of_nfs_are_found_among_all() {
        let text = "device proc mounted on /proc with fstype proc\n\
                    device a:/x mounted on /x with fstype nfs4 statvers=1.1\n\tage:\t7\n\tper-op statistics\n\
                    \tNULL: 1 1 0 44 24 0 0 0\n\tREAD: 1 2 3 4 5 6 7 8 9\n\n\
                    device b:/y mounted on /y with fstype nfs statvers=1.1\n\tage:\t9\n\
                    device c:/z mounted on /z with fstype nfs\n";
        assert_eq!(mounts(text), Ok(vec!["1 a:/x 7 2".into(), "2 b:/y 9 0".into()]));
    }

    #[test]
    fn numbers_stand_where_tcp_has_them() {
        let numbers = |protocol: &str, text: &str| transport(protocol.as_bytes(), words(text.as_bytes()));
        let tcp = numbers("tcp", "832 0 1 0 11 6428 6428 0 12154 0 24 26 5726").expect("whole");
        assert_eq!((tcp[4], tcp[10]), (11, 24));
        assert_eq!(numbers("tcp", "832 0 1 0 11 6428 6428 0 12154 0").expect("whole")[10], 0);
        let udp = numbers("udp", "832 2 6428 6427 1 12154 5 24 26 5726").expect("whole");
        assert_eq!((udp[1], udp[2], udp[5], udp[9], udp[12]), (2, 0, 6428, 5, 5726));
        assert_eq!(numbers("rdma", "0 1 2 3 4 5 6 7 8 9 10 11 12 13").expect("whole")[9..], [9, 0, 0, 0]);
        assert_eq!((numbers("tcp", "1 2"), numbers("udp", "1 2 3 4 5 6"), numbers("tcp", "x")), (None, None, None));
    }

    #[test]
    fn what_is_no_statistic_is_refused() {
        let head = "device a:/x mounted on /x with fstype nfs4 statvers=1.1\n";
        for line in ["age: x", "bytes: 1 2", "events: 1", "xprt: tcp 1", "per-op statistics\nREAD: 1 2"] {
            assert!(mounts(&format!("{head}{line}\n")).is_err(), "{line}");
        }
        assert!(mounts("device\n").is_err());
    }
}
