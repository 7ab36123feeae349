use super::{CollectError, Collector, Scrape};
use crate::encode::{Family, Labels};
use nix::sys::utsname::uname;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// uname(2).
pub struct Uname {
    family: Family,
    labels: Labels,
}

impl Uname {
    pub fn new() -> Self {
        Self {
            family: Family::gauge(
                "node_uname_info",
                "Labeled system information as provided by the uname system call.",
            ),
            labels: Labels::default(),
        }
    }
}

impl Collector for Uname {
    fn name(&self) -> &'static str {
        "uname"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let name = uname().map_err(|errno| CollectError::reading(Path::new("uname(2)"), io::Error::from(errno)))?;
        self.labels.set(&[
            ("domainname", name.domainname().as_bytes()),
            ("machine", name.machine().as_bytes()),
            ("nodename", name.nodename().as_bytes()),
            ("release", name.release().as_bytes()),
            ("sysname", name.sysname().as_bytes()),
            ("version", name.version().as_bytes()),
        ]);
        scrape.out.family(&self.family).with(&self.labels, true);
        Ok(())
    }
}
