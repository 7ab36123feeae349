/// What the platform's reason has in it, and what an operator can do about it.
const REMEDIES: [(&str, &str); 9] = [
    (
        "as object, but found a concrete value",
        "the index has an object there, as Elasticsearch's templates do: fields: ecs for our own fields, a filter \
         rename for one of the line's",
    ),
    (
        "must be of type object but found",
        "the index has a value where this line has an object: rename the field with a filter, or map it as an object",
    ),
    (
        "Can't get text on a START_OBJECT",
        "the index has a text where this line has an object: fields: plain if it is one of ours, else rename the field \
         with a filter",
    ),
    (
        "Limit of total fields",
        "lines have too many different fields: remove them with a filter, or set \
         index.mapping.total_fields.ignore_dynamic_beyond_limit or a flattened field in the index's template",
    ),
    ("immense term", "the field is longer than a keyword may be: map it as text, or with ignore_above"),
    ("depth of the field", "objects are nested too deeply: remove the field with a filter, or map it as flattened"),
    ("@timestamp", "see what the line says in @timestamp; a filter rename lets the output write its own"),
    ("failed to parse field", "lines disagree about the field's type: rename it with a filter, or map it as keyword"),
    (
        "cannot be changed from type",
        "lines disagree about the field's type: rename it with a filter, or map it as keyword",
    ),
];

/// The remedy for a record that the platform refuses with this reason, if one is known.
pub fn remedy(why: &str) -> Option<&'static str> {
    REMEDIES.iter().find(|(sign, _)| why.contains(sign)).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::remedy;

    #[test]
    fn what_elasticsearch_and_opensearch_say_of_a_mapping_has_its_remedy() {
        for (why, part) in [
            (
                "document_parsing_exception: [1:9] object mapping for [host] tried to parse field [host] as object, but found a concrete value",
                "fields: ecs",
            ),
            (
                "mapper_parsing_exception: failed to parse field [host] of type [text] in document with id 'x'. Preview of field's value: '{name=h}' (Can't get text on a START_OBJECT at 1:9)",
                "fields: plain",
            ),
            (
                "illegal_argument_exception: Limit of total fields [1000] has been exceeded while adding new fields [1]",
                "total_fields",
            ),
            (
                "illegal_argument_exception: Document contains at least one immense term in field=\"m\" (whose UTF8 encoding is longer than the max length 32766)",
                "ignore_above",
            ),
            (
                "mapper_parsing_exception: failed to parse field [n] of type [long] in document with id 'x' (For input string: \"a\")",
                "disagree",
            ),
        ] {
            assert!(remedy(why).is_some_and(|remedy| remedy.contains(part)), "{why}: {:?}", remedy(why));
        }
        assert_eq!(remedy("status 400"), None);
    }
}
