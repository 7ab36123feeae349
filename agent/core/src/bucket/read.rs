use super::download::{Download, Downloaded, Incoming, Partial};
use super::error::{BucketError, Reason};
use super::{Bucket, Object, Store};
use crate::backoff::Backoff;
use crate::config::buckets::Encryption;
use crate::hex::hex;
use md5::{Digest as _, Md5};
use sha2::Sha256;
use std::time::Duration;

/// How often a transfer goes on after it was cut off without anything having arrived.
const FRUITLESS: usize = 4;

/// What was read into memory, if it is what the store told of it.
pub(super) fn as_told(all: Vec<u8>, sha256: Option<&str>, md5: Option<&str>) -> Result<Vec<u8>, Reason> {
    let differs = |by: &str| Err(Reason::Fetched { by: by.to_owned() });
    match (sha256, md5) {
        (Some(told), _) if !told.eq_ignore_ascii_case(&hex(&Sha256::digest(&all))) => differs("SHA-256"),
        (None, Some(told)) if !told.eq_ignore_ascii_case(&hex(&Md5::digest(&all))) => differs("MD5"),
        _ => Ok(all),
    }
}

impl Bucket {
    /// Reads an object into memory, if it is there and not larger than `at_most` bytes.
    ///
    /// # Errors
    /// There is no such object, it is larger, or the bucket does not answer or refuses.
    pub async fn get(&self, key: &str, at_most: u64) -> Result<Vec<u8>, BucketError> {
        self.get_encrypted(key, at_most, None).await
    }

    /// As [`Self::get`], of an object that may be encrypted with a customer's key.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_encrypted(
        &self,
        key: &str,
        at_most: u64,
        encryption: Option<&Encryption>,
    ) -> Result<Vec<u8>, BucketError> {
        let result = match &self.store {
            Store::Folder(folder) => folder.get(key, at_most).await,
            Store::S3(s3) => s3.get(key, at_most, encryption).await,
            Store::Swift(swift) => swift.get(key, at_most).await,
        };
        result.map_err(|reason| self.error(format!("read {key:?} from"), reason))
    }

    /// Brings an object down into a file, which appears whole, verified and under its name at once. What a process that
    /// was killed has got of the same object is not fetched again.
    ///
    /// # Errors
    /// There is no such object, what arrived is not what the bucket tells of, the file cannot be written, or the bucket
    /// does not answer or refuses.
    pub async fn download(&self, download: Download<'_>) -> Result<Downloaded, BucketError> {
        let fetched = Box::pin(self.fetch_file(download)).await;
        fetched.map_err(|reason| self.error(format!("fetch {:?} from", download.key), reason))
    }

    async fn fetch_file(&self, download: Download<'_>) -> Result<Downloaded, Reason> {
        let found = match &self.store {
            Store::Folder(folder) => folder.head(download.key).await?,
            Store::S3(s3) => s3.head(download.key, download.encryption).await?,
            Store::Swift(swift) => swift.head(download.key).await?,
        };
        let object = found.ok_or(Reason::NoSuchObject)?;
        let (to, of) = (download.to.to_owned(), object.clone());
        let opened = tokio::task::spawn_blocking(move || Partial::open(&to, &of)).await;
        let mut partial = opened.map_err(std::io::Error::other).flatten().map_err(Reason::Write)?;
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let mut fruitless = 0;
        while partial.length < object.size {
            let before = partial.length;
            match self.fetch_rest(&object, &mut partial, download).await {
                Ok(()) => break,
                Err(reason) if reason.may_pass() && fruitless < FRUITLESS => {
                    fruitless = if partial.length > before { 0 } else { fruitless + 1 };
                    log::info!("fetching {:?} goes on from byte {}: {reason}", download.key, partial.length);
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(reason) => return Err(reason),
            }
        }
        let verified = partial.verify(&object, download.sha256).await?;
        partial.place(&download).await?;
        Ok(Downloaded { object, verified })
    }

    async fn fetch_rest(&self, object: &Object, partial: &mut Partial, download: Download<'_>) -> Result<(), Reason> {
        let mut incoming = self.open_object(object, partial.length, download.encryption).await?;
        if incoming.from != partial.length {
            partial.start_over()?;
        }
        while let Some(piece) = Incoming::next(&mut incoming).await? {
            if partial.length + piece.len() as u64 > object.size {
                return Err(Reason::Fetched { by: "size".into() });
            }
            let length = piece.len() as u64;
            partial.append(piece).await?;
            if let Some(progress) = download.progress {
                progress.add(length);
            }
        }
        if partial.length < object.size {
            return Err(Reason::Unreachable { cause: "the connection ended before the object did".into() });
        }
        Ok(())
    }

    /// Reads an object from its first byte to its last, and gives the SHA-256 of what came.
    ///
    /// # Errors
    /// It is another one meanwhile, or the bucket does not answer or refuses.
    pub async fn reread(&self, object: &Object, encryption: Option<&Encryption>) -> Result<String, BucketError> {
        let read = Box::pin(self.digest(object, encryption)).await;
        read.map_err(|reason| self.error(format!("read {:?} from", object.key), reason))
    }

    async fn digest(&self, object: &Object, encryption: Option<&Encryption>) -> Result<String, Reason> {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let (mut digest, mut done, mut fruitless) = (Sha256::new(), 0, 0);
        loop {
            let before = done;
            match self.digest_rest(object, encryption, (&mut digest, &mut done)).await {
                Ok(()) => return Ok(hex(&digest.finalize())),
                Err(reason) if reason.may_pass() && fruitless < FRUITLESS => {
                    fruitless = if done > before { 0 } else { fruitless + 1 };
                    log::info!("reading {:?} goes on from byte {done}: {reason}", object.key);
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(reason) => return Err(reason),
            }
        }
    }

    async fn digest_rest(
        &self,
        object: &Object,
        encryption: Option<&Encryption>,
        (digest, done): (&mut Sha256, &mut u64),
    ) -> Result<(), Reason> {
        if *done == object.size && object.size > 0 {
            return Ok(());
        }
        let mut incoming = self.open_object(object, *done, encryption).await?;
        if incoming.from != *done {
            (*digest, *done) = (Sha256::new(), 0);
        }
        while let Some(piece) = Incoming::next(&mut incoming).await? {
            digest.update(&piece);
            *done += piece.len() as u64;
        }
        match *done == object.size {
            true => Ok(()),
            false => Err(Reason::Unreachable { cause: "the connection ended before the object did".into() }),
        }
    }

    /// Opens an object from a byte on, if it is still this one.
    async fn open_object(
        &self,
        object: &Object,
        from: u64,
        encryption: Option<&Encryption>,
    ) -> Result<Incoming, Reason> {
        let opened = match &self.store {
            Store::Folder(folder) => folder.open_object(&object.key, from, object.size).await,
            Store::S3(s3) => s3.open_object(object, from, encryption).await,
            Store::Swift(swift) => swift.open_object(object, from).await,
        };
        match opened {
            Err(Reason::Exists) => Err(Reason::Changed),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::as_told;

    #[test]
    fn what_was_read_is_what_was_told_or_an_error() {
        let (md5, sha256) =
            ("900150983cd24fb0d6963f7d28e17f72", "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD");
        let told = |sha256, md5| as_told(b"abc".to_vec(), sha256, md5).map_err(|reason| reason.to_string());
        for (sha256, md5) in [(None, None), (Some(sha256), None), (None, Some(md5)), (Some(sha256), Some("other"))] {
            assert_eq!(told(sha256, md5), Ok(b"abc".to_vec()));
        }
        for (sha256, md5, words) in [(Some("0"), Some(md5), "SHA-256"), (None, Some("0"), "MD5")] {
            assert!(told(sha256, md5).expect_err(words).contains(words));
        }
    }
}
