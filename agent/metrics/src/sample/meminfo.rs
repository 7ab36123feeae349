use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::{Family, Kind};

/// Every field of `/proc/meminfo`, whatever the kernel has.
pub struct Meminfo {
    file: KernelFile,
    /// In the order of the file, which does not change while a kernel runs.
    fields: Vec<Field>,
}

struct Field {
    key: Vec<u8>,
    unit: bool,
    family: Family,
}

impl Meminfo {
    pub fn new(roots: &Roots) -> Self {
        Self { file: KernelFile::new(roots.procfs.join("meminfo")), fields: Vec::new() }
    }
}

impl Field {
    fn new(key: &[u8], unit: bool) -> Self {
        let text = String::from_utf8_lossy(key);
        let mut name = text.replace('(', "_").replace(')', "");
        if unit {
            name.push_str("_bytes");
        }
        let kind = if name.ends_with("_total") { Kind::Counter } else { Kind::Gauge };
        let family = Family::new(&format!("node_memory_{name}"), &format!("Memory information field {name}."), kind);
        Self { key: key.to_owned(), unit, family }
    }
}

/// `Active(anon):     1584 kB` → key, value in bytes, whether it had a unit.
fn parse(line: &[u8]) -> Option<(&[u8], u64, bool)> {
    let mut words = words(line);
    let key = words.next()?.strip_suffix(b":")?;
    let value = number(words.next()?)?;
    // A key becomes part of a metric's name.
    let fits = key.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_()".contains(byte));
    match (fits, words.next()) {
        (true, None) => Some((key, value, false)),
        (true, Some(b"kB")) => Some((key, value.checked_mul(1024)?, true)),
        _ => None,
    }
}

impl Collector for Meminfo {
    fn name(&self) -> &'static str {
        "meminfo"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        for (at, line) in text.lines().enumerate() {
            let (key, value, unit) = parse(line).ok_or_else(|| text.malformed("a field with its size", line))?;
            if self.fields.get(at).is_none_or(|field| field.key != key || field.unit != unit) {
                self.fields.truncate(at);
                self.fields.push(Field::new(key, unit));
            }
            scrape.out.family(&self.fields[at].family).put(value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Meminfo, parse};
    use crate::sample::testing::{assert_has, captured, collect, samples};

    #[test]
    fn every_field_is_taken_in_bytes_where_it_has_a_unit() {
        let roots = captured("procfs-vm");
        let mut meminfo = Meminfo::new(&roots);
        let lines = samples(&mut meminfo, &roots);
        assert_has(
            &lines,
            &[
                "node_memory_MemTotal_bytes 25276514304",
                "node_memory_Active_anon_bytes 1622016",
                "node_memory_HugePages_Total 0",
                "node_memory_VmallocTotal_bytes 35184372087808",
            ],
        );
        let fields = std::fs::read_to_string(roots.procfs.join("meminfo")).expect("fixture").lines().count();
        assert_eq!(lines.len(), fields);
        let text = collect(&mut meminfo, &roots).expect("collected again");
        assert!(text.contains("# HELP node_memory_Active_anon_bytes Memory information field Active_anon_bytes.\n# TYPE node_memory_Active_anon_bytes gauge\n"));
    }

    #[test]
    fn lines_that_are_no_fields_are_refused() {
        assert_eq!(parse(b"MemTotal:  2 kB"), Some((&b"MemTotal"[..], 2048, true)));
        for line in [&b"MemTotal 2 kB"[..], b"MemTotal: x kB", b"MemTotal: 2 MB", b"Mem Total: 2", b"M{}: 1", b""] {
            assert_eq!(parse(line), None);
        }
    }
}
