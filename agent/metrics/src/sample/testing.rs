use super::rtnetlink::Links;
use super::{CollectError, Collector, KernelFile, Roots, Scrape};
use crate::encode::Encoder;
use std::path::Path;

/// The tree of that name in `tests/fixtures`.
pub fn captured(name: &str) -> Roots {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name);
    assert!(root.is_dir(), "{} is missing", root.display());
    Roots { procfs: root.join("proc"), sysfs: root.join("sys"), rootfs: root.join("root"), udev: root.join("udev") }
}

/// What the collector writes, one line per sample, without HELP and TYPE.
pub fn samples(collector: &mut dyn Collector, roots: &Roots) -> Vec<String> {
    let text = collect(collector, roots).expect("collected");
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// All that the collector writes.
pub fn collect(collector: &mut dyn Collector, roots: &Roots) -> Result<String, CollectError> {
    let mut out = Encoder::default();
    let mut stat = KernelFile::new(roots.procfs.join("stat"));
    let stat = stat.read();
    collector.collect(&mut Scrape::new(&mut out, stat.as_ref().copied(), &mut Links::default()))?;
    Ok(String::from_utf8(out.take()).expect("UTF-8"))
}

/// Whether it counts as failed, whatever it wrote.
pub fn fails(collector: &mut dyn Collector, roots: &Roots) -> bool {
    let mut out = Encoder::default();
    let mut stat = KernelFile::new(roots.procfs.join("stat"));
    let stat = stat.read();
    let mut links = Links::default();
    let mut scrape = Scrape::new(&mut out, stat.as_ref().copied(), &mut links);
    collector.collect(&mut scrape).is_err() || scrape.failed.is_some()
}

/// Asserts that each of `want` is a line of `lines`.
pub fn assert_has(lines: &[String], want: &[&str]) {
    for line in want {
        assert!(lines.iter().any(|l| l == line), "{line} is not in:\n{}", lines.join("\n"));
    }
}

/// A tree with these files, each with its text; it goes with the folder.
pub fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Roots) {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    let root = folder.path();
    let roots = Roots {
        procfs: root.join("proc"),
        sysfs: root.join("sys"),
        rootfs: root.join("root"),
        udev: root.join("udev"),
    };
    (folder, roots)
}
