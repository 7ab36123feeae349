use super::Reason;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
use md5::{Digest as _, Md5};
use std::io;

/// Which checksum proves to a store that what it got is what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Every store checks it.
    #[default]
    Md5,
    /// A third of the work; of what one request carries, for stores that were found to check it and to tell it back.
    Sha256,
    /// CRC64NVME, next to no work; for stores that were found to check it and to tell it back.
    Crc64,
}

/// The checksum of what one request carries. The SHA-256 is computed of the whole in any case and is not one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Md5([u8; 16]),
    Crc64(u64),
}

impl Check {
    /// The MD5.
    ///
    /// # Errors
    /// It is the other one.
    pub(super) fn md5(self) -> Result<[u8; 16], Reason> {
        match self {
            Self::Md5(md5) => Ok(md5),
            Self::Crc64(_) => Err(Reason::Local(io::Error::other("its MD5 was not computed when it was read"))),
        }
    }
}

/// A checksum that is being computed.
pub(super) enum Checking {
    Md5(Md5),
    Crc64(Box<Digest>),
    Nothing,
}

impl Checking {
    pub(super) fn new(proof: Proof) -> Self {
        match proof {
            Proof::Md5 => Self::Md5(Md5::new()),
            Proof::Crc64 => Self::Crc64(Box::new(Digest::new(CrcAlgorithm::Crc64Nvme))),
            Proof::Sha256 => Self::Nothing,
        }
    }

    pub(super) fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Md5(md5) => md5.update(piece),
            Self::Crc64(crc64) => crc64.update(piece),
            Self::Nothing => {}
        }
    }

    pub(super) fn finish(self) -> Option<Check> {
        match self {
            Self::Md5(md5) => Some(Check::Md5(md5.finalize().into())),
            Self::Crc64(crc64) => Some(Check::Crc64(crc64.finalize())),
            Self::Nothing => None,
        }
    }
}

/// The CRC64NVME of what is in memory.
pub(super) fn crc64_of(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

/// As S3 APIs write it.
pub(super) fn in_base64(crc64: u64) -> String {
    BASE64.encode(crc64.to_be_bytes())
}

/// The checksum of what lies behind each other, of the checksums of its pieces and the lengths of all but the first.
pub(super) fn joined(before: u64, (crc64, length): (u64, u64)) -> u64 {
    checksum_combine(CrcAlgorithm::Crc64Nvme, before, crc64, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc64(bytes: &[u8]) -> u64 {
        let mut checking = Checking::new(Proof::Crc64);
        bytes.chunks(1000).for_each(|piece| checking.update(piece));
        assert_eq!(checking.finish(), Some(Check::Crc64(crc64_of(bytes))));
        crc64_of(bytes)
    }

    #[test]
    fn the_checksum_is_that_of_the_nvme_specification_and_joins() {
        // NVM Command Set Specification 1.0, 5.2.1.3.5: 4 KiB of zeros, and of ones.
        assert_eq!(crc64(&[0; 4096]), 0x6482_d367_eb22_b64e);
        assert_eq!(crc64(&[0xff; 4096]), 0xc0dd_ba73_02ec_a3ac);
        assert_eq!(crc64(b"123456789"), joined(crc64(b"1234"), (crc64(b"56789"), 5)));
        assert!(Check::Crc64(1).md5().is_err() && Checking::new(Proof::Sha256).finish().is_none());
    }
}
