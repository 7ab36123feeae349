use hostwright_core::yaml::Place;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, Rest, Value, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior};
use minijinja_contrib::pycompat::unknown_method_callback;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What stands in the text for a variable that nobody has set, as cloud-init writes it.
const MISSING: &str = "CI_MISSING_JINJA_VAR/";
/// Instructions of a template; a loop over a million things ends here.
const FUEL: u64 = 5_000_000;
/// No template that a person wrote yields more.
const MAX_BYTES: usize = 16 << 20;

/// A rendered template.
#[derive(Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Without the template's first line.
    pub text: String,
    /// Variables that nobody has set, and where they are named first.
    pub missing: Vec<(Place, String)>,
}

/// Why a template cannot be rendered.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where in its text.
    pub place: Place,
    /// Why, as a sentence.
    pub why: String,
}

/// Renders a text that begins with `## template: jinja`, with what is known of the instance.
///
/// # Errors
/// It is no template, or uses what is not there in a way that leaves nothing to write.
pub fn render(text: &str, instance_data: &serde_json::Value) -> Result<Rendered, Refused> {
    let template = text.trim_start();
    let original = template.split_once('\n').map_or("", |(_, body)| body);
    let lines_before = text[..text.len() - template.len()].matches('\n').count() + 1;
    let body = &keeping_breaks_of_raw(original);
    let refused = |error: &Error| Refused { place: place_of(error, body, lines_before), why: sentence(error) };
    let environment = environment().map_err(|error| refused(&error))?;
    let mut variables = known(instance_data);
    variables.insert("RAND_SEED".to_owned(), Value::from(seed(instance_data)));
    let root = Value::from_object(Root(variables));
    let mut rendered = environment.render_str(body, root).map_err(|error| refused(&error))?;
    if rendered.len() > MAX_BYTES {
        let why = format!("the template yields more than {} MiB", MAX_BYTES >> 20);
        return Err(Refused { place: Place { line: lines_before, column: 1 }, why });
    }
    if body.ends_with('\n') {
        rendered.push('\n');
    }
    let missing = rendered.match_indices(MISSING).map(|(at, _)| {
        let rest = &rendered[at + MISSING.len()..];
        let name: String = rest.chars().take_while(|c| is_of_a_name(*c)).collect();
        (named_at(original, &name, lines_before), name)
    });
    Ok(Rendered { missing: missing.collect(), text: rendered })
}

/// Jinja takes the line break off behind every block but `{% raw %}`.
fn keeping_breaks_of_raw(body: &str) -> String {
    let mut pieces = body.split("{%");
    let mut kept = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (tag, rest) = piece.split_once("%}").unwrap_or((piece, ""));
        kept.push_str("{%");
        if tag.trim_start_matches(['-', '+']).trim() == "raw" && rest.starts_with('\n') {
            kept.push_str(&format!("{tag}+%}}{rest}"));
        } else {
            kept.push_str(piece);
        }
    }
    kept
}

/// Where in the file what the error is about begins.
fn place_of(error: &Error, body: &str, lines_before: usize) -> Place {
    let line = error.line().unwrap_or(1);
    let start = error.range().map_or(0, |range| range.start).min(body.len());
    let before = body.get(..start).unwrap_or_default();
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    // Of some errors only the line is known.
    let is_in_that_line = before.matches('\n').count() + 1 == line;
    Place { line: lines_before + line, column: if is_in_that_line { column } else { 1 } }
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_alphanumeric() || "_-".contains(letter)
}

/// Where a name stands first as a whole.
fn named_at(body: &str, name: &str, lines_before: usize) -> Place {
    for (number, line) in body.lines().enumerate() {
        let is_whole = |at: &usize| {
            let before = line[..*at].chars().next_back();
            let behind = line[at + name.len()..].chars().next();
            !before.is_some_and(is_of_a_name) && !behind.is_some_and(|c| c.is_alphanumeric() || c == '_')
        };
        if let Some(at) = line.match_indices(name).map(|(at, _)| at).find(is_whole) {
            return Place { line: lines_before + number + 1, column: line[..at].chars().count() + 1 };
        }
    }
    Place { line: lines_before, column: 1 }
}

fn sentence(error: &Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()))
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    minijinja_contrib::add_to_environment(&mut environment);
    environment.add_filter("random", |state: &mut State<'_, '_>, value: &Value| {
        // `range(60)` is no list yet.
        let list = match value.kind() {
            ValueKind::Iterable => value.try_iter()?.collect(),
            _ => value.clone(),
        };
        minijinja_contrib::filters::random(state, &list)
    });
    environment.set_unknown_method_callback(|state, value, method, args| {
        let missing = |error: &Error| error.kind() == ErrorKind::UnknownMethod;
        match unknown_method_callback(state, value, method, args) {
            Err(error) if missing(&error) => method_of_text(value, method, args).unwrap_or(Err(error)),
            done => done,
        }
    });
    // What comes here undefined is `{{ a if b }}` where b is false: nothing. Of all else the library has told already.
    environment.set_formatter(|out, _, value| match value.is_undefined() {
        true => Ok(()),
        false => write!(out, "{}", Python { value, is_nested: false }).map_err(Error::from),
    });
    environment.add_filter("indent", |text: &str, given: Rest<Value>, named: Kwargs| indented(text, &given, &named));
    environment.add_filter("urlencode", for_an_address);
    environment.add_test("defined", |value: &Value| !is_missing(value));
    environment.add_test("undefined", |value: &Value| is_missing(value));
    for name in ["default", "d"] {
        environment.add_filter(name, |value: Value, other: Option<Value>, falsy: Option<bool>| {
            let is_replaced = is_missing(&value) || falsy == Some(true) && !value.is_true();
            if is_replaced { other.unwrap_or_else(|| Value::from("")) } else { value }
        });
    }
    Ok(environment)
}

/// What the language has by these names, where no variable has the name.
const FUNCTIONS: [&str; 12] = [
    "range",
    "dict",
    "namespace",
    "debug",
    "loop",
    "self",
    "super",
    "caller",
    "cycler",
    "joiner",
    "lipsum",
    "randrange",
];

/// Jinja's own, which keeps the line break at the end.
fn indented(text: &str, given: &[Value], named: &Kwargs) -> Result<String, Error> {
    let (width, first, blank) = from_args::<(Option<usize>, Option<bool>, Option<bool>)>(given)?;
    let flag =
        |given: Option<bool>, name: &str| given.map_or_else(|| named.get::<Option<bool>>(name), |is| Ok(Some(is)));
    let (first, blank) = (flag(first, "first")?.unwrap_or(false), flag(blank, "blank")?.unwrap_or(false));
    let width = width.map_or_else(|| named.get::<Option<usize>>("width"), |width| Ok(Some(width)))?.unwrap_or(4);
    named.assert_all_used()?;
    let blanks = " ".repeat(width.min(1000));
    let mut done = String::new();
    for (number, line) in text.split('\n').enumerate() {
        let is_indented = if number == 0 { first } else { blank || !line.is_empty() };
        done.push_str(if number == 0 { "" } else { "\n" });
        done.push_str(if is_indented { &blanks } else { "" });
        done.push_str(line);
    }
    Ok(done)
}

/// Everything but letters, digits and `-._~/` as `%XX`.
fn for_an_address(value: &Value) -> Result<String, Error> {
    if matches!(value.kind(), ValueKind::Map | ValueKind::Seq) {
        return Err(Error::new(ErrorKind::InvalidOperation, "urlencode takes a text here"));
    }
    let byte = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    Ok(Python { value, is_nested: false }.to_string().bytes().map(byte).collect())
}

/// Methods of Python's strings that the library lacks.
fn method_of_text(value: &Value, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let text = value.as_str()?;
    let one = || from_args::<(&str,)>(args).map(|(word,)| word);
    let done = match method {
        "rsplit" => split_from_the_end(text, args),
        "zfill" => from_args(args).map(|(width,): (usize,)| {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            let width = width.min(1000).saturating_sub(sign.len());
            Value::from(format!("{sign}{digits:0>width$}"))
        }),
        "rjust" => justified(text, args, |fill, text| fill + text),
        "ljust" => justified(text, args, |fill, text| format!("{text}{fill}")),
        "removeprefix" => one().map(|prefix| Value::from(text.strip_prefix(prefix).unwrap_or(text))),
        "removesuffix" => one().map(|suffix| Value::from(text.strip_suffix(suffix).unwrap_or(text))),
        _ => return None,
    };
    Some(done)
}

fn justified(text: &str, args: &[Value], join: fn(String, &str) -> String) -> Result<Value, Error> {
    let (width, fill): (usize, Option<char>) = from_args(args)?;
    let missing = width.min(1000).saturating_sub(text.chars().count());
    Ok(Value::from(join(fill.unwrap_or(' ').to_string().repeat(missing), text)))
}

fn split_from_the_end(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, most): (Option<&str>, Option<i64>) = from_args(args)?;
    let most = most.and_then(|most| usize::try_from(most).ok()).map_or(usize::MAX, |most| most.saturating_add(1));
    let mut pieces: Vec<String> = match separator {
        Some("") => return Err(Error::new(ErrorKind::InvalidOperation, "the separator is empty")),
        Some(separator) => text.rsplitn(most, separator).map(str::to_owned).collect(),
        None => text.split_whitespace().rev().map(str::to_owned).collect(),
    };
    pieces.reverse();
    Ok(Value::from(pieces))
}

/// What `random` begins with: the same for an instance at each of its boots, so that a boot that goes on after a cut
/// renders what the first one did, and no step takes the text for changed.
fn seed(instance_data: &serde_json::Value) -> u64 {
    let id = ["/v1/instance_id", "/v1/instance-id"].iter().find_map(|path| instance_data.pointer(path)?.as_str());
    let digest = Sha256::digest(id.unwrap_or_default());
    // Of nought the generator makes nought for ever.
    digest.iter().take(8).fold(0_u64, |seed, byte| seed << 8 | u64::from(*byte)).max(1)
}

/// The variables; a name that is not among them stands for itself in the text.
#[derive(Debug)]
struct Root(BTreeMap<String, Value>);

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        // Functions of the language are found after the variables.
        let is_function = FUNCTIONS.contains(&key);
        self.0.get(key).cloned().or_else(|| (!is_function).then(|| missing(key)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|key| Value::from(key.as_str())).collect())
    }
}

/// A mapping of the variables.
#[derive(Debug)]
struct Known(BTreeMap<String, Value>);

impl Object for Known {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        // Methods of Python's mappings are found after the keys.
        let is_method = ["items", "keys", "values", "get"].contains(&key);
        self.0.get(key).cloned().or_else(|| (!is_method).then(|| missing(key)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|key| Value::from(key.as_str())).collect())
    }
}

/// What nobody has set: it writes its own name, is false, and has nothing in it.
#[derive(Debug)]
struct Missing(String);

impl Object for Missing {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Empty
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MISSING}{}", self.0)
    }
}

fn missing(name: &str) -> Value {
    Value::from_object(Missing(name.to_owned()))
}

fn is_missing(value: &Value) -> bool {
    value.is_undefined() || value.downcast_object_ref::<Missing>().is_some()
}

/// The instance data with cloud-init's aliases: `meta_data` for `meta-data`, and all of `v1` at the top as well.
fn known(data: &serde_json::Value) -> BTreeMap<String, Value> {
    let mut known = BTreeMap::new();
    for (key, value) in data.as_object().into_iter().flatten() {
        if is_version(key) {
            known.extend(self::known(value));
        }
        let value = value_of(value);
        let alias: String = key.chars().map(|c| if "-./+*%~[](){}=<>:|,;".contains(c) { '_' } else { c }).collect();
        if alias != *key {
            known.insert(alias, value.clone());
        }
        known.insert(key.clone(), value);
    }
    known
}

fn is_version(key: &str) -> bool {
    key.strip_prefix('v').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn value_of(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Object(_) => Value::from_object(Known(known(value))),
        serde_json::Value::Array(items) => Value::from(items.iter().map(value_of).collect::<Vec<_>>()),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Bool(is) => Value::from(*is),
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Number(number) => {
            number.as_i64().map(Value::from).or_else(|| number.as_f64().map(Value::from)).unwrap_or_default()
        }
    }
}

/// A value as Python writes it.
struct Python<'a> {
    value: &'a Value,
    is_nested: bool,
}

impl fmt::Display for Python<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, is_nested } = *self;
        let nested = |value: &Value| Python { value, is_nested: true }.to_string();
        match value.kind() {
            _ if value.downcast_object_ref::<Missing>().is_some() => write!(f, "{value}"),
            ValueKind::None => f.write_str("None"),
            ValueKind::Bool => f.write_str(if value.is_true() { "True" } else { "False" }),
            ValueKind::String if is_nested => {
                let text = value.as_str().unwrap_or_default();
                let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
                let escaped = text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t");
                let escaped = if quote == '\'' { escaped.replace('\'', "\\'") } else { escaped };
                write!(f, "{quote}{escaped}{quote}")
            }
            ValueKind::Seq => {
                let items: Vec<String> = value.try_iter().into_iter().flatten().map(|item| nested(&item)).collect();
                write!(f, "[{}]", items.join(", "))
            }
            ValueKind::Map => {
                let keys = value.try_iter().into_iter().flatten();
                let pairs = keys.map(|key| {
                    let inner = value.get_item(&key).unwrap_or_default();
                    format!("{}: {}", nested(&key), nested(&inner))
                });
                write!(f, "{{{}}}", pairs.collect::<Vec<_>>().join(", "))
            }
            _ => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Refused, Rendered, render};
    use serde_json::json;

    fn text(template: &str) -> Result<String, String> {
        rendered(template).map(|rendered| rendered.text).map_err(|error| format!("{} {}", error.place, error.why))
    }

    fn rendered(template: &str) -> Result<Rendered, Refused> {
        let data = json!({
            "v1": {"local-hostname": "web-1", "local_hostname": "web-1", "region": null},
            "ds": {"meta_data": {"instance-id": "i-1", "tags": ["a", "b"], "up": true}}
        });
        render(&format!("## template: jinja\n{template}"), &data)
    }

    #[test]
    fn variables_are_found_as_in_cloud_init() {
        for (template, expected) in [
            ("#cloud-config\nhostname: {{ v1.local_hostname }}\n", "#cloud-config\nhostname: web-1\n"),
            (
                "{{ local_hostname }} {{ ds.meta_data.instance_id }} {{ ds['meta_data']['instance-id'] }}",
                "web-1 i-1 i-1",
            ),
            ("{{ ds.meta_data.nope }} {{ nope }}", "CI_MISSING_JINJA_VAR/nope CI_MISSING_JINJA_VAR/nope"),
            ("{% if nope %}a{% else %}b{% endif %}{{ nope | default('c') }}{% if v1 is defined %}d{% endif %}", "bcd"),
            ("{% for tag in ds.meta_data.tags %}\n- {{ tag }}\n{% endfor %}\n", "- a\n- b\n\n"),
            ("{{ ds.meta_data.tags }} {{ ds.meta_data.up }} {{ v1.region }}", "['a', 'b'] True None"),
            ("{{ local_hostname.split('-')[0] }}{{ local_hostname.upper() }}{{ range(2) | list }}", "webWEB-1[0, 1]"),
            ("{% for k, v in v1.items() %}{{ k }},{% endfor %}", "local-hostname,local_hostname,region,"),
        ] {
            assert_eq!(text(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn methods_of_pythons_strings_are_there() {
        for (template, expected) in [
            (
                "{{ 'a.b.c'.rsplit('.', 1)[0] }} {{ 'a b  c'.rsplit()|length }} {{ 'a.b'.rsplit('.') }}",
                "a.b 3 ['a', 'b']",
            ),
            ("{{ '7'.zfill(3) }} {{ '-7'.zfill(4) }} {{ 'abc'.zfill(2) }}", "007 -007 abc"),
            ("{{ '7'.rjust(3, '0') }}{{ 'a'.ljust(3) }}{{ 'abcd'.rjust(2) }}", "007a  abcd"),
            (
                "{{ 'a\\nb\\n\\n'|indent(2) }}|{{ 'a\\n\\nb'|indent(width=1, first=true, blank=true) }}",
                "a\n  b\n\n| a\n \n b",
            ),
            ("{{ 'a b/é&'|urlencode }}{{ 7|urlencode }}", "a%20b/%C3%A9%267"),
            ("{{ 'x' if up }}{{ 'y' if v1.region == 'z' }}{{ 'w' if true }}", "w"),
            ("{{ 'vm-1'.removeprefix('vm-') }} {{ 'a.tf'.removesuffix('.tf') }}", "1 a"),
        ] {
            assert_eq!(text(template).as_deref(), Ok(expected), "{template}");
        }
        assert!(text("{{ {'a': 'b c'}|urlencode }}").is_err());
        assert!(text("{{ 'a'.rsplit('') }}").is_err() && text("{{ 'a'.nope() }}").is_err());
    }

    #[test]
    fn chance_is_the_same_at_each_boot_of_an_instance_and_another_for_others() {
        let of = |id: &str| {
            let data = json!({"v1": {"instance_id": id}});
            let rendered = render("## template: jinja\n{{ range(9999)|random }} {{ range(9999)|random }}", &data);
            rendered.expect("rendered").text
        };
        assert_eq!(of("i-1"), of("i-1"));
        assert_ne!(of("i-1"), of("i-2"));
        let text = of("i-1");
        let (one, other) = text.split_once(' ').expect("two numbers");
        assert_ne!(one, other);
    }

    #[test]
    fn templates_that_cannot_be_rendered_are_told_with_their_place() {
        for (template, place) in [
            ("a\n  {{ x.y.z }}", "3:7 "),
            ("a\nb: {% if %}", "3:10 "),
            ("{{ v1.a-b }}", "2:4 "),
            ("{% for a in b %}\nx\n", "3:1 "),
            ("a: {{ b c }}\n", "2:9 "),
            ("{% endfor %}", "2:4 "),
        ] {
            assert!(text(template).expect_err("refused").starts_with(place), "{template}: {:?}", text(template));
        }
        let missing = rendered("a: b\nc: '{{ ds.meta_data.a_b }}', {{ b }}\n").expect("rendered").missing;
        let told: Vec<_> = missing.iter().map(|(place, name)| format!("{place} {name}")).collect();
        assert_eq!(told, ["3:21 a_b", "2:4 b"]);
        assert!(text("{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}").is_err());
    }
}
