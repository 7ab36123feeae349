use crate::logs::output::Origin;
use crate::logs::record::{FIELDS, Facts, LOG, LOG_SOURCE};
use hostwright_core::config::logs::output::Fields;
use memchr::memmem::Finder;
use serde_json::{Map, Value, json};

/// Facts that ECS has a place for: the object's name, and the path inside of it.
const PLACES: [(&str, &str, &[&str]); 4] = [
    ("container_id", "container", &["id"]),
    ("container_name", "container", &["name"]),
    ("image_name", "container", &["image", "name"]),
    ("compose_service", "service", &["name"]),
];

/// A field that we add to each record of a file.
#[derive(Debug)]
pub struct Ours {
    pub name: String,
    /// Name and value, as they stand in an object.
    pub member: String,
    pub is_object: bool,
    /// How a line that has the name itself is known.
    pub known: Known,
}

#[derive(Debug)]
pub enum Known {
    /// By this bit of `Object::own`.
    Bit(u8),
    /// By looking for the name with its quotes.
    Quoted(Box<Finder<'static>>),
}

impl Known {
    /// Whether these bits say that a line has the field.
    pub fn is_bit_of(&self, own: u8) -> bool {
        matches!(self, Self::Bit(bit) if own & bit != 0)
    }
}

impl Ours {
    fn new(name: &str, value: &Value, bit: Option<u8>) -> Self {
        let quoted = Value::from(name).to_string();
        let known = match bit {
            Some(bit) => Known::Bit(bit),
            None => Known::Quoted(Box::new(Finder::new(quoted.as_bytes()).into_owned())),
        };
        Self { name: name.to_owned(), member: format!("{quoted}:{value}"), is_object: value.is_object(), known }
    }
}

/// Our fields for the records of a file, those that are known by a bit first.
pub fn ours(fields: Fields, origin: &Origin, facts: &Facts) -> Vec<Ours> {
    match fields {
        Fields::Plain => plain(origin, facts),
        Fields::Ecs => ecs(origin, facts),
    }
}

fn plain(origin: &Origin, facts: &Facts) -> Vec<Ours> {
    let values = [json!(origin.host), json!(origin.labels), json!(facts.source), json!(facts.file)];
    let ours = FIELDS.iter().zip(&values).enumerate().map(|(at, (name, value))| Ours::new(name, value, Some(1 << at)));
    ours.chain(facts.fields.iter().map(|(name, value)| Ours::new(name, &json!(value), None))).collect()
}

/// <https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html>; what ECS has no place for keeps its name.
fn ecs(origin: &Origin, facts: &Facts) -> Vec<Ours> {
    let mut all = vec![
        Ours::new("host", &json!({"name": origin.host}), Some(1)),
        Ours::new("labels", &json!(origin.labels), Some(1 << 1)),
        Ours::new("log_source", &json!(facts.source), Some(LOG_SOURCE)),
        Ours::new("log", &json!({"file": {"path": facts.file}}), Some(LOG)),
    ];
    let mut further = Map::new();
    for (name, value) in &facts.fields {
        let Some((_, object, path)) = PLACES.iter().find(|(known, ..)| known == name) else {
            further.insert(name.clone(), json!(value));
            continue;
        };
        let mut place = further.entry(*object).or_insert_with(|| json!({}));
        for name in *path {
            place = &mut place[*name];
        }
        *place = json!(value);
    }
    all.extend(further.iter().map(|(name, value)| Ours::new(name, value, None)));
    all
}
