use super::Findings;
use super::values::Flag;
use hostwright_core::config::section::Section;
use hostwright_core::yaml::{Node, Scalar};
use serde::Serialize;

/// `growpart:` and `resize_rootfs:`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// What grows into the free space behind it: folders where something is mounted, or devices.
    pub devices: Vec<String>,
    /// `/etc/growroot-disabled` counts for nothing.
    pub whatever_the_image_says: bool,
    /// Whether the root file system grows into its partition.
    pub filesystem: bool,
    /// Whether anything of this was said.
    pub is_said: bool,
}

impl Default for Growth {
    fn default() -> Self {
        Self { devices: vec!["/".to_owned()], whatever_the_image_says: false, filesystem: true, is_said: false }
    }
}

impl Growth {
    /// Reads the top-level keys.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Self {
        let mut growth = Self { is_said: root.has("growpart"), ..Self::default() };
        if let Some(node) = root.node("resize_rootfs") {
            let noblock = node.text() == Some("noblock");
            growth.filesystem = noblock || root.or("resize_rootfs", Flag(true)).0;
        }
        if let Some(node) = root.node("growpart") {
            findings.whole(node, "growpart", |section, findings| growth.read_section(section, findings));
        }
        growth
    }

    fn read_section(&mut self, mut section: Section<'_>, findings: &mut Findings) -> Option<()> {
        if let Some(devices) = section.list("devices") {
            self.devices = devices;
        }
        self.whatever_the_image_says = section.or("ignore_growroot_disabled", Flag(false)).0;
        if let Some(node) = section.node("mode") {
            self.read_mode(node, findings);
        }
        section.finish();
        Some(())
    }

    fn read_mode(&mut self, node: &Node, findings: &mut Findings) {
        match (node.scalar(), node.text().unwrap_or_default()) {
            (Some(Scalar::Bool(false)), _) | (_, "off" | "false") => self.devices.clear(),
            (_, "auto" | "growpart") => {}
            (_, "gpart") => {
                findings.not_done(node.place, "growpart.mode", "gpart is of the BSDs; partitions grow by sfdisk");
            }
            _ => findings.error(node.place, "growpart.mode", "expected auto, growpart or 'off'".to_owned()),
        }
    }
}
