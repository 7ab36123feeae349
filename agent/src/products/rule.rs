use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use hostwright_core::config::products::{Finished, Form, Marker, Patterns, Product};

/// The file by which whoever runs a job says that it has ended, and how.
pub(super) const JOB_FILE: &str = ".hostwright-job.json";

/// Which paths are products, and how they are said to be finished.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) form: Form,
    pub(super) finished: Finished,
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Rule {
    pub(super) fn new(product: &Product) -> anyhow::Result<Self> {
        let include = product.include.as_ref().map(set).transpose()?;
        Ok(Self { form: product.form, finished: product.finished.clone(), include, exclude: set(&product.exclude)? })
    }

    /// Whether a file's path is that of a product.
    pub(super) fn is_file(&self, path: &str) -> bool {
        self.form == Form::File
            && !path.is_empty()
            && self.include.as_ref().is_none_or(|include| include.is_match(path))
            && !path.split('/').any(is_temporary)
            && !self.is_excluded(path)
            && !self.is_a_sign(path)
    }

    /// Whether a folder's path is that of a product.
    pub(super) fn is_folder(&self, path: &str) -> bool {
        let fits = match &self.include {
            Some(include) => include.is_match(path),
            None => !path.contains('/'),
        };
        self.form == Form::Folder
            && !path.is_empty()
            && fits
            && !path.split('/').any(is_temporary)
            && !self.is_excluded(path)
    }

    /// Whether products may lie in a folder.
    pub(super) fn is_entered(&self, path: &str) -> bool {
        !path.split('/').any(is_temporary) && !self.is_excluded(path)
    }

    /// The product that a path is, or is a part of.
    pub(super) fn product_of<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.form == Form::File {
            return self.is_file(path).then_some(path);
        }
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.map(|end| &path[..end]).find(|above| self.is_folder(above))
    }

    /// Whether a path is never taken, nor as a part of a product.
    pub(super) fn is_excluded(&self, path: &str) -> bool {
        self.exclude.is_match(path)
    }

    /// Whether a path is a marker or the file of a job: a sign that something is finished, and no part of it.
    pub(super) fn is_a_sign(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        match &self.finished {
            Finished::Job => name == JOB_FILE,
            Finished::Marker(Marker::Inside(marker)) => name == marker,
            Finished::Marker(Marker::Beside(before, after)) => {
                name.len() > before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
            }
            _ => false,
        }
    }

    /// Paths where a marker would lie that says that this product is finished.
    pub(super) fn signs_for(&self, path: &str) -> Vec<String> {
        match &self.finished {
            Finished::Job => signs_above(path, JOB_FILE, self.form),
            Finished::Marker(Marker::Inside(marker)) => signs_above(path, marker, self.form),
            Finished::Marker(Marker::Beside(before, after)) => {
                let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
                let slash = if folder.is_empty() { "" } else { "/" };
                let sign = |name: &str| format!("{folder}{slash}{before}{name}{after}");
                let stem = stem(name);
                let mut signs = vec![sign(name)];
                if stem != name {
                    signs.push(sign(stem));
                }
                signs
            }
            _ => Vec::new(),
        }
    }

    /// Where products lie of which a marker at `path` may speak: the path of one, or of a folder that is walked.
    pub(super) fn spoken_for<'p>(&self, path: &'p str) -> Spoken<'p> {
        let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
        match &self.finished {
            Finished::Marker(Marker::Beside(before, after)) => {
                Spoken::Beside { folder, name: &name[before.len()..name.len() - after.len()] }
            }
            _ => Spoken::Below(folder),
        }
    }
}

/// Of which products a marker speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken<'p> {
    /// Of those with this name, or stem, in a folder.
    Beside { folder: &'p str, name: &'p str },
    /// Of all in a folder, or of the folder.
    Below(&'p str),
}

/// A sign in the product itself, if that is a folder, or in a folder above it, but not above the watched one.
fn signs_above(path: &str, sign: &str, form: Form) -> Vec<String> {
    let mut signs = Vec::new();
    if form == Form::Folder {
        signs.push(format!("{path}/{sign}"));
    }
    signs.extend(path.rmatch_indices('/').map(|(at, _)| format!("{}/{sign}", &path[..at])));
    signs.push(sign.to_owned());
    signs
}

/// A name without its extension.
pub(super) fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

/// Names under which files and folders are made that are not yet what they will be called.
pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') || [".tmp", ".part", ".partial", "~"].iter().any(|ending| name.ends_with(ending))
}

fn set(patterns: &Patterns) -> anyhow::Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in &patterns.0 {
        set.add(GlobBuilder::new(pattern).literal_separator(true).build()?);
    }
    Ok(set.build()?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Rule, Spoken};
    use hostwright_core::config::Config;

    /// The rule of a product with these further settings.
    pub(in crate::products) fn rule(settings: &str) -> Rule {
        let text = format!("buckets: {{b: file:///b}}\nproducts: {{p: {{watch: /w, bucket: b, {settings}}}}}");
        let config = Config::parse(&text, "agent.yaml").expect("valid");
        Rule::new(&config.products.expect("products")["p"]).expect("made")
    }

    #[test]
    fn patterns_choose_files_and_temporary_names_are_never_among_them() {
        let rule = rule("include: ['*.tif', 'deep/**/*.jp2'], exclude: ['x*', 'deep/not/**']");
        for taken in ["a.tif", "a b.tif", "deep/b.jp2", "deep/1/2/b.jp2"] {
            assert!(rule.is_file(taken), "{taken}");
        }
        for left in ["a.jp2", "in/a.tif", "x.tif", ".a.tif", "deep/.hidden/b.jp2", "deep/not/b.jp2", "deep/1.tmp/b.jp2"]
        {
            assert!(!rule.is_file(left), "{left}");
        }
    }

    #[test]
    fn a_path_in_a_folder_product_belongs_to_the_outermost_that_fits() {
        let rule = rule("product: folder, include: ['*/FSC_*'], exclude: ['*/inputs/**']");
        assert_eq!(rule.product_of("job/FSC_1/data/a.tif"), Some("job/FSC_1"));
        assert_eq!(rule.product_of("job/FSC_1"), Some("job/FSC_1"));
        assert_eq!(rule.product_of("job/other/a"), None);
        assert!(rule.is_excluded("job/inputs/a/b") && !rule.is_excluded("job/inputs"));
        assert_eq!(super::tests::rule("quiet: 1s").product_of(""), None);
        let all = super::tests::rule("product: folder");
        assert_eq!(all.product_of("a/b/c"), Some("a"));
        assert_eq!(all.product_of(".a/b"), None);
    }

    #[test]
    fn markers_are_beside_a_product_or_in_a_folder_above_it() {
        let beside = rule("finished: {marker: '*.ready'}");
        assert_eq!(beside.signs_for("d/a.tif"), ["d/a.tif.ready", "d/a.ready"]);
        assert_eq!(beside.spoken_for("d/a.ready"), Spoken::Beside { folder: "d", name: "a" });
        assert!(beside.is_a_sign("d/a.ready") && !beside.is_a_sign("d/.ready") && !beside.is_file("d/a.ready"));
        let inside = rule("finished: {marker: _SUCCESS}, product: folder, include: ['*/*']");
        assert_eq!(inside.signs_for("a/b"), ["a/b/_SUCCESS", "a/_SUCCESS", "_SUCCESS"]);
        assert_eq!(inside.spoken_for("a/b/_SUCCESS"), Spoken::Below("a/b"));
        let job = rule("finished: job, product: file");
        assert_eq!(job.signs_for("a/b"), ["a/.hostwright-job.json", ".hostwright-job.json"]);
    }
}
