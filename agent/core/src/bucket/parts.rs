use super::Content;
use super::check::{Check, Checking, Proof};
use super::content::interruptible;
use super::error::Reason;
use super::file_body::FileRange;
use super::memory::Memory;
use super::piece::read_through;
use super::sums::Sums;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use sha2::{Digest as _, Sha256};

/// Parts of one object under way at once.
const AT_ONCE: usize = 4;

/// A part that was read, with its checksum.
#[derive(Debug)]
pub(super) struct Part {
    /// Counted from 0.
    pub(super) index: usize,
    pub(super) check: Check,
    /// Where there was no room, it is read again to be sent.
    memory: Option<Memory>,
}

impl Part {
    /// A content that one request carries.
    pub(super) fn whole(content: &Content) -> Result<Self, Reason> {
        Ok(Self { index: 0, check: content.check(0)?, memory: content.memory().cloned() })
    }

    /// What a request sends.
    pub(super) fn range(&self, content: &Content) -> FileRange {
        FileRange::of_part(content, self.index, self.memory.clone())
    }

    /// Whether the file still has what the checksum is of; what is in memory has.
    pub(super) async fn is_unchanged(&self, content: &Content) -> Result<(), Reason> {
        if self.memory.is_some() { Ok(()) } else { content.still_has(self.index, self.check).await }
    }

    /// Its MD5, computed anew where it was sent under another checksum.
    pub(super) async fn md5(&self, content: &Content) -> Result<[u8; 16], Reason> {
        let check = match (self.check, &self.memory) {
            (Check::Md5(md5), _) => return Ok(md5),
            (_, Some(memory)) => check_of(memory, Proof::Md5).await?,
            (_, None) => content.check_now(self.index, Proof::Md5).await?,
        };
        check.map_or(Err(Reason::Changed), Check::md5)
    }
}

/// One that is done: its number, its checksum, and what its way gave.
type Done<T> = (usize, Check, T);

/// Reads a content from its first byte to its last, each byte once, and has each part sent from the same memory while
/// the next ones are read. Its checksums are known at the end, if it is what it was when it was opened: then, and not
/// before, may the parts be put together.
pub(super) async fn in_order<'c, T, S>(
    content: &'c Content,
    send: &'c (impl Fn(Part) -> S + Sync),
) -> Result<Vec<T>, Reason>
where
    T: Send + 'c,
    S: Future<Output = Result<T, Reason>> + Send + 'c,
{
    let mut whole = Sha256::new();
    let mut sending: FuturesUnordered<BoxFuture<'c, Result<Done<T>, Reason>>> = FuturesUnordered::new();
    let mut done = Vec::with_capacity(content.parts());
    for index in 0..content.parts() {
        while sending.len() >= AT_ONCE {
            done.extend(sending.next().await.transpose()?);
        }
        let mut reading = read(content, index, whole).boxed();
        let read = loop {
            tokio::select! {
                // Both are cancel-safe: nothing is taken out but what has ended.
                read = &mut reading => break read?,
                Some(one) = sending.next() => done.push(one?),
            }
        };
        whole = read.whole;
        let on_its_way = async move {
            let check = match (read.check, &read.memory) {
                (None, Some(memory)) => check_of(memory, content.proof()).await?,
                (check, _) => check,
            };
            // A part has one: its proof is never the SHA-256.
            let check = check.ok_or(Reason::Changed)?;
            Ok((index, check, send(Part { index, check, memory: read.memory }).await?))
        };
        sending.push(on_its_way.boxed());
    }
    while let Some(one) = sending.next().await {
        done.push(one?);
    }
    done.sort_unstable_by_key(|(index, ..)| *index);
    let checks = done.iter().map(|(_, check, _)| *check).collect();
    content.settle(Sums::new(checks, whole.finalize().into()))?;
    Ok(done.into_iter().map(|(.., one)| one).collect())
}

/// What reading a part gives.
struct Read {
    /// Of all that was read so far.
    whole: Sha256,
    memory: Option<Memory>,
    /// Of a part that is not in memory.
    check: Option<Check>,
}

async fn read(content: &Content, index: usize, mut whole: Sha256) -> Result<Read, Reason> {
    let (file, (offset, length)) = (content.file().clone(), content.part(index));
    let (range, proof) = (offset..offset + length, content.proof());
    let read = interruptible(move |interrupted| {
        if let Some(memory) = Memory::read(&file, range.clone(), interrupted, |piece| whole.update(piece))? {
            return Ok(Read { whole, memory: Some(memory), check: None });
        }
        let mut check = Checking::new(proof);
        read_through(&file, range, interrupted, |piece| {
            check.update(&piece);
            whole.update(&piece);
            Ok(())
        })?;
        Ok(Read { whole, memory: None, check: check.finish() })
    });
    read.await.map_err(Reason::of_reading)
}

/// Beside the digest of the whole, which waits for no part's.
async fn check_of(memory: &Memory, proof: Proof) -> Result<Option<Check>, Reason> {
    let memory = memory.clone();
    let digest = interruptible(move |_| {
        let mut check = Checking::new(proof);
        memory.pieces().iter().for_each(|piece| check.update(piece));
        Ok(check.finish())
    });
    digest.await.map_err(Reason::of_reading)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::buffer::Room;
    use crate::bucket::part_size::part_size;
    use md5::Md5;
    use std::fs::File;
    use std::io::{Seek as _, Write as _};
    use std::sync::Mutex;

    const MIB: usize = 1 << 20;

    fn file_of(size: usize) -> (File, Vec<u8>) {
        let mut bytes = vec![0; size];
        fastrand::Rng::with_seed(7).fill(&mut bytes);
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(&bytes).expect("written");
        (file, bytes)
    }

    /// What arrives of each part.
    async fn sent(content: &Content) -> Result<Vec<(usize, [u8; 16])>, Reason> {
        in_order(content, &|part: Part| async move {
            part.is_unchanged(content).await?;
            Ok((part.index, part.check.md5()?))
        })
        .await
    }

    #[tokio::test]
    async fn a_content_that_is_read_while_it_is_sent_has_the_checksums_of_one_that_was_read_before() {
        let (file, bytes) = file_of(21 * MIB + 3);
        let size = bytes.len() as u64;
        let before = Content::read(file.try_clone().expect("cloned"), size).await.expect("read");
        let content = Content::open(file, size).expect("opened");
        assert_eq!((content.sha256(), content.etag()), (None, None));
        let sent = sent(&content).await.expect("sent");
        assert_eq!((content.sha256(), content.etag()), (before.sha256(), before.etag()));
        let wanted: Vec<_> = bytes
            .chunks(part_size(bytes.len() as u64, 1000) as usize)
            .map(|part| Md5::digest(part).into())
            .enumerate()
            .collect();
        assert_eq!(sent, wanted);
    }

    #[tokio::test]
    async fn parts_that_find_no_room_in_memory_are_read_again_to_be_sent() {
        let mut all_room = Vec::new();
        while let Some(room) = Room::take(1 << 20) {
            all_room.push(room);
        }
        let (file, bytes) = file_of(17 * MIB);
        let content = Content::open(file.try_clone().expect("cloned"), bytes.len() as u64).expect("opened");
        let sent = sent(&content).await.expect("sent");
        drop(all_room);
        let wanted: Vec<_> = bytes
            .chunks(part_size(bytes.len() as u64, 1000) as usize)
            .map(|part| Md5::digest(part).into())
            .enumerate()
            .collect();
        assert_eq!(sent, wanted);
        assert_eq!(content.sha256(), Content::read(file, bytes.len() as u64).await.expect("read").sha256());
    }

    #[tokio::test]
    async fn a_file_that_is_written_to_before_all_is_sent_is_called_changed() {
        let (mut file, bytes) = file_of(17 * MIB);
        let content = Content::open(file.try_clone().expect("cloned"), bytes.len() as u64).expect("opened");
        file.rewind().expect("rewound");
        let writer = Mutex::new(file);
        let change = |part: Part| {
            // Of the same length, in a part that was sent already.
            let written = writer.lock().expect("not poisoned").write_all(b"another");
            async move { written.map(|()| part.index).map_err(Reason::Local) }
        };
        let changed = in_order(&content, &change).await.expect_err("refused");
        assert!(matches!(changed, Reason::Changed) && content.sha256().is_none(), "{changed}");
    }
}
