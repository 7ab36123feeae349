use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};

/// Object identifiers, as they stand in a key's DER (RFC 5480, 8410, 8017).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const EDWARDS: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// The identifiers stand at the very beginning.
const HEADER: usize = 32;

/// A public key that images may be signed with.
#[derive(Debug)]
pub struct Key {
    pub path: PathBuf,
    algorithm: &'static dyn VerificationAlgorithm,
    der: Vec<u8>,
}

impl Key {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// A sentence: it cannot be read, or is no public key of a kind that is known here.
    pub fn read(path: &Path) -> Result<Self, String> {
        let pem = std::fs::read(path).map_err(|error| wrong(path, &error))?;
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&pem).map_err(|error| wrong(path, &error))?;
        Self::of(path, der.to_vec())
    }

    /// Takes a key's DER, which was found in a file.
    ///
    /// # Errors
    /// A sentence: it is of no kind that is known here.
    pub fn of(path: &Path, der: Vec<u8>) -> Result<Self, String> {
        let header = &der[..der.len().min(HEADER)];
        let has = |id: &[u8]| header.windows(id.len()).any(|window| window == id);
        let algorithm: &'static dyn VerificationAlgorithm = if has(P256) {
            &ECDSA_P256_SHA256_ASN1
        } else if has(P384) {
            &ECDSA_P384_SHA256_ASN1
        } else if has(EDWARDS) {
            &ED25519
        } else if has(RSA) {
            &RSA_PKCS1_2048_8192_SHA256
        } else {
            return Err(wrong(path, &"it is neither ECDSA (P-256, P-384) nor Ed25519 nor RSA"));
        };
        Ok(Self { path: path.to_owned(), algorithm, der })
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.der).verify(message, signature).is_ok()
    }
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("cannot use the public key in {}: {why}; cosign public-key prints the right form", path.display())
}

#[cfg(test)]
mod tests {
    use super::Key;
    use std::process::Command;

    /// Keys and signatures of openssl itself.
    fn openssl(folder: &std::path::Path, arguments: &str) {
        let output = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output().expect("openssl");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn keys_of_each_kind_verify_what_openssl_has_signed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("m"), "message").expect("written");
        for (make, sign) in [
            ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", "dgst -sha256 -sign k -out s m"),
            ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", "dgst -sha256 -sign k -out s m"),
            ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", "dgst -sha256 -sign k -out s m"),
            ("genpkey -algorithm ED25519", "pkeyutl -sign -inkey k -rawin -in m -out s"),
        ] {
            openssl(folder.path(), &format!("{make} -out k"));
            openssl(folder.path(), "pkey -in k -pubout -out k.pub");
            openssl(folder.path(), sign);
            let key = Key::read(&folder.path().join("k.pub")).expect(make);
            let mut signature = std::fs::read(folder.path().join("s")).expect("signed");
            assert!(key.verify(b"message", &signature), "{make}");
            assert!(!key.verify(b"massage", &signature), "{make}");
            if let Some(last) = signature.last_mut() {
                *last ^= 1;
            }
            assert!(!key.verify(b"message", &signature), "{make}");
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused_with_its_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("k.pub");
        for text in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            std::fs::write(&path, text).expect("written");
            assert!(Key::read(&path).is_err_and(|why| why.contains("k.pub")), "{text}");
        }
    }
}
