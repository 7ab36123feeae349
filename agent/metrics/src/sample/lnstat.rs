use super::grid::Grid;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, words};
use crate::encode::Family;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// `/proc/net/stat`: what the caches of the network stack did, by CPU.
pub struct Lnstat {
    folder: PathBuf,
    files: Vec<(OsString, KernelFile)>,
    /// A row for each file and CPU.
    rows: Grid,
}

impl Lnstat {
    pub fn new(roots: &Roots) -> Self {
        Self { folder: roots.procfs.join("net/stat"), files: Vec::new(), rows: Grid::new(family) }
    }

    /// Modules bring and take files.
    fn list(&mut self) -> Result<(), CollectError> {
        let mut names: Vec<_> = match fs::read_dir(&self.folder) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect(),
            // A kernel without such caches has told all of them.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(CollectError::reading(&self.folder, error)),
        };
        names.sort_unstable();
        if !self.files.iter().map(|(name, _)| name).eq(&names) {
            let file = |name: OsString| (name.clone(), KernelFile::new(self.folder.join(name)));
            self.files = names.into_iter().map(file).collect();
        }
        Ok(())
    }
}

impl Collector for Lnstat {
    fn name(&self) -> &'static str {
        "lnstat"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.list()?;
        self.rows.begin();
        for (name, file) in &mut self.files {
            let text = match file.read() {
                // Its module went meanwhile.
                Err(CollectError::NoData { .. }) => continue,
                text => text?,
            };
            let mut lines = text.lines();
            let columns = lines.next().unwrap_or_default();
            for (cpu, line) in lines.enumerate() {
                let cpu = cpu.to_string();
                self.rows.row(&[("subsystem", name.as_bytes()), ("cpu", cpu.as_bytes())]);
                for (column, word) in words(columns).zip(words(line)) {
                    let value = std::str::from_utf8(word).ok().and_then(|word| u64::from_str_radix(word, 16).ok());
                    let value = value.ok_or_else(|| text.malformed("hexadecimal numbers", line))?;
                    self.rows.put(column, value);
                }
            }
        }
        self.rows.write(scrape.out);
        Ok(())
    }
}

fn family(column: &str) -> Family {
    Family::counter(&format!("node_lnstat_{}_total", column.replace('-', "_")), "linux network cache stats")
}

#[cfg(test)]
mod tests {
    use super::Lnstat;
    use crate::sample::testing::{collect, samples, tree};

    #[test]
    fn every_column_is_told_of_every_file_and_cpu() {
        let arp = "entries  allocs\n00000003 0000007b\n00000003 000000ff\n";
        let (_folder, roots) = tree(&[
            ("proc/net/stat/arp_cache", arp),
            ("proc/net/stat/synproxy", "entries\t\tx-y\n00000001\t00000002\n"),
        ]);
        let mut lnstat = Lnstat::new(&roots);
        let want = [
            r#"node_lnstat_entries_total{subsystem="arp_cache",cpu="0"} 3"#,
            r#"node_lnstat_entries_total{subsystem="arp_cache",cpu="1"} 3"#,
            r#"node_lnstat_entries_total{subsystem="synproxy",cpu="0"} 1"#,
            r#"node_lnstat_allocs_total{subsystem="arp_cache",cpu="0"} 123"#,
            r#"node_lnstat_allocs_total{subsystem="arp_cache",cpu="1"} 255"#,
            r#"node_lnstat_x_y_total{subsystem="synproxy",cpu="0"} 2"#,
        ];
        assert_eq!(samples(&mut lnstat, &roots), want);
        assert_eq!(samples(&mut lnstat, &roots), want, "the second time, with what is kept");
        std::fs::remove_file(roots.procfs.join("net/stat/arp_cache")).expect("removed");
        assert_eq!(samples(&mut lnstat, &roots), [want[2], want[5]]);
        std::fs::write(roots.procfs.join("net/stat/new"), "entries\nxyz\n").expect("written");
        assert!(collect(&mut lnstat, &roots).is_err());
        std::fs::remove_dir_all(roots.procfs.join("net/stat")).expect("removed");
        assert_eq!(samples(&mut lnstat, &roots), [""; 0]);
    }
}
