//! Images from archives in a bucket: `docker save registry.example.org/team/app:1.2 > app:1.2.tar`.

use super::reference::Reference;
use super::{Found, Images, Tell};
use crate::containers::engine::Engine;
use bytes::Bytes;
use futures_util::Stream;
use hostwright_core::bucket::{Bucket, Download, Object, Progress};
use hostwright_core::config::containers::images::Archives;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two words of how far it is.
const TELL: Duration = Duration::from_secs(1);
/// So many objects with the beginning of an image's name are looked at.
const MOST_KEYS: usize = 1000;
const PIECE: usize = 1 << 20;
const ENDINGS: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd"];

/// An archive in a bucket.
struct Archive {
    object: Object,
    /// Whether its name says the tag too.
    says_tag: bool,
}

impl Images {
    /// Brings an image from the bucket.
    ///
    /// # Errors
    /// A sentence: there is no archive, it cannot be fetched or loaded, or another image is in it.
    pub(super) async fn by_archive(
        &self,
        engine: &Engine,
        name: &str,
        archives: &Archives,
        tell: Tell<'_>,
    ) -> Result<Found, String> {
        let reference = Reference::parse(name)?;
        let bucket = Bucket::open(&archives.name, &archives.bucket).map_err(|error| error.to_string())?;
        let archive = find(&bucket, &archives.prefix, &reference).await?;
        let key = &archive.object.key;
        tell(format!("fetching {key}"));
        log::info!(image = name; "fetching {name} from {key} of the bucket {}", archives.name);
        let file = tempfile_in(&self.folder)?;
        fetch(&bucket, &archive.object, file.path(), tell).await?;
        tell(format!("loading {key}"));
        let content =
            content_of(file.path()).map_err(|error| format!("cannot read what was fetched of {key}: {error}"))?;
        let loaded =
            engine.load_images(content).await.map_err(|error| format!("the engine does not load {key}: {error}"))?;
        let image = choose(&reference, &loaded, archive.says_tag).ok_or_else(|| {
            format!(
                "{key} holds {}, and not {name}",
                if loaded.is_empty() { "no image".into() } else { loaded.join(", ") }
            )
        })?;
        let image_id = engine.image_id(image).await.map_err(|error| error.to_string())?;
        let image_id = image_id.ok_or_else(|| format!("the engine loaded {image} and does not have it"))?;
        self.name(engine, name, &reference, &image_id).await.map_err(|error| error.to_string())?;
        let source = format!("{key} of the bucket {}", archives.name);
        Ok(Found { image_id, digest: None, tag: None, source, signed_by: None })
    }
}

/// A file that is gone with this value.
fn tempfile_in(folder: &Path) -> Result<Scratch, String> {
    let path = folder.join(format!("archive-{:08x}.tar", fastrand::u32(..)));
    // What an earlier process left behind is of no use to anybody.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let old = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
        let is_archive = entry.file_name().to_string_lossy().starts_with("archive-");
        if is_archive && old.is_some_and(|old| old > Duration::from_secs(86400)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(Scratch(path))
}

struct Scratch(std::path::PathBuf);

impl Scratch {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn find(bucket: &Bucket, prefix: &str, reference: &Reference) -> Result<Archive, String> {
    let last = reference.repository.rsplit('/').next().unwrap_or(&reference.repository);
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    for base in [reference.repository.as_str(), last] {
        let start = format!("{prefix}{base}");
        let objects = bucket.list(&start, MOST_KEYS).await.map_err(|error| error.to_string())?;
        let rest = |object: &Object| object.key.strip_prefix(&start).map(str::to_owned);
        let tagged = |rest: &str| {
            ENDINGS.iter().any(|ending| {
                let tag = rest.strip_suffix(ending).and_then(|rest| rest.strip_prefix([':', '_', '-']));
                tag == Some(reference.tag_or_latest())
            })
        };
        let found = |says_tag: bool| move |object: Object| Archive { object, says_tag };
        let by_tag = objects.iter().find(|object| rest(object).is_some_and(|rest| tagged(&rest)));
        if let Some(object) = by_tag {
            return Ok(found(true)(object.clone()));
        }
        let plain = objects.iter().find(|object| rest(object).is_some_and(|rest| ENDINGS.contains(&rest.as_str())));
        if let Some(object) = plain {
            return Ok(found(false)(object.clone()));
        }
    }
    let tag = reference.tag_or_latest();
    Err(format!("{} has no archive {prefix}{last}:{tag}.tar or {prefix}{last}.tar", bucket.place()))
}

async fn fetch(bucket: &Bucket, object: &Object, to: &Path, tell: Tell<'_>) -> Result<(), String> {
    let progress = Progress::default();
    let mut download = Download::new(&object.key, to);
    download.progress = Some(&progress);
    let mut downloading = Box::pin(bucket.download(download));
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    loop {
        tokio::select! {
            done = &mut downloading => return done.map(drop).map_err(|error| error.to_string()),
            () = tokio::time::sleep(TELL) => tell(format!(
                "fetching {}: {:.1} of {:.1} MB",
                object.key,
                megabytes(progress.done()),
                megabytes(object.size)
            )),
        }
    }
}

/// An archive's content, unpacked where it is compressed: not every engine knows every form.
fn content_of(path: &Path) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static> {
    use std::io::Seek as _;
    let mut file = File::open(path)?;
    let mut magic = [0; 4];
    let read = file.read(&mut magic)?;
    file.rewind()?;
    let reader: Box<dyn Read + Send> = match &magic[..read] {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::new(file)?),
        _ => Box::new(file),
    };
    let (sender, mut receiver) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || read_all(reader, &sender));
    Ok(futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)))
}

fn read_all(mut reader: impl Read, sender: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = reader.by_ref().take(PIECE as u64).read_to_end(&mut piece);
        let is_end = !matches!(read, Ok(1..));
        let item = match read {
            Ok(0) => return,
            Ok(_) => Ok(Bytes::from(piece)),
            Err(error) => Err(error),
        };
        // Nobody listens any more: the engine has refused it.
        if sender.blocking_send(item).is_err() || is_end {
            return;
        }
    }
}

/// The image that was meant, among those that an archive held.
fn choose<'l>(reference: &Reference, loaded: &'l [String], says_tag: bool) -> Option<&'l str> {
    let parsed = || loaded.iter().filter_map(|name| Some((Reference::parse(name).ok()?, name.as_str())));
    let last = |reference: &Reference| reference.repository.rsplit('/').next().map(str::to_owned);
    let same_tag = |other: &Reference| other.tag_or_latest() == reference.tag_or_latest();
    let exact = parsed().find(|(other, _)| other.name() == reference.name() && same_tag(other));
    let alike = || parsed().find(|(other, _)| last(other) == last(reference) && same_tag(other));
    if let Some((_, name)) = exact.or_else(alike) {
        return Some(name);
    }
    let any_tag = says_tag || reference.tag_or_latest() == "latest";
    match loaded {
        [only] if any_tag => Some(only),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Archive, choose, content_of, find};
    use crate::containers::images::reference::Reference;
    use futures_util::StreamExt as _;
    use hostwright_core::bucket::Bucket;
    use hostwright_core::config::buckets;
    use std::fs;
    use std::io::Write as _;

    fn reference(text: &str) -> Reference {
        Reference::parse(text).expect(text)
    }

    #[tokio::test]
    async fn an_archive_is_found_by_the_image_s_name_with_its_tag_or_without() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let images = folder.path().join("docker/images");
        fs::create_dir_all(images.join("team")).expect("created");
        for name in ["fsc:1.2.tar", "fsc_1.3.tar.gz", "fsc.tar", "fsc-other:1.2.tar", "team/app.tar.zst"] {
            fs::write(images.join(name), "x").expect("written");
        }
        let bucket = Bucket::open("b", &buckets::Bucket::Folder(folder.path().to_owned())).expect("opened");
        for (name, key, tagged) in [
            ("r.example/si/fsc:1.2", "fsc:1.2.tar", true),
            ("fsc:1.3", "fsc_1.3.tar.gz", true),
            ("fsc", "fsc.tar", false),
            ("fsc:9", "fsc.tar", false),
            ("r.example/team/app", "team/app.tar.zst", false),
        ] {
            let Archive { object, says_tag } = find(&bucket, "docker/images", &reference(name)).await.expect(name);
            assert_eq!((object.key, says_tag), (format!("docker/images/{key}"), tagged), "{name}");
        }
        let why = find(&bucket, "docker/images", &reference("other:1")).await.err().expect("none");
        assert!(why.contains("no archive docker/images/other:1.tar or docker/images/other.tar"), "{why}");
    }

    #[test]
    fn of_what_was_loaded_the_image_that_was_meant_is_taken() {
        let one = |wanted: &str, loaded: &[&str], says_tag| {
            let loaded: Vec<String> = loaded.iter().map(|name| (*name).to_owned()).collect();
            choose(&reference(wanted), &loaded, says_tag).map(str::to_owned)
        };
        let both = ["fsc:1.1", "fsc:1.2"];
        assert_eq!(one("r.example/fsc:1.2", &both, false).as_deref(), Some("fsc:1.2"));
        assert_eq!(one("r.example/fsc:1.3", &both, true), None);
        assert_eq!(one("fsc:1.3", &["fsc:1.2"], false), None, "an archive without a tag holds another one");
        assert_eq!(one("fsc:1.3", &["build:7"], true).as_deref(), Some("build:7"));
        assert_eq!(one("fsc", &["sha256:ab"], false).as_deref(), Some("sha256:ab"));
        assert_eq!(one("fsc", &[], false), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn compressed_archives_are_unpacked_on_their_way() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a");
        let plain: Vec<u8> = (0..3_000_000_u32).map(|at| (at >> 3) as u8).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).expect("compressed");
        let zstd = zstd::encode_all(&plain[..], 1).expect("compressed");
        for stored in [plain.clone(), gzip.finish().expect("compressed"), zstd] {
            fs::write(&path, stored).expect("written");
            let mut read = Vec::new();
            let mut content = content_of(&path).expect("opened");
            while let Some(piece) = content.next().await {
                read.extend_from_slice(&piece.expect("a piece"));
            }
            assert!(read == plain);
        }
    }
}
