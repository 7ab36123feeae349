use super::answers::{Listed, Segment, parsed};
use super::{Swift, about, expect, insert, strange};
use crate::bucket::error::Reason;
use crate::bucket::http::encoded;
use crate::bucket::parts::{self, Part};
use crate::bucket::{Object, Put, Unfinished};
use crate::hex::hex;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use md5::{Digest as _, Md5};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Segments that are there: their sizes and MD5s as Swift tells them, by their numbers.
type Held = BTreeMap<usize, (u64, Option<String>)>;

/// Our uploads among what others keep in the container of segments.
const MARK: &str = "hostwright-";

impl Swift {
    /// Gives an upload a name. Segments lie in a container beside the objects', where nobody takes them for objects.
    pub(in crate::bucket) async fn begin(&self, put: Put<'_>) -> Result<String, Reason> {
        self.supports(put)?;
        self.check().await?;
        self.make_segments().await?;
        Ok(format!("{MARK}{}-{:08x}", Timestamp::now().as_second(), fastrand::u32(..)))
    }

    /// The container of segments is there, or is made. Whoever may not make one may use it.
    async fn make_segments(&self) -> Result<(), Reason> {
        self.without_segments.store(false, Ordering::Relaxed);
        let path = encoded(&self.segments(), false);
        let answer = self.ask(Method::PUT, &path, "", &HeaderMap::new()).await?;
        let Err(refused) = expect(answer, &[201, 202, 204]).await else { return Ok(()) };
        let code = match refused {
            Reason::Denied { code } | Reason::BadCredentials { code } => code,
            other => return Err(other),
        };
        let there = self.ask(Method::HEAD, &path, "", &HeaderMap::new()).await?;
        match expect(there, &[200, 204]).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Reason::Denied {
                code: format!(
                    "{code}, on making the container {:?} for the segments of large objects",
                    self.segments()
                ),
            }),
        }
    }

    /// Clears the segments of what was there before under the key of an object that has none.
    pub(super) async fn remove_unused(&self, key: &str) {
        if self.without_segments.load(Ordering::Relaxed) {
            return;
        }
        let all = match self.listing(&self.segments(), &format!("{key}/{MARK}"), usize::MAX).await {
            Err(Reason::NoSuchObject) => return self.without_segments.store(true, Ordering::Relaxed),
            // Rights to an object need not be rights to what it is made of.
            Err(Reason::Denied { .. } | Reason::BadCredentials { .. }) => return,
            Err(reason) => {
                return log::warn!("whether segments of what {key:?} was before are left is not known: {reason}");
            }
            Ok(all) => all,
        };
        let names: Vec<_> = all.into_iter().filter_map(|one| one.name).collect();
        self.remove_segments(key, names.iter().map(|name| format!("{}/{name}", self.segments()))).await;
    }

    /// Sends the segments that are not there, then the manifest that makes them an object; once more where segments were
    /// acknowledged and are not there.
    pub(super) async fn put_large(&self, put: Put<'_>, upload: &str) -> Result<Object, Reason> {
        let before = self.segments_of(put.key).await?;
        let stored = match self.put_segments(put, upload).await {
            Err(Reason::PartsLost { code }) => {
                log::warn!("the store has lost segments of {:?} ({code}): they are sent again", put.key);
                put.progress.inspect(|progress| progress.take_back(put.content.size()));
                self.put_segments(put, upload).await
            }
            other => other,
        }?;
        self.remove_replaced(put.key, upload, before).await;
        Ok(stored)
    }

    /// Swift keeps the segments of an object that was replaced.
    async fn remove_replaced(&self, key: &str, upload: &str, before: Vec<String>) {
        let ours = format!("/{}/{key}/{MARK}", self.segments());
        let old = before.into_iter().filter(|name| name.starts_with(&ours) && !name.contains(&format!("/{upload}/")));
        self.remove_segments(key, old).await;
    }

    async fn remove_segments(&self, key: &str, paths: impl Iterator<Item = String>) {
        for path in paths {
            let path = encoded(path.trim_start_matches('/'), true);
            let deleted = match self.ask(Method::DELETE, &path, "", &HeaderMap::new()).await {
                Ok(answer) => expect(answer, &[200, 204, 404]).await.map(drop),
                Err(reason) => Err(reason),
            };
            if let Err(reason) = deleted {
                log::warn!("the segments of what {key:?} was before stay in {:?}: {reason}", self.segments());
                return;
            }
        }
    }

    async fn put_segments(&self, put: Put<'_>, upload: &str) -> Result<Object, Reason> {
        let held = self.held(put, upload).await?;
        let md5s = parts::in_order(put.content, &|part| self.put_unless_held((put, upload), &held, part)).await?;
        let mut manifest = Vec::new();
        let mut whole = Md5::new();
        for (index, md5) in md5s.into_iter().enumerate() {
            let (_, length) = put.content.part(index);
            let path = format!("/{}/{}", self.segments(), segment(put.key, upload, index));
            whole.update(hex(&md5));
            manifest.push(json!({"path": path, "etag": hex(&md5), "size_bytes": length}));
        }
        let manifest = serde_json::Value::Array(manifest).to_string();
        let (path, headers) = (self.path(put.key), about(put)?);
        let answer = self.ask_with(Method::PUT, &path, "multipart-manifest=put", (&headers, &manifest)).await?;
        expect(answer, &[201]).await.map_err(|reason| match reason {
            // The manifest was read, and a segment is not what it says.
            Reason::Refused { code } => Reason::PartsLost { code },
            other => other,
        })?;
        self.verify(put, &hex(&whole.finalize())).await
    }

    async fn put_unless_held(
        &self,
        (put, upload): (Put<'_>, &str),
        held: &Held,
        part: Part,
    ) -> Result<[u8; 16], Reason> {
        let (_, length) = put.content.part(part.index);
        let md5 = part.check.md5()?;
        let wanted = hex(&md5);
        if held.get(&part.index).is_some_and(|(size, hash)| *size == length && hash.as_ref() == Some(&wanted)) {
            put.progress.inspect(|progress| progress.add(length));
            return Ok(md5);
        }
        let mut headers = HeaderMap::new();
        insert(&mut headers, "etag", &wanted)?;
        let name = segment(put.key, upload, part.index);
        let path = format!("{}/{}", encoded(&self.segments(), false), encoded(&name, true));
        self.send_part(put, &part, &path, &headers).await.map(|()| md5)
    }

    async fn held(&self, put: Put<'_>, upload: &str) -> Result<Held, Reason> {
        let listed = self.of_upload(put.key, upload).await?.into_iter().filter_map(|listed| {
            let index = listed.name?.rsplit('/').next()?.parse::<usize>().ok()?;
            Some((index, (listed.bytes, listed.hash)))
        });
        Ok(listed.collect())
    }

    async fn of_upload(&self, key: &str, upload: &str) -> Result<Vec<Listed>, Reason> {
        match self.listing(&self.segments(), &format!("{key}/{upload}/"), usize::MAX).await {
            Err(Reason::NoSuchObject) => Ok(Vec::new()),
            other => other,
        }
    }

    pub(in crate::bucket) async fn abort(&self, key: &str, upload: &str) -> Result<(), Reason> {
        // Never those of an object that is there.
        if self.segments_of(key).await?.iter().any(|name| name.contains(&format!("/{upload}/"))) {
            return Ok(());
        }
        for listed in self.of_upload(key, upload).await? {
            let path =
                format!("{}/{}", encoded(&self.segments(), false), encoded(&listed.name.unwrap_or_default(), true));
            let answer = self.ask(Method::DELETE, &path, "", &HeaderMap::new()).await?;
            match expect(answer, &[200, 204]).await {
                Ok(_) | Err(Reason::NoSuchObject) => {}
                Err(reason) => return Err(reason),
            }
        }
        Ok(())
    }

    /// Uploads of ours whose segments no object uses. Those of objects that were replaced are among them.
    pub(in crate::bucket) async fn unfinished(
        &self,
        prefix: &str,
        before: Timestamp,
    ) -> Result<Vec<Unfinished>, Reason> {
        let listed = match self.listing(&self.segments(), prefix, usize::MAX).await {
            Err(Reason::NoSuchObject) => return Ok(Vec::new()),
            other => other?,
        };
        let mut uploads: BTreeMap<(String, String), Timestamp> = BTreeMap::new();
        for one in listed {
            let name = one.name.unwrap_or_default();
            let mut parts = name.rsplitn(3, '/').skip(1);
            let (Some(upload), Some(key)) = (parts.next(), parts.next()) else { continue };
            let time = one.last_modified.and_then(|time| time.parse::<DateTime>().ok());
            let time = time.and_then(|time| time.to_zoned(TimeZone::UTC).ok()).map(|time| time.timestamp());
            if let (true, Some(time)) = (upload.starts_with(MARK), time) {
                let latest = uploads.entry((key.to_owned(), upload.to_owned())).or_insert(time);
                *latest = (*latest).max(time);
            }
        }
        let mut unfinished = Vec::new();
        for ((key, upload), begun) in uploads.into_iter().filter(|(_, latest)| *latest < before) {
            let used = self.segments_of(&key).await?.iter().any(|name| name.contains(&format!("/{upload}/")));
            if !used {
                unfinished.push(Unfinished { key, upload, begun });
            }
        }
        Ok(unfinished)
    }

    /// The segments that an object is made of; none where it is no large one, or none at all.
    async fn segments_of(&self, key: &str) -> Result<Vec<String>, Reason> {
        let head = self.ask(Method::HEAD, &self.path(key), "", &HeaderMap::new()).await?;
        match expect(head, &[200, 204]).await {
            Ok(head) if head.headers().contains_key("x-static-large-object") => {}
            Ok(_) | Err(Reason::NoSuchObject) => return Ok(Vec::new()),
            Err(reason) => return Err(reason),
        }
        let answer = self.ask(Method::GET, &self.path(key), "multipart-manifest=get", &HeaderMap::new()).await?;
        let text = self.text(expect(answer, &[200]).await?).await?;
        let segments: Vec<Segment> = parsed(&text).map_err(|error| strange(&error))?;
        Ok(segments.into_iter().filter_map(|segment| segment.name).collect())
    }

    fn segments(&self) -> String {
        format!("{}_segments", self.container)
    }
}

/// Swift sorts names, so that numbers are of one length.
fn segment(key: &str, upload: &str, index: usize) -> String {
    format!("{key}/{upload}/{index:08}")
}
