use crate::encode::{Family, Labels};
use crate::sample::kernel_file::{Text, float};
use crate::sample::{CollectError, KernelFile, Roots, Scrape, words};
use hostwright_core::config::metrics::collectors::cpu as options;
use hostwright_core::config::metrics::filter::NamePattern;

/// Labels in their order, each with the key of its value in `/proc/cpuinfo`.
const TEXTS: [(&str, &[&str]); 10] = [
    ("cachesize", &["cache size"]),
    ("core", &["core id"]),
    ("cpu", &["processor"]),
    ("family", &["cpu family"]),
    ("microcode", &["microcode"]),
    ("model", &["model"]),
    ("model_name", &["model name"]),
    ("package", &["physical id"]),
    ("stepping", &["stepping"]),
    ("vendor", &["vendor", "vendor_id"]),
];
const CORE: usize = 1;
const CPU: usize = 2;
const PACKAGE: usize = 7;
const MEGAHERTZ: f64 = 1e6;

/// What the CPUs are, by `/proc/cpuinfo`.
pub struct Info {
    file: KernelFile,
    info: Family,
    frequency: Option<Family>,
    flags: Option<(NamePattern, Family)>,
    bugs: Option<(NamePattern, Family)>,
    cpus: Vec<Cpu>,
}

#[derive(Default)]
struct Cpu {
    texts: [Vec<u8>; TEXTS.len()],
    labels: Labels,
    place: Labels,
    rendered: bool,
    frequency: f64,
}

impl Info {
    pub fn new(roots: &Roots, options: &options::Cpu) -> Self {
        let gauge = |name: &str, help: &str| Family::gauge(&format!("node_cpu_{name}"), help);
        let first = "field of CPU information from /proc/cpuinfo taken from the first core.";
        let named = |pattern: &Option<NamePattern>, name: &str, field: &str| {
            let family = gauge(name, &format!("The `{field}` {first}"));
            pattern.clone().map(|pattern| (pattern, family))
        };
        Self {
            file: KernelFile::new(roots.procfs.join("cpuinfo")),
            info: gauge("info", "CPU information from /proc/cpuinfo."),
            frequency: options
                .frequency
                .then(|| gauge("frequency_hertz", "CPU frequency in hertz from /proc/cpuinfo.")),
            flags: named(&options.flags_include, "flag_info", "flags"),
            bugs: named(&options.bugs_include, "bug_info", "bugs"),
            cpus: Vec::new(),
        }
    }

    /// Writes every family.
    pub fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        let used = read(text, &mut self.cpus)?;
        self.cpus.truncate(used);
        let mut samples = scrape.out.family(&self.info);
        self.cpus.iter().for_each(|cpu| samples.with(&cpu.labels, true));
        if let Some(family) = &self.frequency {
            let mut samples = scrape.out.family(family);
            self.cpus.iter().for_each(|cpu| samples.with(&cpu.place, cpu.frequency * MEGAHERTZ));
        }
        let mut labels = Labels::default();
        for (named, key, label) in [(&self.flags, "flags", "flag"), (&self.bugs, "bugs", "bug")] {
            let Some((pattern, family)) = named else { continue };
            let mut samples = scrape.out.family(family);
            for word in words(of_first(text, key)).filter(|word| pattern.is_match(word)) {
                labels.set(&[(label, word)]);
                samples.with(&labels, true);
            }
        }
        Ok(())
    }
}

/// `model name\t: Xeon`.
fn pair(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memmem::find(line, b": ")?;
    Some((line[..colon].trim_ascii(), &line[colon + 2..]))
}

/// Reads each CPU's lines over those of the last time; returns how many there are.
fn read(text: Text<'_>, cpus: &mut Vec<Cpu>) -> Result<usize, CollectError> {
    let mut used = 0;
    for line in text.lines() {
        let Some((key, value)) = pair(line) else { continue };
        if key == b"processor" {
            if used > 0 {
                cpus[used - 1].render();
            }
            if used == cpus.len() {
                cpus.push(Cpu::default());
            }
            used += 1;
        }
        let Some(cpu) = used.checked_sub(1).map(|last| &mut cpus[last]) else {
            return Err(text.malformed("a CPU with its number", line));
        };
        if key == b"cpu MHz" {
            cpu.frequency = float(value).ok_or_else(|| text.malformed("a number of megahertz", line))?;
        }
        if let Some(at) = TEXTS.iter().position(|(_, keys)| keys.iter().any(|known| known.as_bytes() == key)) {
            cpu.set(at, value);
        }
    }
    if let Some(last) = used.checked_sub(1) {
        cpus[last].render();
    }
    Ok(used)
}

impl Cpu {
    fn set(&mut self, at: usize, text: &[u8]) {
        if self.texts[at] != text {
            self.texts[at] = text.to_vec();
            self.rendered = false;
        }
    }

    fn render(&mut self) {
        if self.rendered {
            return;
        }
        let pairs: Vec<_> = TEXTS.iter().zip(&self.texts).map(|((label, _), text)| (*label, &text[..])).collect();
        self.labels.set(&pairs);
        self.place.set(&[pairs[CORE], pairs[CPU], pairs[PACKAGE]]);
        self.rendered = true;
    }
}

/// What the first CPU has under the key.
fn of_first<'t>(text: Text<'t>, key: &str) -> &'t [u8] {
    let mut lines = text.lines().filter_map(pair);
    let _ = lines.find(|(key, _)| *key == b"processor");
    let mut first = lines.take_while(|(key, _)| *key != b"processor");
    first.find(|(name, _)| *name == key.as_bytes()).map_or(b"", |(_, value)| value)
}
