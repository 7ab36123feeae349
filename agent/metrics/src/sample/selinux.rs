use super::kernel_file::lines;
use super::{CollectError, Collector, KernelFile, Roots, Scrape};
use crate::encode::Family;

/// SELinux: whether it is on, and whether it enforces now and after the next boot.
pub struct Selinux {
    enforce: KernelFile,
    own_label: KernelFile,
    config: KernelFile,
    enabled: Family,
    config_mode: Family,
    current_mode: Family,
}

impl Selinux {
    pub fn new(roots: &Roots) -> Self {
        let gauge = |name: &str, help: &str| Family::gauge(&format!("node_selinux_{name}"), help);
        Self {
            enforce: KernelFile::new(roots.sysfs.join("fs/selinux/enforce")),
            own_label: KernelFile::new(roots.procfs.join("thread-self/attr/current")),
            config: KernelFile::new(roots.rootfs.join("etc/selinux/config")),
            enabled: gauge("enabled", "SELinux is enabled, 1 is true, 0 is false"),
            config_mode: gauge("config_mode", "Configured SELinux enforcement mode"),
            current_mode: gauge("current_mode", "Current SELinux enforcement mode"),
        }
    }

    /// Mounted, and with a policy: before one is loaded, everything has the kernel's label.
    fn is_enabled(&mut self) -> bool {
        let label = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
        self.enforce.read().is_ok()
            && self.own_label.read().map_or(true, |text| text.bytes.split(label).next() != Some(b"kernel"))
    }
}

/// 1 enforces, 0 only logs, -1 is off.
fn current_mode(text: &[u8]) -> i64 {
    match text.trim_ascii() {
        b"1" => 1,
        b"0" => 0,
        _ => -1,
    }
}

/// `KEY=value`.
fn setting(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = memchr::memchr(b'=', line)?;
    Some((line[..equals].trim_ascii(), line[equals + 1..].trim_ascii()))
}

/// As the current mode, by the line `SELINUX=enforcing`.
fn config_mode(text: &[u8]) -> i64 {
    let mode = lines(text).filter_map(setting).find(|(key, _)| *key == b"SELINUX").map(|(_, value)| value);
    match mode.map(|mode| mode.strip_prefix(b"\"").and_then(|mode| mode.strip_suffix(b"\"")).unwrap_or(mode)) {
        Some(b"enforcing") => 1,
        Some(b"permissive") => 0,
        _ => -1,
    }
}

impl Collector for Selinux {
    fn name(&self) -> &'static str {
        "selinux"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let enabled = self.is_enabled();
        scrape.out.family(&self.enabled).put(enabled);
        if enabled {
            let mode = self.config.read().map_or(-1, |text| config_mode(text.bytes));
            scrape.out.family(&self.config_mode).put(mode);
            let mode = self.enforce.read().map_or(-1, |text| current_mode(text.bytes));
            scrape.out.family(&self.current_mode).put(mode);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Selinux, config_mode};
    use crate::sample::testing::{samples, tree};

    #[test]
    fn modes_are_told_where_it_is_enabled() {
        let config = "# This file controls SELinux\nSELINUX=permissive\nSELINUXTYPE=targeted\n";
        let (_folder, roots) = tree(&[
            ("sys/fs/selinux/enforce", "1"),
            ("proc/thread-self/attr/current", "system_u:system_r:init_t:s0\0"),
            ("root/etc/selinux/config", config),
        ]);
        let mut selinux = Selinux::new(&roots);
        let on = ["node_selinux_enabled 1", "node_selinux_config_mode 0", "node_selinux_current_mode 1"];
        assert_eq!(samples(&mut selinux, &roots), on);
        std::fs::write(roots.procfs.join("thread-self/attr/current"), "kernel\0").expect("written");
        assert_eq!(samples(&mut selinux, &roots), ["node_selinux_enabled 0"]);
        let (_folder, roots) = tree(&[]);
        assert_eq!(samples(&mut Selinux::new(&roots), &roots), ["node_selinux_enabled 0"]);
    }

    #[test]
    fn a_mode_may_be_quoted_and_others_are_off() {
        for (text, mode) in
            [("SELINUX=\"enforcing\"", 1), ("SELINUX = enforcing\n", 1), ("SELINUX=disabled", -1), ("", -1)]
        {
            assert_eq!(config_mode(text.as_bytes()), mode, "{text}");
        }
    }
}
