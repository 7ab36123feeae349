use super::record::Record;
use hostwright_core::bucket::Profile;
use hostwright_duty::measures::Measures;
use hostwright_duty::supervisor::Reporter;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::sync::watch::Sender;

/// Examples shown of a kind; the rest is counted.
const EXAMPLES: usize = 20;

/// How one product is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Overview {
    pub(super) folder: String,
    pub(super) bucket: String,
    /// Whether the folder was walked once.
    pub(super) walked: bool,
    /// Whether the bucket answered once.
    pub(super) answered: bool,
    /// Finished files that wait.
    pub(super) waiting: usize,
    /// Files that are not finished.
    pub(super) unfinished: usize,
    pub(super) uploading: Vec<Uploading>,
    pub(super) uploaded: u64,
    /// Bytes of those, since the start.
    pub(super) bytes: u64,
    pub(super) failed: Sample,
    /// What cannot be uploaded under its name or key, and local files that could not be deleted.
    pub(super) refused: Sample,
    /// Finished but for somebody who has them open.
    pub(super) in_use: Sample,
    /// Finished, but behind others in the order that is configured.
    pub(super) held: Sample,
    pub(super) last: Option<(String, Record)>,
    /// What the bucket was found to do.
    pub(super) profile: Option<Profile>,
    /// Notices that nobody has taken yet.
    pub(super) notices: usize,
    pub(super) notice_trouble: Option<String>,
    /// What is wrong with the folder, the bucket, the state.
    pub(super) folder_trouble: Option<String>,
    pub(super) bucket_trouble: Option<String>,
    pub(super) state_trouble: Option<String>,
    pub(super) sick: Option<String>,
}

/// A product that is being uploaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Uploading {
    pub(super) path: String,
    pub(super) key: String,
    pub(super) size: u64,
    /// Bytes that the bucket has.
    pub(super) sent: u64,
}

/// A number of files with some of them and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    count: usize,
    examples: Vec<(String, String)>,
}

impl FromIterator<(String, String)> for Sample {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(all: I) -> Self {
        let mut some = Self::default();
        for one in all {
            some.count += 1;
            if some.examples.len() < EXAMPLES {
                some.examples.push(one);
            }
        }
        some
    }
}

impl Sample {
    fn json(&self) -> Value {
        let examples: Vec<_> = self.examples.iter().map(|(path, why)| json!({"path": path, "why": why})).collect();
        json!({"count": self.count, "examples": examples})
    }

    /// "3 files …: a.jpg: why", if there are any.
    fn sentence(&self, what: &str) -> Option<String> {
        let (path, why) = self.examples.first()?;
        Some(match self.count {
            1 => format!("{what}: {path:?}: {why}"),
            count => format!("{what}: {path:?}: {why} (and {} more)", count - 1),
        })
    }
}

/// How all products are, by name.
pub(super) type Overviews = BTreeMap<String, Overview>;

/// One product's place in the overviews.
#[derive(Clone, Debug)]
pub(super) struct Row {
    name: String,
    all: Sender<Overviews>,
}

impl Row {
    pub(super) fn new(name: &str, all: Sender<Overviews>) -> Self {
        // From the start, so that nothing is said of all before each was asked.
        all.send_modify(|all| {
            all.entry(name.to_owned()).or_default();
        });
        Self { name: name.to_owned(), all }
    }

    /// Changes it; nobody is woken for a change that is none.
    pub(super) fn update(&self, change: impl FnOnce(&mut Overview)) {
        self.all.send_if_modified(|all| {
            let row = all.entry(self.name.clone()).or_default();
            let before = row.clone();
            change(row);
            *row != before
        });
    }
}

/// Says how the products are.
pub(super) fn publish(all: &Overviews, status: &Reporter) {
    let details: serde_json::Map<_, _> = all.iter().map(|(name, one)| (name.clone(), one.details())).collect();
    status.details(Value::Object(details));
    status.measures(measures(all));
    let troubles: Vec<_> = all
        .iter()
        .flat_map(|(name, one)| one.troubles().into_iter().map(move |why| format!("{name}: {why}")))
        .collect();
    if !troubles.is_empty() {
        status.degraded(troubles.join("; "));
    } else if all.values().all(|one| one.walked && one.answered) {
        let uploaded: u64 = all.values().map(|one| one.uploaded).sum();
        let waiting: usize = all.values().map(|one| one.waiting + one.uploading.len()).sum();
        let unfinished: usize = all.values().map(|one| one.unfinished + one.in_use.count).sum();
        let unfinished = if unfinished == 0 { String::new() } else { format!(", {unfinished} not finished yet") };
        status.ok(format!("{uploaded} products uploaded, {waiting} waiting{unfinished}"));
    }
}

/// For metrics.
fn measures(all: &Overviews) -> Measures {
    let mut measures = Measures::default();
    for (name, one) in all {
        let labels = [("product", name.as_str())];
        measures.counter(("uploaded_total", "Products that the bucket confirmed."), &labels, one.uploaded);
        measures.counter(("uploaded_bytes_total", "Bytes of products that the bucket confirmed."), &labels, one.bytes);
        let last = one.last.as_ref().map_or(0, |(_, record)| record.time.as_second());
        measures.gauge(("last_upload_timestamp_seconds", "When the latest was confirmed."), &labels, last as f64);
        for (what, count) in [
            (("notices", "Notices of confirmed products that nobody has taken yet."), one.notices),
            (("waiting", "Finished products that wait for their upload."), one.waiting),
            (("uploading", "Products that are being uploaded."), one.uploading.len()),
            (("unfinished", "Files that are not finished yet."), one.unfinished),
            (("in_use", "Files that are finished but for somebody who has them open."), one.in_use.count),
            (("failed", "Products whose upload failed and is tried again."), one.failed.count),
            (("refused", "Files that cannot be taken under their name or key."), one.refused.count),
        ] {
            measures.gauge(what, &labels, count as f64);
        }
    }
    measures
}

impl Overview {
    fn troubles(&self) -> Vec<String> {
        let mut troubles = self.general();
        troubles.extend(self.failed.sentence("not uploaded yet"));
        troubles.extend(self.refused.sentence("not taken"));
        troubles
    }

    /// What is wrong with no product in particular.
    fn general(&self) -> Vec<String> {
        let troubles = [&self.sick, &self.state_trouble, &self.folder_trouble, &self.bucket_trouble];
        let mut troubles: Vec<_> = troubles.into_iter().flatten().cloned().collect();
        troubles.extend(self.notice_trouble.as_ref().map(|why| format!("{} notices wait: {why}", self.notices)));
        troubles
    }

    fn details(&self) -> Value {
        let last = self.last.as_ref().map(
            |(path, record)| json!({"path": path, "key": &*record.key, "time": record.time, "sha256": record.sha256}),
        );
        json!({
            "folder": self.folder,
            "bucket": self.bucket,
            "troubles": self.general(),
            "waiting": self.waiting,
            "unfinished": self.unfinished,
            "in_use": self.in_use.json(),
            "uploading": self.uploading,
            "uploaded": self.uploaded,
            "bytes": self.bytes,
            "failed": self.failed.json(),
            "held": self.held.json(),
            "notices": self.notices,
            "refused": self.refused.json(),
            "profile": self.profile,
            "last": last,
        })
    }
}
