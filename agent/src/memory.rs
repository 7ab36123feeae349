//! How memory goes back to the system.

use nix::sys::mman::{MmapAdvise, madvise};
use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;

/// From this size on, a buffer is a mapping of its own, which goes back to the system as a whole when it is freed.
#[cfg(target_env = "gnu")]
const OWN_MAPPING: nix::libc::c_int = 128 << 10;

/// Keeps glibc from raising that size with each large buffer that is freed (mallopt(3), dynamic mmap threshold): batches
/// would pile up in the heaps of all threads otherwise, at twice the memory.
pub fn give_back_large_buffers() {
    #[cfg(target_env = "gnu")]
    {
        #![expect(unsafe_code, reason = "mallopt only sets numbers of the allocator; no other thread runs yet")]
        // SAFETY: the parameter is one that mallopt knows, and the value within its bounds.
        unsafe { nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, OWN_MAPPING) };
    }
}

/// What is free in the heaps goes back to the system after thousands of things were made: what it took to make them lies
/// between them, and stays resident otherwise.
#[derive(Debug, Default)]
pub struct Heaps {
    things: usize,
    /// How many there were when the heaps were last trimmed for good.
    trimmed: usize,
    /// How often there were as many as the time before.
    calm: usize,
}

impl Heaps {
    /// So many more or fewer are worth some milliseconds.
    const MANY: usize = 1000;
    /// The first time others may still be at work with what was made.
    const WHEN: [usize; 2] = [1, 4];

    /// Says how many things there are, from time to time: the heaps are trimmed when that stays the same.
    pub fn hold(&mut self, things: usize) {
        self.calm = if std::mem::replace(&mut self.things, things) == things { self.calm + 1 } else { 0 };
        if things.abs_diff(self.trimmed) < Self::MANY || !Self::WHEN.contains(&self.calm) {
            return;
        }
        trim();
        if self.calm == Self::WHEN[1] {
            self.trimmed = things;
        }
    }
}

fn trim() {
    #[cfg(target_env = "gnu")]
    {
        #![expect(unsafe_code, reason = "malloc_trim lets go of pages that hold nothing")]
        // SAFETY: it takes the allocator's own locks, and touches free memory alone.
        unsafe { nix::libc::malloc_trim(0) };
    }
}

/// Lets go of the pages of the program and its libraries that were needed once: reading the configuration, setting up
/// TLS. Those that are needed again are mapped again from the file, a few microseconds each.
///
/// # Errors
/// The kernel does not tell what is mapped, or refuses.
pub fn give_back_unused_code() -> io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (start, length) in maps.lines().filter_map(code_of) {
        let Some(address) = NonNull::new(std::ptr::with_exposed_provenance_mut::<c_void>(start)) else { continue };
        #[expect(unsafe_code, reason = "code that is never written is the same when it is mapped from the file again")]
        // SAFETY: a private mapping of a file that cannot be written: the kernel maps the same bytes at the next use.
        unsafe {
            madvise(address, length, MmapAdvise::MADV_DONTNEED)?;
        }
    }
    Ok(())
}

/// Where a line of proc_pid_maps(5) has a file's code, or its constants: the beginning of the file. What the loader has
/// relocated, and what must not be mapped anew, is in other mappings; a file that was replaced has its old content still.
fn code_of(line: &str) -> Option<(usize, usize)> {
    let (range, rest) = line.split_once(" r-xp ").or_else(|| line.split_once(" r--p 00000000 "))?;
    if !rest.contains(" /") {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::{code_of, give_back_unused_code};

    #[test]
    fn only_code_of_files_is_let_go() {
        let of = code_of;
        assert_eq!(of("55d0000-55d2000 r-xp 00001000 fe:00 1 /usr/bin/a"), Some((0x55d_0000, 0x2000)));
        assert_eq!(of("55d0000-55d2000 r--p 00001000 fe:00 1 /usr/bin/a"), None);
        assert_eq!(of("55d0000-55d2000 r--p 00000000 fe:00 1 /usr/bin/a"), Some((0x55d_0000, 0x2000)));
        assert_eq!(of("55d0000-55d2000 r-xp 00001000 fe:00 1 /usr/lib/libc.so.6"), Some((0x55d_0000, 0x2000)));
        assert_eq!(of("55d0000-55d2000 r-xp 00000000 00:00 0"), None);
        assert_eq!(of("55d0000-55d2000 rwxp 00000000 fe:00 1 /usr/bin/a"), None);
        assert_eq!(of("7fff0000-7fff2000 r-xp 00000000 00:00 0 [vdso]"), None);
        assert_eq!(of("x"), None);
    }

    #[test]
    fn the_program_goes_on_afterwards() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").expect("read");
            statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number")
        };
        let before = resident();
        give_back_unused_code().expect("given back");
        assert!(resident() < before, "{} pages", resident());
    }
}
