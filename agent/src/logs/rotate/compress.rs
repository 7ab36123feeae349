use super::generations::{Generation, unfinished};
use super::record::{Inode, Record};
use super::rename::create_unfinished;
use flate2::write::GzEncoder;
use hostwright_core::atomic_file::sync_parent;
use hostwright_core::config::logs::rotate::Compression;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Instant;
use tokio::task::{JoinHandle, spawn_blocking};

const PIECE: usize = 256 << 10;
/// zstd's own default: faster than gzip and smaller.
const ZSTD_LEVEL: i32 = 3;

/// The one file that is being compressed, in the background.
#[derive(Debug, Default)]
pub(super) struct Compressing {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    log: PathBuf,
    generation: Generation,
    target: PathBuf,
    stop: Arc<AtomicBool>,
    work: JoinHandle<io::Result<Inode>>,
}

impl Compressing {
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    pub(super) fn start(&mut self, log: &Path, generation: &Generation, method: Compression) {
        let mut target = generation.path.clone().into_os_string();
        target.push(match method {
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        });
        let target = PathBuf::from(target);
        let stop = Arc::new(AtomicBool::new(false));
        let work = {
            let (from, to, stop) = (generation.path.clone(), target.clone(), stop.clone());
            spawn_blocking(move || compress(&from, &to, method, &stop))
        };
        self.running = Some(Running { log: log.to_owned(), generation: generation.clone(), target, stop, work });
    }

    /// Gives a file that is complete its name in place of the plain one; what came of it, if something did.
    pub(super) async fn ended(&mut self, record: &mut Record) -> Option<io::Result<PathBuf>> {
        let mut running = self.running.take_if(|running| running.work.is_finished())?;
        let result = match (&mut running.work).await {
            Ok(result) => result.and_then(|inode| running.replace(inode, record)),
            Err(error) => Err(io::Error::other(error)),
        };
        if result.is_err() {
            let _ = fs::remove_file(unfinished(&running.target));
        }
        let path = running.generation.path.display();
        Some(result.map_err(|error| io::Error::new(error.kind(), format!("cannot compress {path}: {error}"))))
    }

    /// Gives up what is not complete.
    pub(super) async fn stop(self) {
        if let Some(running) = self.running {
            running.stop.store(true, Ordering::Relaxed);
            let _ = running.work.await;
            let _ = fs::remove_file(unfinished(&running.target));
        }
    }
}

impl Running {
    /// A run that is cut off between the two steps finds both files, and compresses once more.
    fn replace(&self, inode: Inode, record: &mut Record) -> io::Result<PathBuf> {
        if !self.generation.is_unchanged() {
            return Err(io::Error::other("it has changed meanwhile; it is tried again"));
        }
        record.shipped(&self.log, inode)?;
        fs::rename(unfinished(&self.target), &self.target)?;
        sync_parent(&self.target)?;
        fs::remove_file(&self.generation.path)?;
        sync_parent(&self.target)?;
        Ok(self.target.clone())
    }
}

/// Writes the compressed file under its unfinished name, with the owner, mode and time of the plain one.
fn compress(from: &Path, to: &Path, method: Compression, stop: &AtomicBool) -> io::Result<Inode> {
    let source = File::options().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(from)?;
    let metadata = source.metadata()?;
    let target = create_unfinished(to, &metadata)?;
    match method {
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(&target, flate2::Compression::default());
            copy(&source, &mut encoder, stop)?;
            encoder.finish()?;
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(&target, ZSTD_LEVEL)?;
            encoder.set_pledged_src_size(Some(metadata.len()))?;
            encoder.include_checksum(true)?;
            copy(&source, &mut encoder, stop)?;
            encoder.finish()?;
        }
    }
    target.set_modified(metadata.modified()?)?;
    target.sync_all()?;
    let written = target.metadata()?;
    Ok(Inode { inode: written.ino(), size: written.size() })
}

/// At half speed: shipping is more urgent.
fn copy(mut source: &File, target: &mut impl Write, stop: &AtomicBool) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let begin = Instant::now();
        let length = io::Read::read(&mut source, &mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        target.write_all(&buffer[..length])?;
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        sleep(begin.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::{compress, unfinished};
    use hostwright_core::config::logs::rotate::Compression;
    use std::fs;
    use std::io::Read;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_compressed_file_has_the_content_and_the_time_of_the_plain_one() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (plain, target) = (folder.path().join("a.log.1"), folder.path().join("a.log.1.gz"));
        let content = "a line\n".repeat(100_000);
        fs::write(&plain, &content).expect("written");
        for method in [Compression::Gzip, Compression::Zstd] {
            let inode = compress(&plain, &target, method, &AtomicBool::new(false)).expect("compressed");
            let bytes = fs::read(unfinished(&target)).expect("read");
            assert_eq!(inode.size, bytes.len() as u64);
            let mut text = String::new();
            match method {
                Compression::Gzip => flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text),
                Compression::Zstd => {
                    zstd::stream::read::Decoder::new(&bytes[..]).expect("zstd").read_to_string(&mut text)
                }
            }
            .expect("decompressed");
            assert!(text == content);
            let time = |path| fs::metadata(path).and_then(|metadata| metadata.modified()).expect("a time");
            assert_eq!(time(unfinished(&target)), time(plain.clone()));
        }
    }
}
