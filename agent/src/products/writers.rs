use super::folder::{Folder, is_gone};
use super::found::Found;
use super::open_files::{FileId, OpenFiles};
use nix::errno::Errno;
use nix::libc;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// fcntl(2): which signal is sent. libc has no name for it.
const F_SETSIG: libc::c_int = 10;

static TOLD_OF_HIDDEN: AtomicBool = AtomicBool::new(false);

/// Which of some products somebody writes: by the place in the list, with who it is.
///
/// # Errors
/// `/proc` cannot be read where it is needed.
pub(super) fn writers(folder: &Folder, products: &[Found]) -> io::Result<HashMap<usize, String>> {
    let (mut written, mut unknown) = (HashMap::new(), HashMap::new());
    for (place, product) in products.iter().enumerate() {
        for (path, stamp) in product.files() {
            let id = (stamp.device, stamp.fingerprint.inode);
            match folder.open(&path).and_then(|(file, _)| is_written(&file)) {
                Ok(false) => {}
                Ok(true) => {
                    written.insert(place, id);
                    break;
                }
                // Whoever reads it next finds that out.
                Err(error) if is_gone(&error) => {}
                Err(_) => {
                    unknown.insert(id, place);
                }
            }
        }
    }
    if written.is_empty() && unknown.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: HashSet<FileId> = written.values().chain(unknown.keys()).copied().collect();
    let open = OpenFiles::find(&ids)?;
    if open.hidden > 0 && !unknown.is_empty() && !TOLD_OF_HIDDEN.swap(true, Ordering::Relaxed) {
        log::warn!(
            "products: the open files of {} processes cannot be seen (CAP_SYS_PTRACE is missing), and the kernel grants \
             no leases there: of what they write only the time since the last change tells whether it is finished",
            open.hidden
        );
    }
    let name = |id: &FileId| open.writer(*id).unwrap_or("a process that cannot be seen from here").to_owned();
    let mut who: HashMap<usize, String> = written.iter().map(|(place, id)| (*place, name(id))).collect();
    who.extend(unknown.iter().filter_map(|(id, place)| Some((*place, open.writer(*id)?.to_owned()))));
    Ok(who)
}

/// Whether anybody has a file open for writing, or mapped so that he may write: then the kernel gives no read lease
/// (fcntl(2), F_SETLEASE). This is cheaper than a look at all processes, and sees those in other PID namespaces.
#[expect(unsafe_code, reason = "nix has no F_SETLEASE; the calls take numbers alone")]
fn is_written(file: &File) -> io::Result<bool> {
    let descriptor = file.as_raw_fd();
    // Whoever opens the file between the two calls makes the kernel send a signal: one that is ignored by default.
    // SAFETY: the descriptor is open for the length of the calls, which touch no memory of ours.
    let leased = unsafe {
        libc::fcntl(descriptor, F_SETSIG, libc::SIGURG);
        libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_RDLCK)
    };
    if leased == -1 {
        return if Errno::last() == Errno::EAGAIN { Ok(true) } else { Err(io::Error::last_os_error()) };
    }
    // SAFETY: as above.
    unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK) };
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::writers;
    use crate::products::folder::Folder;
    use crate::products::found::Found;
    use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
    use std::fs::{self, File, OpenOptions};
    use std::num::NonZeroUsize;

    #[test]
    fn whoever_writes_or_has_mapped_for_writing_is_seen_and_readers_do_not_count() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for name in ["read", "written", "mapped"] {
            fs::write(folder.path().join(name), vec![0; 8192]).expect("written");
        }
        let watched = Folder::new(folder.path().to_owned());
        let found = |name: &str| Found::file(name.into(), watched.stamp(name).expect("there"));
        let products = [found("read"), found("written"), found("mapped")];
        let reader = File::open(folder.path().join("read")).expect("opened");
        let writer = OpenOptions::new().append(true).open(folder.path().join("written")).expect("opened");
        let mapped = OpenOptions::new().read(true).write(true).open(folder.path().join("mapped")).expect("opened");
        let length = NonZeroUsize::new(8192).expect("length");
        #[expect(unsafe_code, reason = "there is no other way to map a file")]
        // SAFETY: nobody makes the file shorter while it is mapped.
        let memory = unsafe {
            mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &mapped, 0)
        }
        .expect("mapped");
        drop(mapped);
        let who = writers(&watched, &products).expect("looked");
        assert!(!who.contains_key(&0) && who.contains_key(&2), "{who:?}");
        assert!(who[&1].contains(&std::process::id().to_string()), "{who:?}");
        #[expect(unsafe_code, reason = "as above")]
        // SAFETY: nothing of it is used after.
        unsafe { munmap(memory, 8192) }.expect("unmapped");
        drop((reader, writer));
        assert!(writers(&watched, &products).expect("looked").is_empty());
    }
}
