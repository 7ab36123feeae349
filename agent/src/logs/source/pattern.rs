use super::family::{is_compressed, plain_name};
use globset::{Glob, GlobBuilder, GlobMatcher};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What a source asks for: absolute patterns with `*`, `?`, `[…]` and `**` in the names of folders and files.
#[derive(Debug)]
pub struct Patterns {
    patterns: Vec<Pattern>,
    excluded: Vec<Excluded>,
}

#[derive(Debug)]
struct Pattern {
    /// The folders before the first one whose name is a pattern.
    base: PathBuf,
    /// One for each further name; the last one is about files.
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Glob {
        matcher: GlobMatcher,
        text: String,
    },
    /// `**`: no folder or any number of them.
    AnyDepth,
}

#[derive(Debug)]
enum Excluded {
    Path(GlobMatcher),
    Name(GlobMatcher),
}

/// In a folder, a pattern of which so many parts are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pattern: usize,
    part: usize,
}

impl Patterns {
    /// # Errors
    /// A pattern is not valid.
    pub fn new(files: &[String], excluded: &[String]) -> Result<Self, globset::Error> {
        let patterns = files.iter().map(|text| Pattern::new(text)).collect::<Result<_, _>>()?;
        let excluded = excluded.iter().map(|text| Excluded::new(text)).collect::<Result<_, _>>()?;
        Ok(Self { patterns, excluded })
    }

    /// The folders where to begin, with what is to be looked for in them.
    pub fn bases(&self) -> Vec<(&Path, Vec<Place>)> {
        let mut bases: Vec<(&Path, Vec<Place>)> = Vec::new();
        for (index, pattern) in self.patterns.iter().enumerate() {
            let place = Place { pattern: index, part: 0 };
            match bases.iter_mut().find(|(base, _)| *base == pattern.base) {
                Some((_, places)) => places.push(place),
                None => bases.push((&pattern.base, vec![place])),
            }
        }
        bases
    }

    /// What is to be looked for in the folder of this name, one of whose parent it is known.
    pub fn inside(&self, places: &[Place], name: &str) -> Vec<Place> {
        let mut inside = Vec::new();
        for place in self.all(places) {
            let parts = &self.patterns[place.pattern].parts;
            match &parts[place.part] {
                Part::AnyDepth => inside.push(place),
                part if place.part + 1 < parts.len() && part.matches(name) => {
                    inside.push(Place { part: place.part + 1, ..place });
                }
                _ => {}
            }
        }
        inside.sort_unstable();
        inside.dedup();
        inside
    }

    /// Whether any folder in this one may be of interest.
    pub fn goes_deeper(&self, places: &[Place]) -> bool {
        self.all(places).any(|place| place.part + 1 < self.patterns[place.pattern].parts.len())
    }

    /// Whether folders at any depth are meant, and links to folders are not followed, which may lead in circles.
    pub fn is_any_depth(&self, places: &[Place]) -> bool {
        places.iter().any(|place| matches!(self.patterns[place.pattern].parts[place.part], Part::AnyDepth))
    }

    /// Whether a file of this name is asked for. A compressed one is only by a pattern that says so, because `log*`
    /// means the generations of a log, and what is in the compressed ones was read before they were compressed.
    pub fn ask_for(&self, places: &[Place], name: &str) -> bool {
        let ending = is_compressed(name).then(|| &name[plain_name(name).len()..]);
        self.last_parts(places).any(|part| part.matches(name) && ending.is_none_or(|ending| part.ends_with(ending)))
    }

    /// Whether a path is asked for.
    pub fn ask_for_path(&self, path: &Path) -> bool {
        let Some((folder, name)) = path.parent().zip(path.file_name()) else { return false };
        self.bases().into_iter().any(|(base, places)| {
            let Ok(rest) = folder.strip_prefix(base) else { return false };
            let inside = |places: Vec<Place>, name: &OsStr| self.inside(&places, &name.to_string_lossy());
            self.ask_for(&rest.iter().fold(places, inside), &name.to_string_lossy())
        })
    }

    pub fn exclude(&self, path: &Path, name: &str) -> bool {
        self.excluded.iter().any(|excluded| match excluded {
            Excluded::Path(matcher) => matcher.is_match(path),
            Excluded::Name(matcher) => matcher.is_match(name),
        })
    }

    /// The places themselves, and those behind a `**` that stands for no folder.
    fn all<'a>(&'a self, places: &'a [Place]) -> impl Iterator<Item = Place> + 'a {
        places.iter().flat_map(|place| {
            let parts = &self.patterns[place.pattern].parts;
            let behind = parts[place.part..].iter().take_while(|part| matches!(part, Part::AnyDepth)).count();
            (0..=behind).map(|skipped| Place { part: place.part + skipped, ..*place })
        })
    }

    fn last_parts<'a>(&'a self, places: &'a [Place]) -> impl Iterator<Item = &'a Part> + 'a {
        self.all(places).filter_map(|place| {
            let parts = &self.patterns[place.pattern].parts;
            (place.part + 1 == parts.len()).then(|| &parts[place.part])
        })
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, globset::Error> {
        let names: Vec<&str> = text.split('/').filter(|name| !name.is_empty()).collect();
        let file = names.len().saturating_sub(1);
        let folders = names.iter().take(file).take_while(|name| !is_pattern(name)).count();
        let base = names[..folders].iter().fold(PathBuf::from("/"), |base, name| base.join(name));
        let mut parts = names[folders..].iter().map(|name| Part::new(name)).collect::<Result<Vec<_>, _>>()?;
        if let Some(Part::AnyDepth) = parts.last() {
            parts.push(Part::new("*")?);
        }
        Ok(Self { base, parts })
    }
}

impl Part {
    fn new(name: &str) -> Result<Self, globset::Error> {
        Ok(match name {
            "**" => Self::AnyDepth,
            name if is_pattern(name) => {
                Self::Glob { matcher: Glob::new(name)?.compile_matcher(), text: name.to_owned() }
            }
            name => Self::Literal(name.to_owned()),
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            Self::Glob { matcher, .. } => matcher.is_match(name),
            Self::AnyDepth => false,
        }
    }

    fn ends_with(&self, ending: &str) -> bool {
        match self {
            Self::Literal(text) | Self::Glob { text, .. } => text.ends_with(ending),
            Self::AnyDepth => false,
        }
    }
}

impl Excluded {
    fn new(text: &str) -> Result<Self, globset::Error> {
        let matcher = GlobBuilder::new(text).literal_separator(true).build()?.compile_matcher();
        Ok(if text.starts_with('/') { Self::Path(matcher) } else { Self::Name(matcher) })
    }
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use super::{Patterns, Place};
    use std::path::Path;

    fn patterns(files: &[&str], excluded: &[&str]) -> Patterns {
        let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        Patterns::new(&owned(files), &owned(excluded)).expect("valid")
    }

    /// Whether the file is found by walking from the bases.
    fn finds(patterns: &Patterns, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').expect("absolute");
        patterns.bases().into_iter().any(|(base, places)| {
            let Ok(rest) = Path::new(folder).strip_prefix(base) else { return false };
            let places =
                rest.iter().fold(places, |places, part| patterns.inside(&places, part.to_str().expect("text")));
            patterns.ask_for(&places, name) && !patterns.exclude(Path::new(path), name)
        })
    }

    #[test]
    fn patterns_share_a_folder_and_match_names_in_it() {
        let patterns = patterns(&["/var/log/a/log.json", "/var/log/a/*.[0-9]", "/x.log"], &[]);
        let bases = patterns.bases();
        assert_eq!(bases.len(), 2);
        let (path, a) = &bases[0];
        assert_eq!(path.to_str(), Some("/var/log/a"));
        assert!(patterns.ask_for(a, "log.json") && patterns.ask_for(a, "log.json.1"));
        assert!(!patterns.ask_for(a, "log.json.2026-11-20") && !patterns.ask_for(a, "x.log"));
        assert!(!patterns.goes_deeper(a));
        assert_eq!(bases[1].0.to_str(), Some("/"));
    }

    #[test]
    fn names_of_folders_may_be_patterns_too() {
        let one = patterns(&["/var/log/*/app.log"], &[]);
        assert!(finds(&one, "/var/log/a/app.log"));
        assert!(!finds(&one, "/var/log/app.log") && !finds(&one, "/var/log/a/b/app.log"));
        let any = patterns(&["/srv/**/log/*.log"], &[]);
        for path in ["/srv/log/a.log", "/srv/x/log/a.log", "/srv/x/y/log/a.log", "/srv/log/log/a.log"] {
            assert!(finds(&any, path), "{path}");
        }
        assert!(!finds(&any, "/srv/x/a.log") && !finds(&any, "/srv/log/x/a.log"));
        assert!(finds(&patterns(&["/srv/**"], &[]), "/srv/a/b/c"));
    }

    #[test]
    fn a_name_or_a_path_may_be_excluded() {
        let patterns = patterns(&["/var/log/*/*.log"], &["debug*.log", "/var/log/b/*"]);
        assert!(finds(&patterns, "/var/log/a/app.log"));
        assert!(!finds(&patterns, "/var/log/a/debug-1.log") && !finds(&patterns, "/var/log/b/app.log"));
    }

    #[test]
    fn compressed_files_are_meant_only_where_the_pattern_says_so() {
        assert!(!finds(&patterns(&["/a/log*"], &[]), "/a/log.1.gz"));
        assert!(finds(&patterns(&["/a/*.gz"], &[]), "/a/log.1.gz"));
    }

    #[test]
    fn a_place_is_listed_once() {
        let patterns = patterns(&["/a/**/**/x"], &[]);
        let (_, places) = patterns.bases().remove(0);
        let inside = patterns.inside(&places, "b");
        assert_eq!(inside, [Place { pattern: 0, part: 0 }, Place { pattern: 0, part: 1 }]);
    }
}
