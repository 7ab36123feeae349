//! A TCP port of this machine's loopback that leads into the VM.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `HOST:GUEST`. The host port 0 stands for "a free one": the system chooses it when the VM starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The port on 127.0.0.1 here.
    pub host: u16,
    /// The port in the VM.
    pub guest: u16,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(host, guest)| {
            Some(Self { host: host.parse().ok()?, guest: guest.parse().ok().filter(|port| *port != 0)? })
        });
        parsed.ok_or_else(|| "expected HOST:GUEST such as 2222:22, or 0:22 for a free port here".to_owned())
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.guest)
    }
}

/// Reads the forwards out of QEMU's answer to `info usernet`, where a chosen port is told and nowhere else.
///
/// A line of it: `  TCP[HOST_FORWARD]  13  127.0.0.1 43479  10.0.2.15  22  0  0`.
pub fn parse_usernet(answer: &str) -> Vec<Forward> {
    answer
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            if words.next()? != "TCP[HOST_FORWARD]" {
                return None;
            }
            let host = words.nth(2)?.parse().ok()?;
            let guest = words.nth(1)?.parse().ok()?;
            Some(Forward { host, guest })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Forward, parse_usernet};

    #[test]
    fn a_forward_is_two_ports_of_which_the_first_may_be_free() {
        assert_eq!("0:22".parse(), Ok(Forward { host: 0, guest: 22 }));
        for bad in ["22", "22:0", "a:b", "70000:1", ":", "1:2:3"] {
            assert!(bad.parse::<Forward>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_ports_that_qemu_chose_are_read_from_its_answer() {
        let answer = "Hub -1 (n):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
            TCP[HOST_FORWARD]  13       127.0.0.1 43479       10.0.2.15    22     0     0\r\n  \
            TCP[ESTABLISHED]   14       127.0.0.1 43479       10.0.2.15    22     0     0\r\n";
        assert_eq!(parse_usernet(answer), [Forward { host: 43479, guest: 22 }]);
    }
}
