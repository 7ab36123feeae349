use super::apt::{self, Apt};
use super::findings::Findings;
use super::old_apt;
use hostwright_core::config::section::Section;
use hostwright_core::yaml::{Node, Scalar};

/// Reads the top-level keys.
pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Option<Apt> {
    let pipelining = root.node("apt_pipelining").and_then(|node| pipelining(node, findings));
    let before = old_apt::read(root, findings);
    let apt = match root.node("apt") {
        Some(node) => findings.whole(node, "apt", apt::apt),
        None => before,
    };
    match (apt, pipelining) {
        (None, None) => None,
        (apt, pipelining) => Some(Apt { pipelining, ..apt.unwrap_or_default() }),
    }
}

fn pipelining(node: &Node, findings: &mut Findings) -> Option<u8> {
    match (node.scalar(), node.text().unwrap_or_default().trim().to_ascii_lowercase().as_str()) {
        (Some(Scalar::Bool(false)), _) | (_, "false") => Some(0),
        (_, "os" | "none" | "unchanged") => None,
        (_, digit @ ("0" | "1" | "2" | "3" | "4" | "5")) => digit.parse().ok(),
        _ => {
            findings.tolerated(node.place, "apt_pipelining", "expected os, false or 0 to 5; apt stays as it is");
            None
        }
    }
}
