use super::{Mapping, Node, Scalar, Value};

/// Writes a node as block-style YAML that [`super::load`] reads back as the same tree.
///
/// Aliases and merges stay expanded; comments are not kept.
pub fn emit(node: &Node) -> String {
    let mut out = String::new();
    block(node, 0, &mut out);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn block(node: &Node, indent: usize, out: &mut String) {
    match &node.value {
        Value::Mapping(mapping) if !mapping.entries.is_empty() => block_mapping(mapping, indent, out),
        Value::Sequence(items) if !items.is_empty() => {
            for item in items {
                pad(indent, out);
                out.push('-');
                nested(item, indent, out);
            }
        }
        _ => out.push_str(&inline(node)),
    }
}

fn block_mapping(mapping: &Mapping, indent: usize, out: &mut String) {
    for entry in &mapping.entries {
        pad(indent, out);
        out.push_str(&quoted_where_needed(&entry.key));
        out.push(':');
        nested(&entry.value, indent, out);
    }
}

fn nested(node: &Node, indent: usize, out: &mut String) {
    if let Some(tag) = &node.tag {
        out.push(' ');
        out.push_str(tag);
    }
    let is_block = match &node.value {
        Value::Mapping(mapping) => !mapping.entries.is_empty(),
        Value::Sequence(items) => !items.is_empty(),
        Value::Scalar { .. } => false,
    };
    if is_block {
        out.push('\n');
        block(node, indent + 2, out);
    } else {
        out.push(' ');
        out.push_str(&inline(node));
        out.push('\n');
    }
}

fn inline(node: &Node) -> String {
    match &node.value {
        Value::Mapping(_) => "{}".into(),
        Value::Sequence(_) => "[]".into(),
        Value::Scalar { text, plain: true } if !text.contains('\n') => text.clone(),
        Value::Scalar { text, .. } => quoted_where_needed(text),
    }
}

/// A string as a plain scalar where that is safe, else in double quotes (JSON's escapes are YAML's too).
fn quoted_where_needed(text: &str) -> String {
    let starts_safe = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '_');
    let all_safe = text.chars().all(|c| c.is_ascii_alphanumeric() || "/_.-+".contains(c));
    if starts_safe && all_safe && matches!(Scalar::resolve(text), Scalar::String(_)) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use super::super::{Duplicates, Node, load};
    use super::emit;

    fn shape(node: &Node) -> String {
        match (node.sequence(), node.mapping()) {
            (Some(items), _) => format!("[{}]", items.iter().map(shape).collect::<Vec<_>>().join(",")),
            (_, Some(mapping)) => format!(
                "{{{}}}",
                mapping
                    .entries
                    .iter()
                    .map(|e| format!("{:?}:{}", e.key, shape(&e.value)))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            _ => format!("{:?}", node.scalar()),
        }
    }

    #[test]
    fn what_is_emitted_reads_back_as_the_same_tree() {
        let text = "a: {b: [1, '2', \"x: y # z\", {}, []], \"yes\": no}\nc: |\n  two\n  lines\nd: ''\ne:\n- - 1\n  - k: v\n    l: 0644\nf: \"\\u0000\\t\\u2028é\"\n";
        let first = load(text, Duplicates::Refuse).expect("loads").root;
        let emitted = emit(&first);
        let second = load(&emitted, Duplicates::Refuse).expect("loads again").root;
        assert_eq!(shape(&first), shape(&second), "{emitted}");
    }
}
