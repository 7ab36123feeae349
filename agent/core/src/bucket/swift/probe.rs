use super::{Swift, bucket_if_absent, expect, insert};
use crate::bucket::error::Reason;
use crate::bucket::profile::{Checks, Profile, Rights};
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

const PROBE_KEY: &str = ".hostwright-probe";
const CONTENT: &str = "hostwright tries out what this store does";
/// Swift's own limit of segments, unless it tells another.
const MOST_SEGMENTS: u32 = 1000;

impl Swift {
    /// Tries out what the store does, with a small object that is deleted again.
    pub(in crate::bucket) async fn probe(&self, place: &str) -> Result<Profile, Reason> {
        self.check().await?;
        let key = format!("{PROBE_KEY}-{:016x}", fastrand::u64(..));
        let list = allowed(self.list("", 1).await.map(drop))?;
        let put = allowed(self.probe_put(&key, &[]).await.map_err(bucket_if_absent))?;
        let mut profile = Profile {
            place: place.to_owned(),
            probed: Timestamp::now(),
            server: Some("OpenStack Swift".into()),
            rights: Rights { list, put, head: put, multipart: put, delete: put },
            checks: Checks { md5: false, sha256: false, crc64nvme: false },
            // Swift's are, of all but large objects; each upload compares it.
            etag_is_md5: true,
            tells_sha256: false,
            tells_crc64nvme: false,
            parts_by_crc64nvme: false,
            most_parts: self.most_segments().await,
            conditional_writes: false,
            tags: false,
            batch_delete: false,
            object_lock: false,
            lists_uploads: list,
        };
        if put {
            profile.rights.head = allowed(self.head(&key).await.map(drop))?;
            let second = self.probe_put(&key, &[("if-none-match", "*")]).await;
            profile.conditional_writes = matches!(second, Err(Reason::Exists));
            let wrong = self.probe_put(&key, &[("etag", "00000000000000000000000000000000")]).await;
            profile.checks.md5 = matches!(wrong, Err(Reason::Damaged { .. }));
            profile.rights.delete = allowed(self.delete(&key).await)?;
        }
        Ok(profile)
    }

    async fn probe_put(&self, key: &str, more: &[(&str, &str)]) -> Result<(), Reason> {
        let mut headers = HeaderMap::new();
        for (name, value) in more {
            insert(&mut headers, name, value)?;
        }
        let answer = self.ask_with(Method::PUT, &self.path(key), "", (&headers, CONTENT)).await?;
        expect(answer, &[201]).await.map(drop)
    }

    /// `/info` is asked without a token.
    async fn most_segments(&self) -> u32 {
        let asked = async {
            let granted = self.session.granted().await.ok()?;
            let root = reqwest::Url::parse(&granted.url).ok()?.join("/info").ok()?;
            let answer = self.http.get(root).send().await.ok()?;
            let info: Value = serde_json::from_str(&self.text(answer).await.ok()?).ok()?;
            u32::try_from(info["slo"]["max_manifest_segments"].as_u64()?).ok()
        };
        tokio::time::timeout(self.patience.sending, asked).await.ok().flatten().unwrap_or(MOST_SEGMENTS)
    }
}

fn allowed(result: Result<(), Reason>) -> Result<bool, Reason> {
    match result {
        Ok(()) => Ok(true),
        Err(Reason::Denied { .. }) => Ok(false),
        Err(reason) => Err(reason),
    }
}
