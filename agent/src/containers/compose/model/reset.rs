use super::tree::{Map, Tree, Value};
use hostwright_core::yaml::{Node, Place, Value as Written};
use std::collections::BTreeSet;

/// What a document takes away from those before it: the paths of its `!reset` and `!override` tags.
#[derive(Clone, Debug, Default)]
pub struct Resets(Vec<Vec<String>>);

/// The path of a node, and the places of `!reset` tags on the way to it.
type Way = (Vec<String>, BTreeSet<Place>);

impl Resets {
    /// Notes a document's tags and removes what is tagged `!reset`.
    pub fn take(node: &mut Node) -> Self {
        let mut resets = Self::default();
        resets.look(node, &mut (Vec::new(), BTreeSet::new()));
        resets
    }

    fn look(&mut self, node: &mut Node, way: &mut Way) {
        match &mut node.value {
            Written::Mapping(mapping) => mapping.entries.retain_mut(|entry| {
                way.0.push(entry.key.clone());
                let kept = self.keep(&mut entry.value, way);
                way.0.pop();
                kept
            }),
            // Compose takes items of lists away only from the list in which the tag stands.
            Written::Sequence(items) => items.retain_mut(|item| {
                way.0.push("[]".into());
                let kept = self.keep(item, way);
                way.0.pop();
                kept
            }),
            Written::Scalar { .. } => {}
        }
    }

    fn keep(&mut self, node: &mut Node, way: &mut Way) -> bool {
        match node.tag.as_deref() {
            // As in Compose, it is gone where it stands before an alias leads to it a second time.
            Some("!reset") => {
                if way.1.insert(node.place) {
                    self.0.push(way.0.clone());
                }
                false
            }
            Some("!override") => {
                self.0.push(way.0.clone());
                true
            }
            _ => {
                self.look(node, way);
                true
            }
        }
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
