//! How memory goes back to the system.

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
