use super::tree::{At, Map, Tree, Value};

/// A volume in its short form: `[source:]target[:options]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct VolumeSpec {
    pub source: String,
    pub target: String,
    pub read_only: bool,
    nocopy: bool,
    selinux: Option<String>,
    propagation: Option<String>,
    /// Two letters at most name a folder of the container and nothing else.
    tiny: bool,
}

/// Reads the short form as Compose does; options that it does not know are left out.
pub fn parse(spec: &str) -> Result<VolumeSpec, String> {
    let mut volume = VolumeSpec::default();
    match spec.len() {
        0 => return Err("expected a volume such as ./data:/data or name:/data:ro, found nothing".into()),
        1 | 2 => return Ok(VolumeSpec { target: spec.to_owned(), tiny: true, ..volume }),
        _ => {}
    }
    let parts = split(spec);
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        match part.as_str() {
            "" => return Err(format!("nothing stands between two colons in {spec:?}")),
            part if volume.source.is_empty() && last => volume.target = part.to_owned(),
            part if volume.source.is_empty() => volume.source = part.to_owned(),
            part if volume.target.is_empty() => volume.target = part.to_owned(),
            _ if !last => return Err(format!("too many colons in {spec:?}; expected source:target:options")),
            options => options.split(',').for_each(|option| volume.option(option)),
        }
    }
    Ok(volume)
}

/// At colons, but not at that of a Windows drive.
fn split(spec: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in spec.chars() {
        let last = parts.last_mut();
        match last {
            Some(part) if c != ':' || is_drive(part) => part.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts
}

fn is_drive(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(char::is_alphabetic) && characters.next().is_none()
}

impl VolumeSpec {
    fn option(&mut self, option: &str) {
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "nocopy" => self.nocopy = true,
            "z" | "Z" => self.selinux = Some(option.to_owned()),
            "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate" => {
                self.propagation = Some(option.to_owned());
            }
            _ => {}
        }
    }

    /// Whether the source is a path of the host.
    fn is_bind(&self) -> bool {
        let drive = || {
            let mut characters = self.source.chars();
            characters.next().is_some_and(char::is_alphabetic) && characters.next() == Some(':')
        };
        self.source.starts_with(['.', '/', '~']) || self.source.starts_with(r"\\") || drive()
    }

    /// The long form.
    pub fn into_tree(self, at: At) -> Tree {
        let mut long = Map::new();
        let mut put = |key: &str, value: Value| long.insert(key.to_owned(), Tree::new(at, value));
        let is_bind = self.is_bind();
        put("type", Value::Text(if is_bind { "bind" } else { "volume" }.into()));
        if !self.source.is_empty() {
            put("source", Value::Text(self.source));
        }
        if !self.target.is_empty() {
            put("target", Value::Text(super::paths::clean(&self.target)));
        }
        if self.read_only {
            put("read_only", Value::Bool(true));
        }
        if is_bind || self.selinux.is_some() || self.propagation.is_some() {
            let mut bind = Map::new();
            let mut set = |key: &str, value| bind.insert(key.to_owned(), Tree::new(at, value));
            if is_bind {
                set("create_host_path", Value::Bool(true));
            }
            self.selinux.map(|selinux| set("selinux", Value::Text(selinux)));
            self.propagation.map(|propagation| set("propagation", Value::Text(propagation)));
            put("bind", Value::Map(bind));
        }
        if self.nocopy {
            put("volume", Tree::map(at, [("nocopy", Value::Bool(true))]).value);
        } else if !is_bind && !self.tiny {
            put("volume", Value::Map(Map::new()));
        }
        Tree::new(at, Value::Map(long))
    }
}
