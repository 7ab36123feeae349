use super::sysfs::{Attribute, Page};
use super::{CollectError, Collector, KernelFile, Roots, Scrape, words};
use crate::encode::{Family, Labels};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Network devices that are bonded to one, and how many of them work.
pub struct Bonding {
    class: PathBuf,
    file: KernelFile,
    /// What the file said when the masters were looked up.
    said: Vec<u8>,
    masters: Vec<Master>,
    slaves: Family,
    active: Family,
    page: Page,
}

struct Master {
    path: PathBuf,
    labels: Labels,
    file: KernelFile,
    said: Vec<u8>,
    slaves: Vec<Slave>,
    active: u64,
}

/// The file with the state of a slave, under its present name and under that of older kernels.
struct Slave([Attribute; 2]);

impl Bonding {
    pub fn new(roots: &Roots) -> Self {
        let class = roots.sysfs.join("class/net");
        Self {
            file: KernelFile::new(class.join("bonding_masters")),
            class,
            said: Vec::new(),
            masters: Vec::new(),
            slaves: Family::gauge("node_bonding_slaves", "Number of configured slaves per bonding interface."),
            active: Family::gauge("node_bonding_active", "Number of active slaves per bonding interface."),
            page: Page::default(),
        }
    }

    fn read(&mut self) -> Result<(), CollectError> {
        let text = self.file.read()?.bytes;
        if self.said != text {
            self.said = text.to_vec();
            self.masters = words(text).map(|name| Master::new(&self.class, name)).collect();
        }
        self.masters.iter_mut().try_for_each(|master| master.read(&mut self.page))
    }
}

impl Master {
    fn new(class: &Path, name: &[u8]) -> Self {
        let path = class.join(OsStr::from_bytes(name));
        Self {
            labels: Labels::new(&[("master", name)]),
            file: KernelFile::new(path.join("bonding/slaves")),
            path,
            said: Vec::new(),
            slaves: Vec::new(),
            active: 0,
        }
    }

    fn read(&mut self, page: &mut Page) -> Result<(), CollectError> {
        let text = self.file.read()?.bytes;
        if self.said != text {
            self.said = text.to_vec();
            self.slaves = words(text).map(|name| Slave::new(&self.path, name)).collect();
        }
        self.active = 0;
        for slave in &mut self.slaves {
            self.active += u64::from(slave.is_up(page)?);
        }
        Ok(())
    }
}

impl Slave {
    fn new(master: &Path, name: &[u8]) -> Self {
        Self(["lower_", "slave_"].map(|prefix| {
            let link = [prefix.as_bytes(), name].concat();
            Attribute::new(master.join(OsStr::from_bytes(&link)).join("bonding_slave/mii_status"))
        }))
    }

    fn is_up(&mut self, page: &mut Page) -> Result<bool, CollectError> {
        let Self([present, older]) = self;
        if let Ok(text) = present.read(page) {
            return Ok(text == b"up");
        }
        match older.read(page) {
            Ok(text) => Ok(text == b"up"),
            Err(source) => Err(CollectError::reading(present.path(), source)),
        }
    }
}

impl Collector for Bonding {
    fn name(&self) -> &'static str {
        "bonding"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.read()?;
        let mut samples = scrape.out.family(&self.active);
        self.masters.iter().for_each(|master| samples.with(&master.labels, master.active));
        let mut samples = scrape.out.family(&self.slaves);
        self.masters.iter().for_each(|master| samples.with(&master.labels, master.slaves.len() as u64));
        Ok(())
    }
}
