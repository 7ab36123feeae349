use super::tree::{Map, Tree, Value};
use hostwright_core::yaml::{Node, Value as Written};

/// What a document takes away from those before it: the paths of its `!reset` and `!override` tags.
#[derive(Clone, Debug, Default)]
pub struct Resets(Vec<Vec<String>>);

impl Resets {
    /// Notes a document's tags and removes what is tagged `!reset`.
    pub fn take(node: &mut Node) -> Self {
        let mut resets = Self::default();
        resets.look(node, &mut Vec::new());
        resets
    }

    fn look(&mut self, node: &mut Node, path: &mut Vec<String>) {
        match &mut node.value {
            Written::Mapping(mapping) => mapping.entries.retain_mut(|entry| {
                path.push(entry.key.clone());
                let kept = self.keep(&mut entry.value, path);
                path.pop();
                kept
            }),
            // Compose takes items of lists away only from the list in which the tag stands.
            Written::Sequence(items) => items.retain_mut(|item| {
                path.push("[]".into());
                let kept = self.keep(item, path);
                path.pop();
                kept
            }),
            Written::Scalar { .. } => {}
        }
    }

    fn keep(&mut self, node: &mut Node, path: &mut Vec<String>) -> bool {
        let tag = node.tag.as_deref();
        if matches!(tag, Some("!reset" | "!override")) {
            self.0.push(path.clone());
            return tag == Some("!override");
        }
        self.look(node, path);
        true
    }

    /// Removes from a model what the tags name.
    pub fn apply(&self, model: &mut Map) {
        if !self.0.is_empty() {
            self.remove(model, &mut Vec::new());
        }
    }

    /// The same for one service.
    pub fn apply_to_service(&self, name: &str, service: &mut Tree) {
        if let (false, Value::Map(map)) = (self.0.is_empty(), &mut service.value) {
            self.remove(map, &mut vec!["services".into(), name.to_owned()]);
        }
    }

    fn remove(&self, map: &mut Map, path: &mut Vec<String>) {
        map.retain(|key, member| {
            path.push(key.clone());
            let named = self.0.iter().any(|reset| reset == path);
            if let (false, Value::Map(inner)) = (named, &mut member.value) {
                self.remove(inner, path);
            }
            path.pop();
            !named
        });
    }
}
