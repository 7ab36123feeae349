use super::kernel_file::{float, is_name};
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::{Family, Kind, Samples};
use hostwright_core::config::metrics::collectors::netstat as options;
use hostwright_core::config::metrics::filter::Filter;
use std::cell::LazyCell;

/// `/proc/net/netstat`, `snmp` and `snmp6`: the counters that node_exporter takes.
pub struct Netstat {
    tables: [Table; 2],
    snmp6: KernelFile,
    /// Of snmp6 in the order of the file, those that are not taken without a family.
    fields6: Vec<(Vec<u8>, Option<Family>)>,
    taken: Filter,
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
    pub fn new(roots: &Roots, options: &options::Netstat) -> Self {
        let file = |name| KernelFile::new(roots.procfs.join("net").join(name));
        let table = |name| Table { file: file(name), protocols: Vec::new() };
        let taken = options.fields.clone();
        Self { tables: [table("netstat"), table("snmp")], snmp6: file("snmp6"), fields6: Vec::new(), taken }
    }
}

/// The expression is on protocol and field: `Tcp_InSegs`.
fn is_taken(protocol: &[u8], field: &[u8], taken: &Filter) -> bool {
    is_name(protocol) && is_name(field) && taken.admits(&[protocol, b"_", field].concat())
}

/// `Udp6InErrors` is of the protocol `Udp6`.
fn family6(name: &[u8], taken: &Filter) -> Option<Family> {
    let (protocol, field) = name.split_at(memchr::memchr(b'6', name)? + 1);
    is_taken(protocol, field, taken).then(|| family(protocol, field))
}

fn family(protocol: &[u8], field: &[u8]) -> Family {
    let (protocol, field) = (String::from_utf8_lossy(protocol), String::from_utf8_lossy(field));
    let help = format!("Statistic {protocol}{field}.");
    Family::new(&format!("node_netstat_{protocol}_{field}"), &help, Kind::Untyped)
}

impl Protocol {
    fn new(names: &[u8], taken: &Filter) -> Self {
        let mut fields = words(names);
        let protocol = fields.next().unwrap_or_default();
        let protocol = protocol.strip_suffix(b":").unwrap_or(protocol);
        let taken = fields.enumerate().filter(|(_, field)| is_taken(protocol, field, taken));
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
    fn collect(
        &mut self,
        scrape: &mut Scrape<'_>,
        taken: &LazyCell<Filter, impl FnOnce() -> Filter>,
    ) -> Result<(), CollectError> {
        let text = self.file.read()?;
        let mut lines = text.lines();
        let mut at = 0;
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            if self.protocols.get(at).is_none_or(|protocol| protocol.names != names) {
                self.protocols.truncate(at);
                self.protocols.push(Protocol::new(names, taken));
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
        let taken = self.taken.once();
        self.tables.iter_mut().try_for_each(|table| table.collect(scrape, &taken))?;
        let text = match self.snmp6.read() {
            // A kernel without IPv6.
            Err(CollectError::NoData { .. }) => return Ok(()),
            text => text?,
        };
        let pairs = text.lines().filter_map(|line| {
            let mut words = words(line);
            Some((line, words.next()?, words.next()?))
        });
        for (at, (line, name, value)) in pairs.enumerate() {
            if self.fields6.get(at).is_none_or(|(field, _)| field != name) {
                self.fields6.truncate(at);
                self.fields6.push((name.to_owned(), family6(name, &taken)));
            }
            let Some(family) = &self.fields6[at].1 else { continue };
            if !put(scrape.out.family(family), value) {
                return Err(text.malformed("a name with a number", line));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Netstat;
    use crate::sample::testing::{assert_has, captured, samples};

    #[test]
    fn the_counters_of_the_originals_default_are_taken() {
        let roots = captured("procfs-vm");
        let mut netstat = Netstat::new(&roots, &Default::default());
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
                "node_netstat_Tcp_MaxConn -1",
            ],
        );
        assert_eq!(lines.len(), 43);
        assert_eq!(samples(&mut netstat, &roots), lines, "the second time, with what is kept");
    }
}
