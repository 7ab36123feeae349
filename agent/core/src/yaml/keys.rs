use super::document::{Duplicates, LoadError, Warning, error};
use super::{Entry, Mapping, Node, Value};
use std::collections::HashSet;

/// A key that stands there already.
pub(super) fn replace(
    mapping: &mut Mapping,
    entry: Entry,
    duplicates: Duplicates,
    warnings: &mut Vec<Warning>,
) -> Result<(), LoadError> {
    let Some(earlier) = mapping.entries.iter_mut().find(|earlier| earlier.key == entry.key) else {
        return Ok(());
    };
    let message = format!("key {:?} stands in line {} already", entry.key, earlier.place.line);
    match duplicates {
        Duplicates::Refuse => Err(error(entry.place, message)),
        Duplicates::LastWins => {
            warnings.push(Warning { place: entry.place, message: format!("{message}; this one counts") });
            *earlier = entry;
            Ok(())
        }
    }
}

/// Compose's tag for what is not there: a key with it hides none that is merged.
const TAKEN_AWAY: &str = "!reset";

/// Adds the keys of merged mappings that the mapping does not have itself; earlier merges win over later ones.
pub(super) fn merge(mapping: &mut Mapping, seen: &mut HashSet<String>, merges: Vec<Node>) -> Result<(), LoadError> {
    let is_taken_away = |entry: &&Entry| entry.value.tag.as_deref() == Some(TAKEN_AWAY);
    let mut taken_away: HashSet<String> =
        mapping.entries.iter().filter(is_taken_away).map(|entry| entry.key.clone()).collect();
    for node in merges {
        let sources = match node.value {
            Value::Sequence(items) => items,
            value => vec![Node { place: node.place, tag: None, value }],
        };
        for source in sources {
            let Value::Mapping(source_mapping) = source.value else {
                return Err(error(source.place, format!("<< merges mappings, and this is {}", source.kind())));
            };
            for entry in source_mapping.entries {
                if seen.insert(entry.key.clone()) || taken_away.remove(&entry.key) {
                    mapping.entries.push(entry);
                }
            }
        }
    }
    Ok(())
}
