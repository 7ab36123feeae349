use super::fault::{Checked, Fault};
use super::path::Path;
use super::tree::{Map, Tree};
use super::validate::{items, members};
use hostwright_core::config::section::did_you_mean;
use std::collections::{BTreeMap, BTreeSet};

/// What only shows in the whole: references, and attributes that contradict each other. Every fault is told.
pub fn check(resources: &Map, disabled: &[String]) -> Checked<()> {
    let mut checker = Checker { resources, disabled, service: String::new(), faults: Vec::new() };
    for (name, service) in members(resources, "services") {
        checker.service.clone_from(name);
        checker.service(service);
    }
    for (name, secret) in members(resources, "secrets") {
        let has_source = ["file", "environment"].iter().any(|source| secret.get(source).is_some());
        if secret.get("external").is_none() && !has_source {
            let keys = Path::of(&format!("secrets.{name}"));
            checker.faults.push(Fault::new(secret.at, &keys, "needs one of file, environment"));
        }
    }
    checker.container_names();
    checker.circles();
    if checker.faults.is_empty() { Ok(()) } else { Err(checker.faults) }
}

struct Checker<'a> {
    resources: &'a Map,
    disabled: &'a [String],
    service: String,
    faults: Vec<Fault>,
}

impl Checker<'_> {
    fn fault(&mut self, tree: &Tree, attribute: &str, message: impl Into<String>) {
        let path = match attribute {
            "" => format!("services.{}", self.service),
            _ => format!("services.{}.{attribute}", self.service),
        };
        self.faults.push(Fault::new(tree.at, &Path::of(&path), message));
    }

    fn service(&mut self, service: &Tree) {
        if ["image", "build", "provider"].iter().all(|key| service.get(key).is_none()) {
            self.fault(service, "", "the key \"image\" is missing; it takes an image's name");
        }
        self.build(service);
        self.networks(service);
        self.dependencies(service);
        self.references(service);
        self.limits(service);
        self.mounts(service);
        if let Some(test) = service.get("healthcheck").and_then(|check| check.get("test"))
            && !matches!(items(Some(test))[0].as_text(), Some("CMD" | "CMD-SHELL" | "NONE"))
        {
            self.fault(
                test,
                "healthcheck.test",
                "expected a command, or a list that begins with CMD, CMD-SHELL or NONE",
            );
        }
        for watch in items(service.get("develop").and_then(|develop| develop.get("watch"))) {
            if watch.get("target").is_none() && !matches!(watch.get_text("action"), Some("rebuild" | "restart")) {
                self.fault(
                    watch,
                    "develop.watch",
                    "the key \"target\" is missing; only rebuild and restart go without",
                );
            }
        }
    }

    fn build(&mut self, service: &Tree) {
        let Some(build) = service.get("build") else { return };
        if build.get("dockerfile").is_some() && build.get("dockerfile_inline").is_some() {
            self.fault(build, "build", "dockerfile and dockerfile_inline exclude each other");
        }
        let platforms = items(build.get("platforms"));
        if let Some(platform) = service.get("platform")
            && !platforms.is_empty()
            && !platforms.contains(platform)
        {
            self.fault(platform, "platform", "is not among build.platforms");
        }
        let contexts = build.get("additional_contexts").and_then(Tree::as_map).into_iter().flatten();
        for (_, context) in contexts {
            let Some(other) = context.as_text().and_then(|text| text.strip_prefix("service:")) else { continue };
            let target = self.resources.get("services").and_then(|services| services.get(other));
            if target.is_none_or(|target| target.get("build").is_none()) {
                self.fault(
                    context,
                    "build.additional_contexts",
                    format!("there is no service {other:?} that is built"),
                );
            }
        }
        self.named(build, "secrets", "secrets");
    }

    fn networks(&mut self, service: &Tree) {
        let networks = service.get("networks").and_then(Tree::as_map);
        if let (Some(mode), Some(_)) = (service.get("network_mode"), networks) {
            self.fault(mode, "network_mode", "stands beside networks; leave one of them out");
        }
        for (key, network) in networks.into_iter().flatten() {
            self.known("networks", "networks", key, network);
        }
        if let Some(mode) = service.get("network_mode")
            && let Some(other) = mode.as_text().and_then(|mode| mode.strip_prefix("service:"))
        {
            self.known("services", "network_mode", other, mode);
        }
    }

    /// Says so if the file has no resource of that key.
    fn known(&mut self, kind: &'static str, attribute: &str, key: &str, tree: &Tree) {
        let all = self.resources.get(kind).and_then(Tree::as_map);
        if all.is_some_and(|all| all.contains_key(key)) {
            return;
        }
        let hint = did_you_mean(key, all.into_iter().flatten().map(|(name, _)| name.as_str()));
        let message = format!("there is no {} {key:?} under the top-level {kind}{hint}", kind.trim_end_matches('s'));
        self.fault(tree, attribute, message);
    }

    fn named(&mut self, holder: &Tree, attribute: &'static str, kind: &'static str) {
        for item in items(holder.get(attribute)) {
            let source = item.get("source").and_then(Tree::printed).unwrap_or_default();
            self.known(kind, attribute, &source, item);
        }
    }

    fn dependencies(&mut self, service: &Tree) {
        for (other, dependency) in service.get("depends_on").and_then(Tree::as_map).into_iter().flatten() {
            let optional = dependency.get("required").is_some_and(|required| !required.is_true());
            if self.disabled.contains(other) {
                if !optional {
                    let message = format!("depends on {other:?}, which none of the active profiles names");
                    self.fault(dependency, "depends_on", message);
                }
            } else {
                self.known("services", "depends_on", other, dependency);
            }
        }
    }

    fn references(&mut self, service: &Tree) {
        for mount in items(service.get("volumes")) {
            if mount.get_text("type") == Some("volume")
                && let Some(source) = mount.get_text("source")
            {
                self.known("volumes", "volumes", source, mount);
            }
        }
        self.named(service, "configs", "configs");
        self.named(service, "secrets", "secrets");
        for (key, model) in service.get("models").and_then(Tree::as_map).into_iter().flatten() {
            self.known("models", "models", key, model);
        }
    }

    fn mounts(&mut self, service: &Tree) {
        let tmpfs = items(service.get("tmpfs")).iter().filter_map(|item| {
            let text = item.as_text()?;
            Some((item, "tmpfs", text.split_once(':').map_or(text, |(target, _)| target)))
        });
        let volumes = items(service.get("volumes")).iter();
        let volumes = volumes.map(|item| (item, "volumes", item.get_text("target").unwrap_or_default()));
        let mut known: BTreeSet<&str> = BTreeSet::new();
        for (item, attribute, target) in tmpfs.chain(volumes) {
            if !known.insert(target) {
                self.fault(item, attribute, format!("two things are mounted at {target:?}; leave one of them out"));
            }
        }
    }

    fn limits(&mut self, service: &Tree) {
        let Some(deploy) = service.get("deploy") else {
            return self.scale(service, service.get("scale"), "scale");
        };
        let replicas = deploy.get("replicas");
        if let (Some(scale), Some(replicas)) = (service.get("scale"), replicas)
            && scale != replicas
        {
            self.fault(scale, "scale", "differs from deploy.replicas; leave one of them out");
        }
        self.scale(service, service.get("scale").or(replicas), "deploy.replicas");
        let Some(resources) = deploy.get("resources") else { return };
        for (old, side, new) in [
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("mem_reservation", "reservations", "memory"),
            ("pids_limit", "limits", "pids"),
        ] {
            if let (Some(value), Some(side_tree)) = (service.get(old), resources.get(side))
                && side_tree.get(new) != Some(value)
            {
                self.fault(value, old, format!("differs from deploy.resources.{side}.{new}; leave one of them out"));
            }
        }
    }

    fn scale(&mut self, service: &Tree, scale: Option<&Tree>, attribute: &str) {
        let Some((scale, number)) = scale.and_then(|scale| Some((scale, scale.printed()?.parse::<i64>().ok()?))) else {
            return;
        };
        if number < 0 {
            self.fault(scale, attribute, "must be 0 or more");
        }
        if number > 1 && service.get("container_name").is_some() {
            self.fault(scale, attribute, "more than one container cannot have the same container_name");
        }
    }

    fn container_names(&mut self) {
        let mut known: BTreeMap<&str, &str> = BTreeMap::new();
        for (service, tree) in members(self.resources, "services") {
            let Some((name, at)) = tree.get("container_name").and_then(|name| Some((name.as_text()?, name.at))) else {
                continue;
            };
            if let Some(other) = known.insert(name, service) {
                let keys = Path::of(&format!("services.{service}.container_name"));
                let message = format!("{other} and {service} have the same container_name; give each its own");
                self.faults.push(Fault::new(at, &keys, message));
            }
        }
    }

    fn circles(&mut self) {
        let depends = |service: &Tree| -> Vec<String> {
            let all = service.get("depends_on").and_then(Tree::as_map).into_iter().flatten();
            all.map(|(other, _)| other.clone()).collect()
        };
        let graph: BTreeMap<&str, Vec<String>> =
            members(self.resources, "services").map(|(name, service)| (name.as_str(), depends(service))).collect();
        if let Some(chain) = circle(&graph) {
            let services = &self.resources["services"];
            let at = services.get(&chain[0]).map_or(services.at, |service| service.at);
            let message = format!("depend on each other in a circle: {}", in_short(&chain));
            self.faults.push(Fault::new(at, &Path::of("services"), message));
        }
    }
}

/// A long chain by its ends.
fn in_short(chain: &[String]) -> String {
    const MOST: usize = 20;
    match chain {
        [first @ .., last] if first.len() > MOST => {
            format!("{} → … {} more … → {last}", first[..MOST].join(" → "), first.len() - MOST)
        }
        all => all.join(" → "),
    }
}

/// The first circle, found without recursion: a chain may be as long as the file.
fn circle(graph: &BTreeMap<&str, Vec<String>>) -> Option<Vec<String>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in graph.keys() {
        let mut chain: Vec<(&str, usize)> = vec![(start, 0)];
        let mut open: BTreeSet<&str> = BTreeSet::from([*start]);
        while let Some((name, next)) = chain.last_mut() {
            let name = *name;
            let Some(other) = graph.get(name).and_then(|others| others.get(*next)) else {
                done.insert(name);
                open.remove(name);
                chain.pop();
                continue;
            };
            *next += 1;
            if open.contains(other.as_str())
                && let Some(index) = chain.iter().position(|(name, _)| name == other)
            {
                let names = chain[index..].iter().map(|(name, _)| (*name).to_owned());
                return Some(names.chain([other.clone()]).collect());
            }
            if !done.contains(other.as_str()) && graph.contains_key(other.as_str()) {
                open.insert(other);
                chain.push((other, 0));
            }
        }
    }
    None
}

/// Leaves out what no service uses.
pub fn drop_unused(resources: &mut Map) {
    let mut used: BTreeSet<(&'static str, String)> = BTreeSet::new();
    let mut sources = |holder: &Tree, kind: &'static str| {
        let sources = items(holder.get(kind)).iter().filter_map(|item| item.get("source")?.printed());
        used.extend(sources.map(|source| (kind, source)));
    };
    for (_, service) in members(resources, "services") {
        sources(service, "secrets");
        sources(service, "configs");
        if let Some(build) = service.get("build") {
            sources(build, "secrets");
        }
    }
    for (_, service) in members(resources, "services") {
        for kind in ["networks", "models"] {
            let named = service.get(kind).and_then(Tree::as_map).into_iter().flatten();
            used.extend(named.map(|(key, _)| (kind, key.clone())));
        }
        let volumes = items(service.get("volumes")).iter().filter(|mount| mount.get_text("type") == Some("volume"));
        used.extend(volumes.filter_map(|mount| Some(("volumes", mount.get_text("source")?.to_owned()))));
    }
    for kind in ["networks", "volumes", "secrets", "configs", "models"] {
        let Some(map) = resources.get_mut(kind).and_then(Tree::as_map_mut) else { continue };
        map.retain(|key, _| used.contains(&(kind, key.clone())));
        if map.is_empty() {
            resources.remove(kind);
        }
    }
}
