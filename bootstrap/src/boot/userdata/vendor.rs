use super::Sources;
use super::combine::{Combined, combine};
use super::merge::Merging;
use super::parts::{Fetch, Kind, Parts, When, collect};
use hostwright_core::yaml::{Node, Scalar};

/// Adds what the cloud wants of the host to what the operator wants: it fills up what the operator leaves open, and
/// counts for nothing where the operator says so.
pub fn add(operators: Combined, sources: &Sources<'_>, fetch: &mut dyn Fetch) -> Combined {
    // What both leave open, the older of the two has less to say in.
    let of_both = [("vendor_data2", sources.vendor_data2), ("vendor_data", sources.vendor_data)];
    let mut whole = operators;
    let wishes: Vec<Wish> = of_both.iter().map(|(key, _)| Wish::of(whole.document.get(key))).collect();
    for ((key, contents), wish) in of_both.into_iter().zip(wishes) {
        if !wish.is_enabled || contents.iter().all(|content| content.trim_ascii().is_empty()) {
            continue;
        }
        let mut parts = Parts::default();
        for content in contents {
            parts.append(collect(content, fetch));
        }
        parts.list.retain(|part| !wish.is_disabled(&part.kind));
        take_over(&mut whole, combine(&parts, sources), key);
    }
    whole.scripts.sort_by_key(|script| !script.is_vendors);
    whole
}

fn take_over(whole: &mut Combined, vendors: Combined, key: &str) {
    let before = std::mem::replace(&mut whole.document, super::combine::empty());
    whole.document = Merging::between_sources().merge(before.clone(), vendors.document).unwrap_or(before);
    let own = |scripts: Vec<super::Script>| {
        scripts.into_iter().map(|script| super::Script { is_vendors: true, ..script }).collect()
    };
    whole.take_scripts(own(vendors.scripts), own(vendors.boothooks));
    whole.files.extend(vendors.files);
    whole.waiting.extend(vendors.waiting);
    // The operator did not write it: its faults are no reason to call the operator's wishes wrong.
    let findings = vendors.findings;
    for mut problem in [findings.errors, findings.ignored, findings.warnings].concat() {
        problem.message = format!("in the cloud's {key}: {}", problem.message);
        whole.findings.warnings.push(problem);
    }
}

/// `vendor_data: {enabled: …, disabled_handlers: […]}`
struct Wish {
    is_enabled: bool,
    disabled: Vec<String>,
}

impl Wish {
    fn of(node: Option<&Node>) -> Self {
        let Some(node) = node else { return Self { is_enabled: true, disabled: Vec::new() } };
        let is_enabled = node.mapping().is_some() && node.get("enabled").is_none_or(is_true);
        let handlers = node.get("disabled_handlers").and_then(Node::sequence).unwrap_or_default();
        Self { is_enabled, disabled: handlers.iter().filter_map(Node::text).map(str::to_owned).collect() }
    }

    fn is_disabled(&self, kind: &Kind) -> bool {
        let content_type = match kind {
            Kind::CloudConfig => "text/cloud-config",
            Kind::JsonPatch => "text/cloud-config-jsonp",
            Kind::Template => "text/jinja2",
            Kind::Script(When::WithCommands) => "text/x-shellscript",
            Kind::Script(When::Instance) => "text/x-shellscript-per-instance",
            Kind::Script(When::Boot) => "text/x-shellscript-per-boot",
            Kind::Script(When::Once) => "text/x-shellscript-per-once",
            Kind::Boothook => "text/cloud-boothook",
            Kind::PartHandler => "text/part-handler",
            Kind::Unknown(other) => other,
        };
        self.disabled.iter().any(|disabled| disabled == content_type)
    }
}

fn is_true(node: &Node) -> bool {
    match node.scalar() {
        Some(Scalar::Bool(value)) => value,
        Some(Scalar::Int(number)) => number == 1,
        Some(Scalar::String(text)) => ["true", "1", "on", "yes"].contains(&text.trim().to_lowercase().as_str()),
        _ => false,
    }
}
