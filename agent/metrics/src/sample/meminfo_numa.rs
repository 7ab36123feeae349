use super::grid::Grid;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::Family;
use std::fs;
use std::path::PathBuf;

/// `/sys/devices/system/node`: memory of each NUMA node.
pub struct MeminfoNuma {
    folder: PathBuf,
    nodes: Vec<Node>,
    sizes: Grid,
    counters: Grid,
    /// A field's name as part of a metric's.
    field: Vec<u8>,
}

struct Node {
    name: Vec<u8>,
    /// Of which node its memory is said to be, which is the same name on every kernel.
    said: Vec<u8>,
    meminfo: KernelFile,
    numastat: KernelFile,
}

impl MeminfoNuma {
    pub fn new(roots: &Roots) -> Self {
        let folder = roots.sysfs.join("devices/system/node");
        Self { folder, nodes: Vec::new(), sizes: Grid::new(gauge), counters: Grid::new(counter), field: Vec::new() }
    }

    /// Nodes come and go with their memory. As in the original, a host without any has no samples, and no trouble.
    fn list(&mut self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok);
        let mut names: Vec<Vec<u8>> = entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let node = name.as_encoded_bytes().strip_prefix(b"node")?;
                number(node).map(|_| node.to_owned())
            })
            .collect();
        names.sort_unstable();
        if !self.nodes.iter().map(|node| &node.name).eq(&names) {
            let node = |name: Vec<u8>| {
                let folder = self.folder.join(format!("node{}", String::from_utf8_lossy(&name)));
                let file = |file| KernelFile::new(folder.join(file));
                Node { meminfo: file("meminfo"), numastat: file("numastat"), said: Vec::new(), name }
            };
            self.nodes = names.into_iter().map(node).collect();
        }
    }
}

/// `Node 0 Active(anon):  707 kB` → field, value in bytes.
fn parse(line: &[u8]) -> Option<(&[u8], u64)> {
    let mut words = words(line).skip(2);
    let field = words.next()?;
    let field = field.strip_suffix(b":").unwrap_or(field);
    let value = number(words.next()?)?;
    let fits = field.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_()".contains(byte));
    match words.next() {
        _ if !fits => None,
        None => Some((field, value)),
        Some(b"kB") => Some((field, value.checked_mul(1024)?)),
        Some(_) => None,
    }
}

fn gauge(field: &str) -> Family {
    Family::gauge(&format!("node_memory_numa_{field}"), &format!("Memory information field {field}."))
}

fn counter(field: &str) -> Family {
    let name = format!("node_memory_numa_{}_total", field.replace('-', "_"));
    Family::counter(&name, &format!("Memory information field {field}_total."))
}

impl Collector for MeminfoNuma {
    fn name(&self) -> &'static str {
        "meminfo_numa"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.list();
        self.sizes.begin();
        self.counters.begin();
        for at in 0..self.nodes.len() {
            let (before, rest) = self.nodes.split_at_mut(at);
            let [Node { name, said, meminfo, numastat }, ..] = rest else { break };
            let text = meminfo.read()?;
            said.clear();
            said.extend_from_slice(text.lines().find_map(|line| words(line).nth(1)).unwrap_or(name.as_slice()));
            // A series must not be there twice, so the first one stays.
            let is_told = before.iter().any(|other| other.said == *said);
            if !is_told {
                self.sizes.row(&[("node", said)]);
            }
            for line in text.lines().filter(|line| !line.trim_ascii().is_empty()) {
                let (field, value) = parse(line).ok_or_else(|| text.malformed("a field with its size", line))?;
                self.field.clear();
                let parts = field.iter().filter(|byte| **byte != b')');
                self.field.extend(parts.map(|byte| if *byte == b'(' { b'_' } else { *byte }));
                if !is_told {
                    self.sizes.put(&self.field, value);
                }
            }
            self.counters.row(&[("node", name)]);
            let text = numastat.read()?;
            for line in text.lines().filter(|line| !line.trim_ascii().is_empty()) {
                let mut words = words(line);
                let pair = words.next().zip(words.next().and_then(number));
                let (field, value) = pair.ok_or_else(|| text.malformed("a name with a number", line))?;
                self.counters.put(field, value);
            }
        }
        self.sizes.write(scrape.out);
        self.counters.write(scrape.out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::MeminfoNuma;
    use crate::sample::testing::{assert_has, collect, samples, tree};

    #[test]
    fn every_field_is_told_of_every_node() {
        let (_folder, roots) = tree(&[
            ("sys/devices/system/node/online", "0-1\n"),
            ("sys/devices/system/node/node0/meminfo", "\nNode 0 MemTotal:  134182 kB\nNode 0 HugePages_Free: 7\n"),
            ("sys/devices/system/node/node0/numastat", "numa_hit 193460\n"),
            ("sys/devices/system/node/node1/meminfo", "Node 1 MemTotal:  1 kB\nNode 1 Active(anon): 2 kB\n"),
            ("sys/devices/system/node/node1/numastat", "numa_hit 5\n"),
        ]);
        let mut numa = MeminfoNuma::new(&roots);
        let want = [
            r#"node_memory_numa_MemTotal{node="0"} 137402368"#,
            r#"node_memory_numa_MemTotal{node="1"} 1024"#,
            r#"node_memory_numa_HugePages_Free{node="0"} 7"#,
            r#"node_memory_numa_Active_anon{node="1"} 2048"#,
            r#"node_memory_numa_numa_hit_total{node="0"} 193460"#,
            r#"node_memory_numa_numa_hit_total{node="1"} 5"#,
        ];
        assert_eq!(samples(&mut numa, &roots), want);
        assert_eq!(samples(&mut numa, &roots), want, "the second time, with what is kept");
        let write = |file: &str, text: &str| {
            std::fs::write(roots.sysfs.join("devices/system/node/node1").join(file), text).expect("written");
        };
        write("meminfo", "Node 7 MemTotal:  1 kB\n");
        write("numastat", "odd-one 5\n");
        let lines = samples(&mut numa, &roots);
        let told = [r#"node_memory_numa_MemTotal{node="7"} 1024"#, r#"node_memory_numa_odd_one_total{node="1"} 5"#];
        assert_has(&lines, &told);
        write("meminfo", "Node 0 MemTotal:  1 kB\n");
        let of_node = |line: &&String| line.contains("MemTotal");
        assert_eq!(samples(&mut numa, &roots).iter().filter(of_node).collect::<Vec<_>>(), [want[0]], "once");
        write("meminfo", "Node 1 x: 1 MB\n");
        assert!(collect(&mut numa, &roots).is_err());
        let (_folder, roots) = tree(&[]);
        assert_eq!(samples(&mut MeminfoNuma::new(&roots), &roots), Vec::<String>::new());
    }
}
