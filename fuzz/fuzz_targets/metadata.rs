//! What a cloud says of an instance, of any bytes, becomes a seed with an id or is refused.
#![no_main]

use hostwright_fuzz::datasource::azure_environment::{self, Environment};
use hostwright_fuzz::datasource::documents::Documents;
use hostwright_fuzz::datasource::{Metadata, gce_document};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|documents: (&[u8], Option<&[u8]>, Option<&[u8]>)| {
    let (meta_data, vendor_data, network_data) = documents;
    let _ = Metadata::parse(meta_data);
    others(meta_data, vendor_data);
    let own = |content: Option<&[u8]>| content.map(<[u8]>::to_vec);
    let documents = Documents {
        meta_data: meta_data.to_vec(),
        vendor_data: own(vendor_data),
        vendor_data2: own(vendor_data),
        network_data: own(network_data),
        user_data: None,
    };
    if let Ok(seed) = documents.seed("openstack", "metadata") {
        assert!(seed.metadata.instance_id.is_some_and(|id| !id.is_empty()));
    }
});

/// Google's one document, and Azure's two.
fn others(answer: &[u8], disk: Option<&[u8]>) {
    let Ok(answer) = serde_json::from_slice(answer) else { return };
    if let Ok(seed) = gce_document::seed(&answer, "x", "debian") {
        assert!(seed.metadata.instance_id.is_some_and(|id| !id.is_empty()));
    }
    let disk = disk.and_then(|disk| Environment::parse(&String::from_utf8_lossy(disk)).ok());
    let _ = azure_environment::seed(&answer, disk.as_ref(), "machine", "x");
}
