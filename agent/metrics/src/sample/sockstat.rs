use super::kernel_file::is_name;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, words};
use crate::encode::Family;
use nix::unistd::{SysconfVar, sysconf};

/// What a protocol's line may have. `mem` counts pages.
const FIELDS: [&[u8]; 6] = [b"inuse", b"orphan", b"tw", b"alloc", b"mem", b"memory"];

/// `/proc/net/sockstat` and `sockstat6`: sockets by protocol.
pub struct Sockstat {
    files: [KernelFile; 2],
    page: i64,
    used: Family,
    /// In the order of the files.
    families: Vec<(Vec<u8>, &'static [u8], Family)>,
}

impl Sockstat {
    pub fn new(roots: &Roots) -> Self {
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
        Self {
            files: ["net/sockstat", "net/sockstat6"].map(|name| KernelFile::new(roots.procfs.join(name))),
            page: page.unwrap_or(4096),
            used: Family::gauge("node_sockstat_sockets_used", "Number of IPv4 sockets in use."),
            families: Vec::new(),
        }
    }
}

fn signed(word: &[u8]) -> Option<i64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The family at this place, made anew where another stood there.
fn family<'a>(
    families: &'a mut Vec<(Vec<u8>, &'static [u8], Family)>,
    at: &mut usize,
    protocol: &[u8],
    field: &'static [u8],
) -> &'a Family {
    if families.get(*at).is_none_or(|(known, of, _)| known != protocol || *of != field) {
        families.truncate(*at);
        let (protocol_text, field_text) = (String::from_utf8_lossy(protocol), String::from_utf8_lossy(field));
        let name = format!("node_sockstat_{protocol_text}_{field_text}");
        let help = format!("Number of {protocol_text} sockets in state {field_text}.");
        families.push((protocol.to_owned(), field, Family::gauge(&name, &help)));
    }
    *at += 1;
    &families[*at - 1].2
}

impl Collector for Sockstat {
    fn name(&self) -> &'static str {
        "sockstat"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let mut at = 0;
        for file in &mut self.files {
            let text = match file.read() {
                // A kernel without IPv4, or without IPv6.
                Err(CollectError::NoData { .. }) => continue,
                text => text?,
            };
            for line in text.lines() {
                let mut words = words(line);
                let protocol = words.next().and_then(|word| word.strip_suffix(b":"));
                let protocol =
                    protocol.filter(|name| is_name(name)).ok_or_else(|| text.malformed("a protocol", line))?;
                // A family is told once; of a protocol that is there twice, the first line counts.
                if self.families[..at].iter().any(|(known, ..)| known == protocol) {
                    continue;
                }
                let mut has_inuse = protocol == b"sockets";
                while let (Some(name), Some(value)) = (words.next(), words.next()) {
                    let value = signed(value).ok_or_else(|| text.malformed("names with numbers", line))?;
                    if (protocol, name) == (b"sockets", b"used") {
                        scrape.out.family(&self.used).put(value);
                        continue;
                    }
                    let Some(field) = FIELDS.into_iter().find(|field| *field == name) else { continue };
                    has_inuse |= field == b"inuse";
                    scrape.out.family(family(&mut self.families, &mut at, protocol, field)).put(value);
                    if field == b"mem" {
                        let bytes = value.saturating_mul(self.page);
                        scrape.out.family(family(&mut self.families, &mut at, protocol, b"mem_bytes")).put(bytes);
                    }
                }
                if !has_inuse {
                    scrape.out.family(family(&mut self.families, &mut at, protocol, b"inuse")).put(0_u64);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Sockstat;
    use crate::sample::testing::{assert_has, captured, collect, samples, tree};

    #[test]
    fn sockets_of_each_protocol_are_taken_and_memory_in_pages_and_bytes() {
        let roots = captured("procfs-vm");
        let mut sockstat = Sockstat::new(&roots);
        sockstat.page = 4096;
        let lines = samples(&mut sockstat, &roots);
        assert_has(
            &lines,
            &[
                "node_sockstat_sockets_used 50",
                "node_sockstat_TCP_mem 243",
                "node_sockstat_TCP_mem_bytes 995328",
                "node_sockstat_FRAG6_memory 0",
            ],
        );
        assert_eq!(lines.len(), 20);
        assert_eq!(samples(&mut sockstat, &roots), lines, "the second time, with what is kept");
    }

    #[test]
    fn a_protocol_always_tells_how_many_are_in_use() {
        let (_folder, roots) = tree(&[("proc/net/sockstat6", "FRAG6: memory 8\nTCP6: inuse 3 mem -1\n")]);
        let mut sockstat = Sockstat::new(&roots);
        sockstat.page = 4096;
        let want = [
            "node_sockstat_FRAG6_memory 8",
            "node_sockstat_FRAG6_inuse 0",
            "node_sockstat_TCP6_inuse 3",
            "node_sockstat_TCP6_mem -1",
            "node_sockstat_TCP6_mem_bytes -4096",
        ];
        assert_eq!(samples(&mut sockstat, &roots), want);
        assert_eq!(samples(&mut sockstat, &roots), want);
    }

    #[test]
    fn a_protocol_that_is_there_twice_is_told_once() {
        let (_folder, roots) = tree(&[("proc/net/sockstat", "UDP: inuse 3\nUDP: inuse 4\nRAW: inuse 1\n")]);
        let want = ["node_sockstat_UDP_inuse 3", "node_sockstat_RAW_inuse 1"];
        assert_eq!(samples(&mut Sockstat::new(&roots), &roots), want);
    }

    #[test]
    fn a_protocol_that_cannot_be_part_of_a_name_is_refused() {
        let (_folder, roots) = tree(&[("proc/net/sockstat", "T P: inuse 3\nT{}: inuse 3\n")]);
        assert!(collect(&mut Sockstat::new(&roots), &roots).is_err());
    }
}
