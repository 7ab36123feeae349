use super::console::Console;
use super::host::Host;
use super::report::Report;
use super::steps::Failure;
use super::steps::fetch::{self, Buckets};
use super::steps::request::Request;
use super::userdata::boot_section::ReportTo;
use hostwright_core::bucket::{Content, Put};
use std::collections::BTreeMap;
use std::path::Path;

const MAX_ANSWER: u64 = 1 << 20;

/// Hands the boot's report to whom the user-data names. That nobody takes it is told on the console, and fails nothing:
/// the host is as it is.
pub fn deliver(host: &Host, (to, buckets): (&ReportTo, &Buckets), report: &Report, folder: &Path) {
    let posted = to.url.as_ref().map(|url| post(host, url, report));
    let put = to.bucket.as_ref().map(|(bucket, key)| put(host, (bucket, key), buckets, (report, folder)));
    for failure in [posted, put].into_iter().flatten().filter_map(Result::err) {
        Console::new(host).line(&format!("the boot's report is not delivered: {} -> {}", failure.why, failure.remedy));
    }
}

fn post(host: &Host, url: &str, report: &Report) -> Result<(), Failure> {
    let none = BTreeMap::new();
    let body = serde_json::to_vec(report).unwrap_or_default();
    let request = Request { body: Some(("application/json", body)), ..Request::get(url, &none, MAX_ANSWER) };
    request.send(host).map(drop)
}

fn put(
    host: &Host,
    (bucket, key): (&str, &str),
    buckets: &Buckets,
    (report, folder): (&Report, &Path),
) -> Result<(), Failure> {
    let opened = fetch::open(host, bucket, buckets)?;
    let key = key.replace("{instance_id}", report.instance_id.as_deref().unwrap_or("-"));
    let key = key.replace("{boot}", &report.boot.to_string());
    let refused = |why: String| Failure::new(why, "see that the bucket's credentials may write there");
    let file =
        std::fs::File::open(folder.join("report.json")).map_err(|e| Failure::io("read the boot's report", &e))?;
    let size = file.metadata().map_err(|e| Failure::io("read the boot's report", &e))?.len();
    host.block_on(async {
        let content = Content::read(file, size).await.map_err(|error| refused(error.to_string()))?;
        opened.put(Put::new(&key, &content), None).await.map(drop).map_err(|error| refused(error.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::deliver;
    use crate::boot::host::Host;
    use crate::boot::report::{Report, Verdict};
    use crate::boot::steps::Stage;
    use crate::boot::userdata::boot_section::ReportTo;
    use hostwright_core::config::buckets::Bucket;

    #[test]
    fn a_report_reaches_a_bucket_under_its_instances_name() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let mut report = Report::without_steps("nocloud".into(), Stage::Final, Vec::new(), Verdict::Ok);
        (report.instance_id, report.boot) = (Some("i-7".into()), 2);
        report.write(&host, Some(tree.path())).expect("written");
        std::fs::create_dir(tree.path().join("bucket")).expect("folder");
        let buckets = [("results".to_owned(), Bucket::Folder(tree.path().join("bucket")))].into();
        let to = ReportTo { url: None, bucket: Some(("results".into(), "boot/{instance_id}-{boot}.json".into())) };
        deliver(&host, (&to, &buckets), &report, tree.path());
        let text = std::fs::read_to_string(tree.path().join("bucket/boot/i-7-2.json")).expect("delivered");
        assert!(text.contains("\"i-7\""), "{text}");
    }
}
