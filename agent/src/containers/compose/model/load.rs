use super::dotenv::{self, Format};
use super::extends::Extends;
use super::fault::{Checked, Fault, one};
use super::include::Include;
use super::interpolate::{Hidden, interpolate};
use super::path::Path as Keys;
use super::reset::Resets;
use super::session::{Base, Session, Settings};
use super::tree::{At, Map, Tree, Value, is_text};
use super::variables::Variables;
use super::{canonical, consistency, decode, environment, merge, normalize, paths, regular, schema, unicity, validate};
use hostwright_core::yaml;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// More files than any real project has; a file that includes another twice, which does so too, would read for ever.
const MAX_FILES: usize = 256;
/// Of one file, and of all of them.
const MAX_BYTES: u64 = 4 << 20;
/// What a model is made from.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Each is laid over those before it.
    pub files: Vec<PathBuf>,
    /// Relative paths begin here; the first file's folder unless given.
    pub folder: Option<PathBuf>,
    /// The project's name; else COMPOSE_PROJECT_NAME, the files' own, the folder's.
    pub name: Option<String>,
    /// Files with variables; `.env` beside the first file unless given.
    pub env_files: Vec<PathBuf>,
    /// Which services with profiles take part; those of COMPOSE_PROFILES unless given.
    pub profiles: Vec<String>,
}

/// A canonical model.
#[derive(Debug)]
pub struct Model {
    pub name: String,
    pub folder: PathBuf,
    /// Its services, networks, volumes, secrets, configs and models, those that are used.
    pub resources: Map,
    /// The operator's own `x-` keys.
    pub extensions: Map,
    /// What secrets and configs from the environment hold, which the model does not show: by kind and key.
    pub contents: BTreeMap<(&'static str, String), String>,
    /// What was written and the canonical form does not show.
    pub unshown: Map,
}

/// What came of loading.
#[derive(Debug)]
pub struct Loaded {
    /// Files with Compose documents, in the order in which faults count them.
    pub sources: Vec<PathBuf>,
    /// Every file that was read or looked for.
    pub watched: Vec<PathBuf>,
    /// What was odd but taken.
    pub notes: Vec<Fault>,
    /// Faults beside which the model could be made all the same.
    pub faults: Vec<Fault>,
    hidden: Vec<Hidden>,
    pub model: Checked<Model>,
}

impl Loaded {
    /// All that is wrong, or what was made of the model.
    pub fn finish<T>(self, make: impl FnOnce(Model) -> Checked<T>) -> Checked<T> {
        let Self { mut faults, hidden, model, .. } = self;
        match model.and_then(make) {
            Ok(made) if faults.is_empty() => return Ok(made),
            result => faults.extend(result.err().unwrap_or_default()),
        }
        // Messages show what the files say in place of what variables hold.
        faults.iter_mut().for_each(|fault| hidden.iter().for_each(|hidden| hidden.hide(fault)));
        Err(faults)
    }
}

/// Loads a model; `variables` are those of the process.
pub fn load(request: &Request, variables: Variables) -> Loaded {
    let mut session = Session::default();
    let model = session.load(request, variables);
    let Session { mut sources, watched, notes, faults, hidden, .. } = session;
    if sources.is_empty() {
        sources.extend(request.files.first().cloned());
    }
    Loaded { sources, watched, notes, faults, hidden, model }
}

impl Session {
    fn load(&mut self, request: &Request, mut variables: Variables) -> Checked<Model> {
        let start = At::start(0);
        let Some(first) = request.files.first() else { return one(Fault::bare(start, "no Compose file is given")) };
        let folder = request.folder.clone().unwrap_or_else(|| first.parent().unwrap_or(Path::new("/")).to_owned());
        self.sources.push(first.clone());
        self.read_env_files(request, first, &mut variables)?;
        self.sources.clear();
        let name = self.project_name(request, &folder, &variables)?;
        variables.set("COMPOSE_PROJECT_NAME", &name);
        let settings = Settings { files: &request.files, folder: &folder, variables: &variables, asked: start };
        let mut model = self.model(&settings, &[])?;
        if model.is_empty() {
            return one(Fault::bare(start, "the file is empty; the key \"services\" names what is to run"));
        }
        model.insert("name".into(), Tree::text(start, &name));
        normalize::normalize(&mut model, &variables);
        model.remove("name");
        let extensions = extensions(&mut model);
        let contents = std::mem::take(&mut self.contents);
        let unshown = unshown(&model);
        let mut resources = decode::decode(&mut model)?;
        let disabled = choose_profiles(&mut resources, request, &variables);
        self.faults.extend(consistency::check(&resources, &disabled).err().unwrap_or_default());
        scale(&mut resources);
        environment::read_files(self, &mut resources, &model, &variables)?;
        consistency::drop_unused(&mut resources);
        Ok(Model { name, folder, resources, extensions, contents, unshown })
    }

    fn read_env_files(&mut self, request: &Request, first: &Path, variables: &mut Variables) -> Checked<()> {
        let beside = first.with_file_name(".env");
        let files = match &request.env_files[..] {
            [] if beside.is_file() => vec![beside.clone()],
            files => files.to_vec(),
        };
        self.watch(beside);
        let mut found = BTreeMap::new();
        for file in files {
            dotenv::read(&file, variables, Format::Compose, &mut found)
                .map_err(|message| vec![Fault::bare(At::start(0), message)])?;
            self.watch(file);
        }
        variables.add(found);
        Ok(())
    }

    /// Compose's order: what is asked for, COMPOSE_PROJECT_NAME, the files' own `name`, the folder's.
    fn project_name(&mut self, request: &Request, folder: &Path, variables: &Variables) -> Checked<String> {
        let given =
            request.name.clone().or_else(|| variables.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()));
        if let Some(name) = given {
            return if normalized(&name) == name && !name.is_empty() {
                Ok(name)
            } else {
                let message = format!(
                    "{name:?} cannot be a project's name: use lower-case letters, digits, '_' and '-', a letter or digit first"
                );
                one(Fault::new(At::start(0), &Keys::of("name"), message))
            };
        }
        let mut written = None;
        for file in &request.files {
            let source = self.sources.len();
            let before = self.bytes;
            let documents = self.documents(file, At::start(source))?;
            let names = documents.iter().filter_map(|document| document.get("name"));
            written = names
                .filter_map(|name| name.text().filter(|text| !name.is_null() && !text.is_empty()).map(str::to_owned))
                .next_back()
                .or(written);
            if let [_] = &request.files[..] {
                self.parsed = Some((file.clone(), self.bytes - before, documents));
            }
        }
        (self.sources, self.bytes) = (Vec::new(), 0);
        let name = match written {
            Some(text) => {
                let filled = super::template::fill(&text, variables)
                    .map_err(|message| vec![Fault::new(At::start(0), &Keys::of("name"), message)])?;
                normalized(&filled.text)
            }
            None => folder.file_name().map(|name| normalized(&name.to_string_lossy())).unwrap_or_default(),
        };
        match name {
            name if name.is_empty() => one(Fault::new(
                At::start(0),
                &Keys::of("name"),
                "the project has no name; give it one of letters, digits, '_' and '-'",
            )),
            name => Ok(name),
        }
    }

    /// The canonical model of some files, without what only the whole project has.
    pub fn model(&mut self, settings: &Settings<'_>, chain: &[PathBuf]) -> Checked<Map> {
        let mut model = Map::new();
        for file in settings.files {
            model = self.file(file, settings, (model, chain))?;
        }
        canonical::set_defaults(&mut model);
        validate::validate(&model)?;
        paths::resolve(&mut model, settings.folder)?;
        // What is included knows variables that the whole project does not.
        normalize::look_up_lists(&mut model, settings.variables);
        self.contents.extend(environment::contents(&model, settings.variables));
        Ok(model)
    }

    fn file(&mut self, file: &Path, settings: &Settings<'_>, (mut model, chain): (Map, &[PathBuf])) -> Checked<Map> {
        let source = self.sources.len();
        let chain: Vec<PathBuf> = chain.iter().cloned().chain([file.to_owned()]).collect();
        for node in self.documents(file, settings.asked)? {
            let (mut document, resets) = self.document(node, source, settings.variables)?;
            let (folder, variables) = (settings.folder, settings.variables);
            Extends { file: (source, file), folder, variables }.apply(self, &mut document, &resets)?;
            resets.apply(&mut model);
            Include { folder, variables, chain: &chain }.apply(self, &mut document)?;
            model = merge::models(model, document)?;
            unicity::enforce(&mut model)?;
            // Beside unknown keys, what is known still counts.
            match schema::check(&model) {
                Err(faults) if faults.iter().all(Fault::is_unknown_key) => self.faults.extend(faults),
                checked => checked?,
            }
            if let Some(version) = model.remove("version") {
                self.note(Fault::new(version.at, &Keys::of("version"), "is obsolete and not used"));
            }
            canonicalise(&mut model)?;
        }
        Ok(model)
    }

    /// A file's services for those that extend them: nothing is checked, because only the whole must be right.
    pub fn base(&mut self, base: &Base<'_>) -> Checked<(Map, Resets)> {
        let source = self.sources.len();
        let (mut model, mut last) = (Map::new(), Resets::default());
        for node in self.documents(base.path, base.at)? {
            let (document, resets) = self.document(node, source, base.variables)?;
            resets.apply(&mut model);
            model = merge::models(model, document)?;
            unicity::enforce(&mut model)?;
            canonicalise(&mut model)?;
            last = resets;
        }
        Ok((model, last))
    }

    fn document(&mut self, mut node: yaml::Node, source: usize, variables: &Variables) -> Checked<(Map, Resets)> {
        let resets = Resets::take(&mut node);
        let at = At { file: source, place: node.place };
        let mut tree = Tree::of(&node, at);
        if tree.as_map().is_none() {
            return one(Fault::bare(
                at,
                format!("expected a mapping with the key \"services\", found {}", tree.kind()),
            ));
        }
        let (filled, notes, hidden) = interpolate(&mut tree, variables);
        // What is of no use to Compose may hold anything.
        self.notes.extend(notes.into_iter().filter(|note| !note.path.split('.').any(|key| key.starts_with("x-"))));
        self.hidden.push(hidden);
        filled?;
        let Value::Map(map) = tree.value else { return Ok((Map::new(), resets)) };
        Ok((map, resets))
    }

    fn documents(&mut self, file: &Path, asked: At) -> Checked<Vec<yaml::Node>> {
        let source = self.sources.len();
        self.watch(file.to_owned());
        let cannot = |why: String| vec![Fault::bare(asked, format!("cannot read {}: {why}", file.display()))];
        if source >= MAX_FILES {
            return Err(cannot(format!("more than {MAX_FILES} files are read already")));
        }
        let read = match self.parsed.take() {
            Some((path, length, nodes)) if path == file => {
                self.bytes += length;
                self.sources.push(file.to_owned());
                return Ok(nodes);
            }
            _ => regular::read(file, MAX_BYTES).map_err(|error| cannot(error.to_string()))?,
        };
        let text = String::from_utf8(read).map_err(|_| cannot("it is not text".into()))?;
        self.bytes += text.len() as u64;
        if self.bytes > MAX_BYTES {
            return Err(cannot(format!("with what was read already it is more than {} MiB", MAX_BYTES >> 20)));
        }
        self.sources.push(file.to_owned());
        if let Some(directive) =
            text.lines().take_while(|line| line.starts_with(['%', '#'])).find(|line| is_other(line))
        {
            return one(Fault::bare(At::start(source), format!("Compose reads YAML 1.1; leave {directive:?} out")));
        }
        yaml::load_stream(&text, is_text)
            .map_err(|error| vec![Fault::bare(At { file: source, place: error.place }, error.message)])
    }
}

/// Whether a directive asks for another version of YAML.
fn is_other(line: &str) -> bool {
    line.strip_prefix("%YAML").is_some_and(|version| version.trim() != "1.1")
}

fn canonicalise(model: &mut Map) -> Checked<()> {
    canonical::transform(model)?;
    canonical::omit_empty(model);
    unicity::enforce(model)
}

/// As Compose makes a project's name of any text.
fn normalized(text: &str) -> String {
    let fits = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(*c);
    text.to_lowercase().chars().filter(fits).collect::<String>().trim_start_matches(['_', '-']).to_owned()
}

fn extensions(model: &mut Map) -> Map {
    let (own, rest) = std::mem::take(model).into_iter().partition(|(key, _)| key.starts_with("x-"));
    *model = rest;
    own
}

/// What Compose itself drops without a word.
fn unshown(model: &Map) -> Map {
    let part = |kind: &str, of: &dyn Fn(&Tree) -> Option<(String, Tree)>| {
        let named = validate::members(model, kind)
            .filter_map(|(name, tree)| Some((name.clone(), Tree::new(tree.at, Value::Map(Map::from([of(tree)?]))))));
        (kind.to_owned(), Tree::new(At::start(0), Value::Map(named.collect())))
    };
    let refresh = |service: &Tree| Some(("pull_refresh_after".to_owned(), service.get("pull_refresh_after")?.clone()));
    let options = |network: &Tree| {
        let options = network.get("ipam")?.get("options")?.clone();
        Some(("ipam".to_owned(), Tree::new(options.at, Value::Map(Map::from([("options".to_owned(), options)])))))
    };
    Map::from([part("services", &refresh), part("networks", &options)])
}

/// `scale` is `deploy.replicas` by its old name.
fn scale(resources: &mut Map) {
    let services = resources.get_mut("services").and_then(Tree::as_map_mut).into_iter().flatten();
    for service in services.filter_map(|(_, service)| service.as_map_mut()) {
        let scale = service.get("scale").cloned();
        if let (Some(scale), Some(deploy)) = (scale, service.get_mut("deploy").and_then(Tree::as_map_mut)) {
            deploy.insert("replicas".into(), scale);
        }
    }
}

fn choose_profiles(resources: &mut Map, request: &Request, variables: &Variables) -> Vec<String> {
    let mut active = request.profiles.clone();
    if active.is_empty() {
        let named = variables.get("COMPOSE_PROFILES").unwrap_or_default();
        active.extend(named.split(',').map(|profile| profile.trim().to_owned()));
    }
    let mut disabled = Vec::new();
    let Some(services) = resources.get_mut("services").and_then(Tree::as_map_mut) else { return disabled };
    services.retain(|name, service| {
        let profiles = validate::items(service.get("profiles"));
        let chosen =
            |profile: &Tree| active.iter().any(|active| active == "*" || Some(active.as_str()) == profile.as_text());
        let kept = profiles.is_empty() || profiles.iter().any(chosen);
        if !kept {
            disabled.push(name.clone());
        }
        kept
    });
    disabled
}
