use super::ages::Ages;
use super::ask::Desk;
use super::find::Finder;
use super::folder::Folder;
use super::key::Keys;
use super::ledger::Ledger;
use super::manifest::Origin;
use super::rule::Rule;
use super::sighting::Eyes;
use super::upload::Uploader;
use hostwright_core::bucket::Bucket;
use hostwright_core::config::buckets;
use hostwright_core::config::products::{Conflict, Product};
use hostwright_duty::supervisor::Environment;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One product folder with what it needs of the rest of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) name: Arc<str>,
    pub(super) product: Product,
    pub(super) bucket: buckets::Bucket,
    pub(super) finder: Finder,
    /// The bucket.
    pub(super) place: Arc<str>,
    /// The pipelines of the other product folders.
    pub(super) desk: Desk,
    pub(super) ages: Arc<Ages>,
    keys: Keys,
    origin: Origin,
    metadata: Arc<Vec<(String, String)>>,
}

impl Setting {
    /// Nothing if the bucket is not configured, which the configuration's check rules out.
    ///
    /// # Errors
    /// As little: patterns that the check took are none.
    pub(super) fn new(
        name: &str,
        product: Product,
        (buckets, desk): (&BTreeMap<String, buckets::Bucket>, &Desk),
        environment: &Environment,
    ) -> anyhow::Result<Option<Self>> {
        let Some(bucket) = buckets.get(&product.bucket).cloned() else { return Ok(None) };
        let labels = environment.host.labels.0.clone();
        // Headers carry visible ASCII; what is not stays out, as the rest of an object's story is not less true.
        let fits = |text: &str| text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        let labelled = labels.iter().map(|(name, value)| (format!("label-{}", name.replace('_', "-")), value.clone()));
        let metadata = std::iter::once(("host".to_owned(), environment.host_name.clone())).chain(labelled);
        let metadata = Arc::new(metadata.filter(|(_, value)| fits(value)).collect());
        let name: Arc<str> = name.into();
        let place: Arc<str> = Bucket::place_of(&bucket).into();
        let host = environment.host_name.clone();
        let origin =
            Origin { product: name.clone(), bucket: place.clone(), host: host.clone(), labels: labels.clone() };
        Ok(Some(Self {
            finder: Finder { folder: Folder::new(product.watch.clone()), rule: Rule::new(&product)? },
            keys: Keys { template: product.key.clone(), host, labels },
            desk: desk.clone(),
            ages: Arc::new(Ages::new(&product.afterwards, &bucket)),
            name,
            product,
            bucket,
            place,
            origin,
            metadata,
        }))
    }

    pub(super) fn uploader(&self, ledger: &Arc<Ledger>) -> Uploader {
        Uploader {
            finder: self.finder.clone(),
            ledger: ledger.clone(),
            origin: self.origin.clone(),
            metadata: self.metadata.clone(),
            manifest: self.product.manifest,
            versioned: self.product.conflict == Conflict::Version,
            options: self.product.object.clone(),
        }
    }

    pub(super) fn eyes(&self, ledger: &Arc<Ledger>) -> Eyes {
        Eyes {
            finder: self.finder.clone(),
            keys: self.keys.clone(),
            ledger: ledger.clone(),
            place: self.place.clone(),
            afterwards: self.product.afterwards.clone(),
            ages: self.ages.clone(),
        }
    }
}
