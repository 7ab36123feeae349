use super::kernel_file::Text;
use super::rows::Rows;
use super::sysfs::integer;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, words};
use crate::encode::{Family, Kind, Labels};
use hostwright_core::config::metrics::collectors::sysctl as options;

/// `/proc/sys`: the settings of the kernel that are asked for.
pub struct Sysctl {
    numbers: Vec<Numbers>,
    texts: Vec<(String, KernelFile)>,
    info: Family,
    rows: Rows<()>,
    /// A text's name, place and value, in place of a new one for each.
    key: Vec<u8>,
}

/// A setting of numbers.
struct Numbers {
    file: KernelFile,
    /// Under its own name, or one for each of the names that are given for its numbers; null where a setting before it
    /// has that name.
    families: Vec<Option<Family>>,
    is_mapped: bool,
    indexes: Vec<Labels>,
}

impl Sysctl {
    pub fn new(roots: &Roots, options: &options::Sysctl) -> Self {
        // A dot in the name of a device would be a slash too, in the original as in sysctl(8).
        let file = |name: &str| KernelFile::new(roots.procfs.join("sys").join(name.replace('.', "/")));
        let mut told: Vec<String> = Vec::new();
        let numbers = options.include.iter().map(|setting| {
            let (name, keys) = setting.split_once(':').unwrap_or((setting, ""));
            let keys: Vec<&str> = keys.split(',').filter(|key| !key.is_empty()).collect();
            let families = families(name, &keys).into_iter().map(|family| {
                let is_new = !told.iter().any(|known| known == family.name());
                told.push(family.name().to_owned());
                is_new.then_some(family)
            });
            Numbers { file: file(name), families: families.collect(), is_mapped: !keys.is_empty(), indexes: Vec::new() }
        });
        Self {
            numbers: numbers.collect(),
            texts: options.include_info.iter().map(|name| (name.clone(), file(name))).collect(),
            info: Family::gauge("node_sysctl_info", "sysctl info"),
            rows: Rows::default(),
            key: Vec::new(),
        }
    }
}

fn families(name: &str, keys: &[&str]) -> Vec<Family> {
    let stem = format!("node_sysctl_{}", metric_name(name));
    let mapped = keys.iter().enumerate().map(|(at, key)| {
        Family::new(&format!("{stem}_{}", metric_name(key)), &format!("sysctl {name}, field {at}"), Kind::Untyped)
    });
    match keys {
        [] => vec![Family::new(&stem, &format!("sysctl {name}"), Kind::Untyped)],
        _ => mapped.collect(),
    }
}

/// What cannot stand in a metric's name becomes one `_`.
fn metric_name(name: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric();
    let mut clean = String::new();
    let mut rest = name;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        clean.push_str(&rest[..end]);
        rest = &rest[end..];
        let end = rest.find(is_part).unwrap_or(rest.len());
        // Underscores alone stay as they are.
        let between = &rest[..end];
        clean.push_str(if between.chars().all(|c| c == '_') { between } else { "_" });
        rest = &rest[end..];
    }
    clean
}

impl Numbers {
    fn write(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        let count = words(text.bytes).count();
        if count == 0 || (self.is_mapped && count != self.families.len()) {
            return Err(text.malformed("as many numbers as there are names", text.bytes));
        }
        // It is told as a whole or not at all.
        if let Some(wrong) = words(text.bytes).find(|word| integer(word).is_none()) {
            return Err(text.malformed("numbers", wrong));
        }
        let values = words(text.bytes).filter_map(integer);
        if self.is_mapped {
            for (family, value) in self.families.iter().zip(values) {
                family.iter().for_each(|family| scrape.out.family(family).put(value));
            }
            return Ok(());
        }
        let Some(Some(family)) = self.families.first() else { return Ok(()) };
        let mut samples = scrape.out.family(family);
        if count == 1 {
            values.for_each(|value| samples.put(value));
            return Ok(());
        }
        for (at, value) in values.enumerate() {
            if at == self.indexes.len() {
                self.indexes.push(Labels::new(&[("index", at.to_string().as_bytes())]));
            }
            samples.with(&self.indexes[at], value);
        }
        Ok(())
    }
}

/// Every word of a text, with the place that it has.
fn values(text: Text<'_>) -> Result<impl Iterator<Item = (usize, &[u8])>, CollectError> {
    let mut values = words(text.bytes).enumerate().peekable();
    match values.peek() {
        None => Err(text.malformed("a value", text.bytes)),
        Some(_) => Ok(values),
    }
}

impl Sysctl {
    fn read_texts(&mut self) -> Result<(), CollectError> {
        for (name, file) in &mut self.texts {
            for (at, value) in values(file.read()?)? {
                self.key.clear();
                [name.as_bytes(), b"\0", &at.to_ne_bytes(), value].iter().for_each(|part| self.key.extend(*part));
                self.rows.row_with(&self.key, |labels| {
                    labels.set(&[("name", name.as_bytes()), ("value", value), ("index", at.to_string().as_bytes())]);
                });
            }
        }
        Ok(())
    }
}

impl Collector for Sysctl {
    fn name(&self) -> &'static str {
        "sysctl"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.rows.begin();
        // As in the original, the first setting that cannot be told ends it, and those before it stay.
        let numbers = self.numbers.iter_mut().try_for_each(|numbers| numbers.write(scrape));
        scrape.failed = numbers.and_then(|()| self.read_texts()).err();
        let mut samples = scrape.out.family(&self.info);
        self.rows.iter().for_each(|row| samples.with(&row.labels, true));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Sysctl, integer, metric_name};
    use crate::sample::testing::{fails, samples, tree};
    use hostwright_core::config::metrics::collectors::sysctl as options;

    fn options(include: &[&str], include_info: &[&str]) -> options::Sysctl {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        options::Sysctl { include: owned(include), include_info: owned(include_info) }
    }

    #[test]
    fn settings_are_told_as_numbers_by_place_or_name_and_as_texts() {
        let (_folder, roots) = tree(&[
            ("proc/sys/kernel/threads-max", "7801\n"),
            ("proc/sys/kernel/pid_max", "0x10\n"),
            ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t-1\n"),
            ("proc/sys/fs/file-nr", "1 2\n"),
            ("proc/sys/kernel/seccomp/actions_avail", "kill_process log\n"),
        ]);
        let options = options(
            &["kernel.threads-max", "kernel.pid_max", "net.ipv4.tcp_rmem:min,default,max", "fs.file-nr"],
            &["kernel.seccomp.actions_avail"],
        );
        let mut sysctl = Sysctl::new(&roots, &options);
        let want = [
            "node_sysctl_kernel_threads_max 7801",
            "node_sysctl_kernel_pid_max 16",
            "node_sysctl_net_ipv4_tcp_rmem_min 4096",
            "node_sysctl_net_ipv4_tcp_rmem_default 131072",
            "node_sysctl_net_ipv4_tcp_rmem_max -1",
            r#"node_sysctl_fs_file_nr{index="0"} 1"#,
            r#"node_sysctl_fs_file_nr{index="1"} 2"#,
            r#"node_sysctl_info{name="kernel.seccomp.actions_avail",value="kill_process",index="0"} 1"#,
            r#"node_sysctl_info{name="kernel.seccomp.actions_avail",value="log",index="1"} 1"#,
        ];
        assert_eq!(samples(&mut sysctl, &roots), want);
        assert_eq!(samples(&mut sysctl, &roots), want, "the second time, with what is kept");
    }

    #[test]
    fn a_setting_that_does_not_fit_is_refused() {
        let (_folder, roots) = tree(&[("proc/sys/a", "1 2\n"), ("proc/sys/b", "x\n"), ("proc/sys/c", "\n")]);
        for wrong in ["a:x", "a:x,y,z", "b", "c"] {
            assert!(fails(&mut Sysctl::new(&roots, &options(&[wrong], &[])), &roots), "{wrong}");
        }
        assert!(fails(&mut Sysctl::new(&roots, &options(&[], &["c"])), &roots));
    }

    #[test]
    fn a_setting_is_told_with_and_without_names_and_no_series_twice() {
        let (_folder, roots) = tree(&[("proc/sys/fs/file-nr", "1024 0 7\n"), ("proc/sys/fs/file/nr", "5\n")]);
        let options =
            options(&["fs.file-nr", "fs.file-nr:total,current,max", "fs.file.nr", "fs.file-nr:max,new,new"], &[]);
        let want = [
            r#"node_sysctl_fs_file_nr{index="0"} 1024"#,
            r#"node_sysctl_fs_file_nr{index="1"} 0"#,
            r#"node_sysctl_fs_file_nr{index="2"} 7"#,
            "node_sysctl_fs_file_nr_total 1024",
            "node_sysctl_fs_file_nr_current 0",
            "node_sysctl_fs_file_nr_max 7",
            "node_sysctl_fs_file_nr_new 0",
        ];
        assert_eq!(samples(&mut Sysctl::new(&roots, &options), &roots), want);
    }

    #[test]
    fn what_stands_before_a_setting_that_cannot_be_told_stays() {
        let (_folder, roots) = tree(&[("proc/sys/a", "5\n"), ("proc/sys/b", "1 x\n"), ("proc/sys/c", "6\n")]);
        let mut sysctl = Sysctl::new(&roots, &options(&["a", "b", "c"], &["a"]));
        assert_eq!(samples(&mut sysctl, &roots), ["node_sysctl_a 5"]);
        assert!(fails(&mut sysctl, &roots));
        let mut sysctl = Sysctl::new(&roots, &options(&["c"], &["a", "gone", "c"]));
        let want = ["node_sysctl_c 6", r#"node_sysctl_info{name="a",value="5",index="0"} 1"#];
        assert_eq!(samples(&mut sysctl, &roots), want);
        assert!(fails(&mut sysctl, &roots));
    }

    #[test]
    fn names_and_numbers_are_made_as_in_the_original() {
        assert_eq!(metric_name("a__b.c-_d.."), "a__b_c_d_");
        assert_eq!(
            [integer(b"-0x1f"), integer(b"010"), integer(b"0b11"), integer(b"")],
            [Some(-31), Some(8), Some(3), None]
        );
    }
}
