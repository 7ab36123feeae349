use super::kernel_file::float;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::metrics::encode::{Family, Kind, Samples};

/// `/proc/net/netstat`, `snmp` and `snmp6`: the counters that node_exporter takes.
pub struct Netstat {
    tables: [Table; 2],
    snmp6: KernelFile,
    /// What is taken of snmp6, in the order of the file.
    fields6: Vec<(Vec<u8>, Family)>,
}

/// A file of pairs of lines: names, then values.
struct Table {
    file: KernelFile,
    protocols: Vec<Protocol>,
}

/// A line of names and the columns that are taken of it.
struct Protocol {
    names: Vec<u8>,
    taken: Vec<(usize, Family)>,
}

impl Netstat {
    pub fn new(roots: &Roots) -> Self {
        let file = |name| KernelFile::new(roots.procfs.join("net").join(name));
        let table = |name| Table { file: file(name), protocols: Vec::new() };
        Self { tables: [table("netstat"), table("snmp")], snmp6: file("snmp6"), fields6: Vec::new() }
    }
}

/// The original's default for `--collector.netstat.fields`.
fn is_taken(protocol: &[u8], field: &[u8]) -> bool {
    match (protocol, field) {
        (_, b"InErrors" | b"InErrs")
        | (b"Ip", b"Forwarding")
        | (b"Ip6" | b"IpExt", b"InOctets" | b"OutOctets")
        | (b"Icmp" | b"Icmp6", b"InMsgs" | b"OutMsgs")
        | (b"TcpExt", b"TCPSynRetrans" | b"TCPTimeouts" | b"TCPOFOQueue" | b"TCPRcvQDrop")
        | (
            b"Tcp",
            b"ActiveOpens" | b"InSegs" | b"OutSegs" | b"OutRsts" | b"PassiveOpens" | b"RetransSegs" | b"CurrEstab",
        )
        | (b"Udp" | b"Udp6", b"InDatagrams" | b"OutDatagrams" | b"NoPorts" | b"RcvbufErrors" | b"SndbufErrors") => true,
        (b"TcpExt", field) => field.starts_with(b"Listen") || field.starts_with(b"Syncookies"),
        _ => false,
    }
}

fn family(protocol: &[u8], field: &[u8]) -> Family {
    let (protocol, field) = (String::from_utf8_lossy(protocol), String::from_utf8_lossy(field));
    let help = format!("Statistic {protocol}{field}.");
    Family::new(&format!("node_netstat_{protocol}_{field}"), &help, Kind::Untyped)
}

impl Protocol {
    fn new(names: &[u8]) -> Self {
        let mut fields = words(names);
        let protocol = fields.next().unwrap_or_default();
        let protocol = protocol.strip_suffix(b":").unwrap_or(protocol);
        let taken = fields.enumerate().filter(|(_, field)| is_taken(protocol, field));
        Self { names: names.to_owned(), taken: taken.map(|(at, field)| (at, family(protocol, field))).collect() }
    }
}

/// Some are signed, so a number is whatever reads as one.
fn put(mut samples: Samples<'_>, word: &[u8]) -> bool {
    match (number(word), float(word)) {
        (Some(value), _) => samples.put(value),
        (None, Some(value)) => samples.put(value),
        (None, None) => return false,
    }
    true
}

impl Table {
    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        let mut lines = text.lines();
        let mut at = 0;
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            if self.protocols.get(at).is_none_or(|protocol| protocol.names != names) {
                self.protocols.truncate(at);
                self.protocols.push(Protocol::new(names));
            }
            let mut words = words(values).skip(1).enumerate();
            for (column, family) in &self.protocols[at].taken {
                let word = words.find(|(at, _)| at == column).map(|(_, word)| word).unwrap_or_default();
                if !put(scrape.out.family(family), word) {
                    return Err(text.malformed("a number for each name", values));
                }
            }
            at += 1;
        }
        Ok(())
    }
}

impl Collector for Netstat {
    fn name(&self) -> &'static str {
        "netstat"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.tables.iter_mut().try_for_each(|table| table.collect(scrape))?;
        let text = match self.snmp6.read() {
            // A kernel without IPv6.
            Err(CollectError::NoData { .. }) => return Ok(()),
            text => text?,
        };
        let mut at = 0;
        for line in text.lines() {
            let mut words = words(line);
            let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
            let Some(six) = memchr::memchr(b'6', name) else { continue };
            let (protocol, field) = name.split_at(six + 1);
            if !is_taken(protocol, field) {
                continue;
            }
            if self.fields6.get(at).is_none_or(|(field, _)| field != name) {
                self.fields6.truncate(at);
                self.fields6.push((name.to_owned(), family(protocol, field)));
            }
            if !put(scrape.out.family(&self.fields6[at].1), value) {
                return Err(text.malformed("a name with a number", line));
            }
            at += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Netstat;
    use crate::metrics::sample::testing::{assert_has, captured, samples};

    #[test]
    fn the_counters_of_the_originals_default_are_taken() {
        let roots = captured("procfs-vm");
        let mut netstat = Netstat::new(&roots);
        let lines = samples(&mut netstat, &roots);
        assert_has(
            &lines,
            &[
                "node_netstat_IpExt_InOctets 1540188726",
                "node_netstat_Tcp_PassiveOpens 431",
                "node_netstat_TcpExt_ListenDrops 0",
                "node_netstat_Udp6_NoPorts 0",
                "node_netstat_UdpLite_InErrors 0",
                "node_netstat_Icmp6_OutMsgs 82",
            ],
        );
        assert_eq!(lines.len(), 42);
        assert_eq!(samples(&mut netstat, &roots), lines, "the second time, with what is kept");
    }
}
