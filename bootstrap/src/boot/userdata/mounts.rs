use super::Findings;
use super::values::Text;
use hostwright_core::config::section::Section;
use hostwright_core::config::values::{FromNode, mismatch};
use hostwright_core::yaml::{Node, Scalar};
use serde::Serialize;
use std::path::PathBuf;

/// `mounts:`, `mount_default_fields:`, `swap:`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mounts {
    /// Lines for `/etc/fstab`, as far as they were said.
    pub lines: Vec<Line>,
    /// What is not said in a line.
    pub defaults: Vec<Option<String>>,
    /// A file to swap to.
    pub swap: Option<Swap>,
}

/// A line for `/etc/fstab`: up to six fields, of which nothing is said where there is `null`.
pub type Line = Vec<Option<String>>;

/// `swap:`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Swap {
    /// Where it is.
    pub path: PathBuf,
    /// How large; nothing for as large as suits the memory.
    pub size: Option<u64>,
    /// The most.
    pub at_most: Option<u64>,
}

/// Without `nofail` a volume that is gone keeps the host from booting.
const DEFAULTS: [Option<&str>; 6] = [None, None, Some("auto"), Some("defaults,nofail"), Some("0"), Some("2")];

impl Mounts {
    /// Reads the top-level keys.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Self {
        let mut defaults = root.node("mount_default_fields").and_then(|node| fields(node, findings));
        // As cloud-init's own guide has it: the word, for YAML a text, stands for nothing.
        defaults.iter_mut().flatten().for_each(|field| *field = field.take().filter(|field| field != "None"));
        if defaults.as_ref().is_some_and(|fields| fields.len() != 6)
            && let Some(node) = root.node("mount_default_fields")
        {
            findings.error(node.place, "mount_default_fields", "expected six fields".to_owned());
        }
        let mut lines = Vec::new();
        if let Some(node) = root.node("mounts") {
            match node.sequence() {
                Some(items) => lines.extend(items.iter().filter_map(|item| line(item, findings))),
                None => {
                    findings.error(node.place, "mounts", format!("expected a list of lists, found {}", node.kind()));
                }
            }
        }
        Self {
            lines,
            defaults: defaults
                .filter(|fields| fields.len() == 6)
                .unwrap_or_else(|| DEFAULTS.map(|field| field.map(str::to_owned)).to_vec()),
            swap: root.node("swap").and_then(|node| findings.whole(node, "swap", swap)),
        }
    }
}

fn fields(node: &Node, findings: &mut Findings) -> Option<Line> {
    let Some(items) = node.sequence() else {
        findings.error(node.place, "mounts", format!("expected a list of fields, found {}", node.kind()));
        return None;
    };
    let field = |item: &Node| if item.is_null() { Some(None) } else { item.text().map(|text| Some(text.to_owned())) };
    let fields: Option<Line> = items.iter().map(field).collect();
    if fields.is_none() {
        findings.error(node.place, "mounts", "expected fields of text".to_owned());
    }
    fields
}

fn line(node: &Node, findings: &mut Findings) -> Option<Line> {
    let fields = fields(node, findings)?;
    let odd = fields.iter().flatten().any(|field| field.contains(['\n', '\t']) || field.is_empty());
    if fields.is_empty() || fields.len() > 6 || fields[0].is_none() || odd {
        findings.error(
            node.place,
            "mounts",
            "expected up to six fields as in /etc/fstab: [device, folder, type, options, '0', '2']".to_owned(),
        );
        return None;
    }
    Some(fields)
}

/// A number of bytes as cloud-init takes it: `2G`, `512M`, `1.5G`, `100MB`, in powers of 1024.
struct Bytes(u64);

impl FromNode for Bytes {
    const EXPECTED: &'static str = "a size such as 2G or 512M";

    fn from_node(node: &Node) -> Result<Self, String> {
        if let Some(Scalar::Int(bytes)) = node.scalar() {
            return u64::try_from(bytes).map(Self).map_err(|_| mismatch::<Self>(node));
        }
        let text = node.text().unwrap_or_default().trim().to_ascii_uppercase();
        let text = text.strip_suffix('B').unwrap_or(&text);
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit: f64 = match text[number.len()..].trim() {
            "" => 1.0,
            "K" | "KI" => f64::from(1 << 10),
            "M" | "MI" => f64::from(1 << 20),
            "G" | "GI" => f64::from(1 << 30),
            "T" | "TI" => 1024.0 * f64::from(1 << 30),
            _ => return Err(mismatch::<Self>(node)),
        };
        let bytes = number.trim().parse::<f64>().ok().map(|number| number * unit);
        match bytes.filter(|bytes| (0.0..1e18).contains(bytes)) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "its range was looked at")]
            Some(bytes) => Ok(Self(bytes as u64)),
            None => Err(mismatch::<Self>(node)),
        }
    }
}

/// Nothing where none is wanted.
fn swap(mut section: Section<'_>, _: &mut Findings) -> Option<Swap> {
    let path = section.or("filename", Text("/swap.img".into())).0;
    let auto =
        section.node("size").is_some_and(|node| node.text().is_some_and(|text| text.eq_ignore_ascii_case("auto")));
    let size = if auto { None } else { Some(section.or("size", Bytes(0)).0) };
    let at_most = section.optional::<Bytes>("maxsize").map(|bytes| bytes.0);
    if !path.starts_with('/') && !path.is_empty() {
        section.problem_with("filename", "expected an absolute path such as /swap.img");
    }
    section.finish();
    (size != Some(0) && !path.is_empty()).then(|| Swap { path: path.into(), size, at_most })
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn lines_keep_what_is_said_and_sizes_are_powers_of_two() {
        let user_data = read(
            b"#cloud-config\nmounts:\n- [vdb, /mnt, ext4, 'defaults,nofail', 0, 2]\n- [sdc, /opt/data]\n- [ephemeral0, null]\nmount_default_fields: [None, None, auto, 'defaults,nofail', '0', '2']\nswap: {filename: /s, size: 1.5G, maxsize: 512MB}\n",
        );
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        let mounts = user_data.config.mounts;
        assert_eq!(mounts.lines[0][4].as_deref(), Some("0"));
        assert_eq!((mounts.lines[1].len(), mounts.lines[2][1].clone()), (2, None));
        let swap = mounts.swap.expect("swap");
        assert_eq!((swap.size, swap.at_most), (Some(3 << 29), Some(512 << 20)));
        assert_eq!(read(b"#cloud-config\nswap: {size: auto}\n").config.mounts.swap.expect("swap").size, None);
        assert!(read(b"#cloud-config\nswap: {filename: /x}\n").config.mounts.swap.is_none());
        assert_eq!(
            read(b"#cloud-config\nmounts: [vdb, [], [1,2,3,4,5,6,7]]\nswap: {size: huge}\n").findings.errors.len(),
            4
        );
    }
}
