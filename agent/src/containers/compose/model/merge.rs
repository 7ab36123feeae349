use super::fault::{Checked, Fault, one};
use super::path::{Path, Table};
use super::tree::{At, Map, Tree, Value};
use std::sync::LazyLock;

/// How a later file's value meets an earlier one's, where it is not the common rule: mappings key by key, lists one
/// after the other, anything else replaced.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Replace,
    /// `NAME=value` lists and mappings, made one list.
    Sequence,
    ExtraHosts,
    Build,
    DependsOn,
    /// Lists of names and mappings, made one mapping.
    Names,
    Logging,
    Ipam,
}

static RULES: LazyLock<Table<Rule>> = LazyLock::new(|| {
    Table::new(&[
        ("networks.*.ipam.config", Rule::Ipam),
        ("networks.*.labels", Rule::Sequence),
        ("volumes.*.labels", Rule::Sequence),
        ("services.*.annotations", Rule::Sequence),
        ("services.*.build", Rule::Build),
        ("services.*.build.args", Rule::Sequence),
        ("services.*.build.additional_contexts", Rule::Sequence),
        ("services.*.build.extra_hosts", Rule::ExtraHosts),
        ("services.*.build.labels", Rule::Sequence),
        ("services.*.command", Rule::Replace),
        ("services.*.depends_on", Rule::DependsOn),
        ("services.*.deploy.labels", Rule::Sequence),
        ("services.*.dns", Rule::Sequence),
        ("services.*.dns_opt", Rule::Sequence),
        ("services.*.dns_search", Rule::Sequence),
        ("services.*.entrypoint", Rule::Replace),
        ("services.*.env_file", Rule::Sequence),
        ("services.*.label_file", Rule::Sequence),
        ("services.*.environment", Rule::Sequence),
        ("services.*.extra_hosts", Rule::ExtraHosts),
        ("services.*.healthcheck.test", Rule::Replace),
        ("services.*.labels", Rule::Sequence),
        ("services.*.volumes.*.volume.labels", Rule::Sequence),
        ("services.*.logging", Rule::Logging),
        ("services.*.models", Rule::Names),
        ("services.*.networks", Rule::Names),
        ("services.*.sysctls", Rule::Sequence),
        ("services.*.tmpfs", Rule::Sequence),
        ("services.*.ulimits.*", Rule::Replace),
    ])
});

/// A model with a later one laid over it.
pub fn models(base: Map, over: Map) -> Checked<Map> {
    mappings(base, over, &mut Path::default())
}

/// A service with what extends it laid over it.
pub fn service(base: Map, over: Map) -> Checked<Map> {
    mappings(base, over, &mut Path::of("services.x"))
}

fn mappings(mut base: Map, over: Map, path: &mut Path) -> Checked<Map> {
    for (key, value) in over {
        let merged = match base.remove(&key) {
            None => value,
            Some(earlier) => path.within(&key, |path| values(earlier, value, path))?,
        };
        base.insert(key, merged);
    }
    Ok(base)
}

fn values(base: Tree, over: Tree, path: &mut Path) -> Checked<Tree> {
    if let Some(rule) = RULES.find(path) {
        return by_rule(rule, base, over, path);
    }
    if over.is_null() {
        return Ok(base);
    }
    let at = over.at;
    match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => Ok(Tree::new(at, Value::Map(mappings(base, over, path)?))),
        (Value::List(base), Value::List(over)) => {
            Ok(Tree::new(at, Value::List(base.into_iter().chain(over).collect())))
        }
        (base @ (Value::Map(_) | Value::List(_)), over) => {
            let (base, over) = (Tree::new(at, base), Tree::new(at, over));
            let message = format!("this is {}, and an earlier file has {} here", over.kind(), base.kind());
            one(Fault::new(at, path, message))
        }
        (_, over) => Ok(Tree::new(at, over)),
    }
}

fn by_rule(rule: Rule, base: Tree, over: Tree, path: &mut Path) -> Checked<Tree> {
    let at = if over.is_null() { base.at } else { over.at };
    let value = match rule {
        Rule::Replace => return Ok(over),
        Rule::Sequence => Value::List(sequence(base).into_iter().chain(sequence(over)).collect()),
        Rule::ExtraHosts => {
            let mut hosts = sequence(base);
            let new: Vec<Tree> = sequence(over).into_iter().filter(|host| !hosts.contains(host)).collect();
            hosts.extend(new);
            Value::List(hosts)
        }
        Rule::Build => Value::Map(mappings(build(base), build(over), path)?),
        Rule::DependsOn => Value::Map(mappings(names(base, started), names(over, started), path)?),
        Rule::Names => Value::Map(mappings(names(base, |_| Value::Null), names(over, |_| Value::Null), path)?),
        Rule::Logging => match (base.value, over.value) {
            (Value::Map(base), Value::Map(over)) => Value::Map(logging(base, over, path)?),
            _ => return one(Fault::new(at, path, "expected a mapping")),
        },
        Rule::Ipam => match (base.value, over.value) {
            (Value::List(base), Value::List(over)) => Value::List(ipam(&base, &over, path)?),
            _ => return one(Fault::new(at, path, "expected a list")),
        },
    };
    Ok(Tree::new(at, value))
}

/// Options of one driver make no sense with another.
fn logging(base: Map, over: Map, path: &mut Path) -> Checked<Map> {
    match (base.get("driver"), over.get("driver")) {
        (Some(earlier), Some(later)) if earlier != later => Ok(over),
        _ => mappings(base, over, path),
    }
}

/// The condition of a dependency in the short form.
pub fn started(at: At) -> Value {
    Tree::map(at, [("condition", Value::Text("service_started".into())), ("required", Value::Bool(true))]).value
}

fn build(tree: Tree) -> Map {
    let at = tree.at;
    match tree.value {
        Value::Map(map) => map,
        Value::Text(context) => Map::from([("context".to_owned(), Tree::text(at, context))]),
        _ => Map::new(),
    }
}

fn names(tree: Tree, value: impl Fn(At) -> Value) -> Map {
    match tree.value {
        Value::Map(map) => map,
        Value::List(items) => items
            .into_iter()
            .filter_map(|item| Some((item.as_text()?.to_owned(), Tree::new(item.at, value(item.at)))))
            .collect(),
        _ => Map::new(),
    }
}

/// A mapping as a list of `NAME=value`, a text as a list of one.
fn sequence(tree: Tree) -> Vec<Tree> {
    match tree.value {
        Value::List(items) => items,
        Value::Text(text) => vec![Tree::text(tree.at, text)],
        Value::Map(map) => map.into_iter().flat_map(|(key, member)| pairs(&key, &member)).collect(),
        _ => Vec::new(),
    }
}

fn pairs(key: &str, member: &Tree) -> Vec<Tree> {
    let pair = |value: &Tree| Tree::text(value.at, format!("{key}={}", value.printed().unwrap_or_default()));
    match &member.value {
        Value::Null => vec![Tree::text(member.at, key)],
        Value::List(items) => items.iter().map(pair).collect(),
        _ => vec![pair(member)],
    }
}

/// Address pools are the same where their subnets are.
fn ipam(base: &[Tree], over: &[Tree], path: &mut Path) -> Checked<Vec<Tree>> {
    let mut pools: Vec<Tree> = Vec::new();
    for earlier in base {
        for later in over {
            let known =
                |pools: &[Tree], pool: &Tree| pools.iter().position(|other| other.get("subnet") == pool.get("subnet"));
            if later.get("subnet") != earlier.get("subnet") && known(&pools, later).is_none() {
                pools.push(later.clone());
                continue;
            }
            let (Some(right), Some(left)) = (earlier.as_map(), later.as_map()) else {
                return one(Fault::new(later.at, path, "expected a mapping"));
            };
            let merged = Tree::new(later.at, Value::Map(mappings(right.clone(), left.clone(), path)?));
            match known(&pools, &merged) {
                Some(index) => pools[index] = merged,
                None => pools.push(merged),
            }
        }
    }
    Ok(pools)
}
