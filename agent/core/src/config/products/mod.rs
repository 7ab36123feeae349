//! `products:`: watched folders whose finished products go to a bucket.

/// What happens after the bucket has confirmed.
mod afterwards;
/// How a producer says that a product is finished.
mod finished;
/// Keys from templates.
mod key;
/// Patterns of paths.
mod patterns;

pub use afterwards::{Afterwards, Notice, Webhook};
pub use finished::{Finished, Marker};
pub use key::{Expression, KeyPart, KeyTemplate, Moment};
pub use patterns::Patterns;

use super::Known;
use super::buckets::{Bucket, ObjectOptions};
use super::section::Section;
use super::values::{AbsolutePath, FromNode, Labels, Names, mismatch};
use crate::yaml::Node;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More products at once than this only take memory from one another.
const MOST_AT_ONCE: u64 = 64;

/// A watched folder whose finished products go to a bucket.
///
/// What somebody has open for writing is not finished, whatever else says so. Symbolic links are not followed. A product
/// that changes after its upload is uploaded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The folder; folders inside it are watched too.
    pub watch: PathBuf,
    /// What a product is.
    pub form: Form,
    /// Which paths in the folder are products; all files, or all folders directly in it, unless given.
    pub include: Option<Patterns>,
    /// Which paths in the folder are never taken, nor as parts of a product.
    pub exclude: Patterns,
    /// How its producer says that it is finished.
    pub finished: Finished,
    /// The name of a bucket.
    pub bucket: String,
    /// The object's key, or what the keys of a folder's files begin with.
    pub key: KeyTemplate,
    /// What happens where two want one key.
    pub conflict: Conflict,
    /// What the objects have beside their content.
    pub object: Arc<ObjectOptions>,
    /// Whether a manifest follows the objects.
    pub manifest: bool,
    /// Products of this folder wait for those of others: their names.
    pub after: Vec<String>,
    /// What happens to the local product after the bucket has confirmed.
    pub afterwards: Afterwards,
    /// Whom a confirmed product is told.
    pub notice: Notice,
    /// So many are under way at once.
    pub at_once: usize,
    /// After so many failed attempts a product is left alone until it changes or somebody asks for it.
    pub quarantine_after: Option<u32>,
}

/// What a product is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A file.
    File,
    /// A folder with all files in it.
    Folder,
}

/// What happens where two products want one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The second is refused and shown in the status.
    Refuse,
    /// The second gets a number: `image.2.tif`.
    Version,
}

impl FromNode for Form {
    const EXPECTED: &'static str = "file or folder";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("file") => Ok(Self::File),
            Some("folder") => Ok(Self::Folder),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl FromNode for Conflict {
    const EXPECTED: &'static str = "refuse or version";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("refuse") => Ok(Self::Refuse),
            Some("version") => Ok(Self::Version),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Product {
    pub(super) fn read(mut section: Section<'_>, known: &Known<'_>) -> Option<Self> {
        let watch = section.required::<AbsolutePath>("watch");
        let finished = Finished::read(&mut section);
        let form = section.or("product", if finished == Finished::Job { Form::Folder } else { Form::File });
        if form == Form::Folder && finished == Finished::Closed {
            let why = "files are closed, folders are not: a folder is finished when it is renamed, has a marker, \
                       was quiet, or its job has ended";
            section.problem_with("finished", why);
        }
        let bucket = section.required::<String>("bucket");
        section.references("bucket", "bucket", known.bucket_names);
        let key = section.or("key", KeyTemplate::path());
        for problem in missing_label(&key, known.labels).into_iter().chain(unknown_job(&key, &finished)) {
            section.problem_with("key", &problem);
        }
        check_places(&section, [watch.as_ref(), bucket.as_ref().and_then(|name| folder_of(known, name)).as_ref()]);
        section.references("after", "product", known.product_names);
        let product = Self {
            watch: watch.map(|watch| watch.0).unwrap_or_default(),
            form,
            include: section.optional("include"),
            exclude: section.or("exclude", Patterns::default()),
            finished,
            bucket: bucket.unwrap_or_default(),
            key,
            conflict: section.or("conflict", Conflict::Refuse),
            object: Arc::new(section.section("object", ObjectOptions::read).unwrap_or_default()),
            manifest: section.or("manifest", form == Form::Folder),
            after: section.optional::<Names>("after").map(|names| names.0).unwrap_or_default(),
            afterwards: Afterwards::read(&mut section),
            notice: section.section("notice", Notice::read).unwrap_or_default(),
            at_once: at_once(&mut section),
            quarantine_after: section.optional::<u64>("quarantine_after").map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        };
        section.finish();
        (!product.watch.as_os_str().is_empty() && !product.bucket.is_empty()).then_some(product)
    }

    /// A product that waits, through others, for itself.
    pub(super) fn waits_for_itself(products: &BTreeMap<String, Self>) -> Option<String> {
        products
            .keys()
            .find(|name| {
                let mut above: Vec<&String> = products[*name].after.iter().collect();
                let mut seen = Vec::new();
                while let Some(next) = above.pop() {
                    if next == *name {
                        return true;
                    }
                    if !seen.contains(&next) {
                        seen.push(next);
                        above.extend(products.get(next).into_iter().flat_map(|product| &product.after));
                    }
                }
                false
            })
            .cloned()
    }
}

fn at_once(section: &mut Section<'_>) -> usize {
    let number = section.or("at_once", 4_u64);
    if !(1..=MOST_AT_ONCE).contains(&number) {
        section.problem_with("at_once", &format!("{number} is not between 1 and {MOST_AT_ONCE}"));
    }
    usize::try_from(number).unwrap_or(1)
}

fn folder_of(known: &Known<'_>, bucket: &str) -> Option<AbsolutePath> {
    match known.buckets.get(bucket) {
        Some(Bucket::Folder(folder)) => Some(AbsolutePath(folder.clone())),
        _ => None,
    }
}

fn check_places(section: &Section<'_>, places: [Option<&AbsolutePath>; 2]) {
    if let [Some(watch), Some(folder)] = places
        && let Some(problem) = feeds_itself(&watch.0, &folder.0)
    {
        section.problem_with("watch", &problem);
    }
}

/// A label that the key needs and the host has not, or has without a value.
fn missing_label(key: &KeyTemplate, labels: &Labels) -> Option<String> {
    let needed = key.0.iter().filter_map(|part| match part {
        KeyPart::Label(label) => Some(label),
        _ => None,
    });
    let missing = needed.into_iter().find(|label| labels.0.get(*label).is_none_or(String::is_empty))?;
    Some(format!("{{label:{missing}}} needs a value; add it under host.labels: {{{missing}: …}}"))
}

/// A bucket in the folder whose files it takes would take its own objects for new products, without end.
fn feeds_itself(watch: &Path, bucket: &Path) -> Option<String> {
    bucket.starts_with(watch).then(|| {
        format!("the bucket's folder {} lies in it, so that every upload would be a new product", bucket.display())
    })
}

impl FromNode for KeyTemplate {
    const EXPECTED: &'static str = "a key such as {date}/{path}";

    fn from_node(node: &Node) -> Result<Self, String> {
        Self::parse(node.text().ok_or_else(|| mismatch::<Self>(node))?)
    }
}

/// What is wrong with `{job_id}` where no job is known.
fn unknown_job(key: &KeyTemplate, finished: &Finished) -> Option<String> {
    let needed = key.0.contains(&KeyPart::JobId) && *finished != Finished::Job;
    needed.then(|| "{job_id} needs `finished: job`; out of a path take it by {path:REGEX}".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Conflict, Finished, Form, Product};
    use crate::config::Config;
    use std::time::Duration;

    fn parse(products: &str) -> Result<Product, String> {
        let text = format!(
            "host: {{labels: {{role: backend}}}}\nbuckets: {{b: file:///srv/out}}\nproducts:\n  p: {products}\n  \
             q: {{watch: /srv/q, bucket: b}}\n"
        );
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        Ok(config.products.expect("products")["p"].clone())
    }

    fn problems(products: &str) -> String {
        parse(products).err().unwrap_or_default()
    }

    #[test]
    fn what_is_not_given_is_what_a_careful_operator_would_choose() {
        let product = parse("{watch: /srv/in, bucket: b}").expect("valid");
        assert_eq!(product.finished, Finished::Quiet(Duration::from_secs(2)));
        assert_eq!((product.form, product.conflict, product.manifest), (Form::File, Conflict::Refuse, false));
        let product = parse("{watch: /srv/in, bucket: b, finished: job}").expect("valid");
        assert_eq!((product.form, product.manifest), (Form::Folder, true));
    }

    #[test]
    fn a_label_that_the_key_needs_must_be_there() {
        assert_eq!(problems("{watch: /srv/in, bucket: b, key: '{label:role}/{path}'}"), "");
        let message = problems("{watch: /srv/in, bucket: b, key: '{label:rule}/{path}'}");
        assert!(message.contains("4:39: products.p.key: {label:rule} needs a value"), "{message}");
    }

    #[test]
    fn a_bucket_in_the_folder_that_feeds_it_is_refused() {
        let message = problems("{watch: /srv, bucket: b}");
        assert!(message.contains("products.p.watch: the bucket's folder /srv/out lies in it"), "{message}");
        assert_eq!(problems("{watch: /srv/outer, bucket: b}"), "");
    }

    #[test]
    fn what_cannot_be_is_refused_where_it_stands() {
        for (products, expected) in [
            (
                "{watch: /w, bucket: b, product: folder, finished: closed}",
                "4:56: products.p.finished: files are closed",
            ),
            ("{watch: /w, bucket: b, key: 'x/{job_id}'}", "products.p.key: {job_id} needs `finished: job`"),
            ("{watch: /w, bucket: b, after: [nobody]}", "products.p.after: there is no product \"nobody\""),
            ("{watch: /w, bucket: b, after: [p]}", "products: \"p\" waits for itself"),
            ("{watch: /w, bucket: b, at_once: 0}", "products.p.at_once: 0 is not between 1 and 64"),
            ("{watch: /w, bucket: b, quiet: 1s, finished: closed}", "only one of the keys quiet, finished"),
            ("{watch: /w, bucket: b, finished: {marker: a/b}}", "products.p.finished.marker: \"a/b\" is no name"),
            ("{watch: /w, bucket: b, include: ['[']}", "products.p.include: \"[\" is no valid pattern"),
            ("{watch: /w, bucket: b, afterwards: {move: /w/done}}", "products.p.afterwards: /w/done lies in"),
            ("{watch: /w, bucket: b, notice: {command: ls}}", "products.p.notice.command: expected a command"),
            ("{watch: /w, bucket: b, notice: {webhook: {url: 'http://h/'}}}", "webhook: the key \"secret\" is missing"),
        ] {
            let message = problems(products);
            assert!(message.contains(expected), "{products}: {message}");
        }
    }
}
