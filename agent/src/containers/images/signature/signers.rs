use super::key::Key;
use super::keyless::{Material, Signed, Signer};
use hostwright_core::config::containers::images::Signatures;
use std::fmt;

/// Whoever must have signed an image: one of these.
#[derive(Debug)]
pub struct Signers<'a> {
    keys: Vec<Key>,
    identity: Option<Signer<'a>>,
}

impl<'a> Signers<'a> {
    /// Reads the files of keys, and of what is believed.
    ///
    /// # Errors
    /// A sentence: one of them cannot be read.
    pub fn read(settings: &'a Signatures) -> Result<Self, String> {
        let keys = settings.keys.iter().map(|path| Key::read(path)).collect::<Result<_, _>>()?;
        let identity = settings.identity.as_ref().map(Signer::read).transpose()?;
        Ok(Self { keys, identity })
    }

    /// Who made a signature: the file of a key, or the identity.
    ///
    /// # Errors
    /// A sentence: none of them did.
    pub fn verify(&self, signed: Signed<'_>, material: &Result<Material, String>) -> Result<String, String> {
        if let Some(key) = self.keys.iter().find(|key| key.verify(signed.message, signed.signature)) {
            return Ok(key.path.display().to_string());
        }
        let has_certificate = material.as_ref().is_ok_and(|material| !material.certificates.is_empty());
        match &self.identity {
            Some(signer) if self.keys.is_empty() || has_certificate => {
                let material = material.as_ref().map_err(Clone::clone)?;
                signer.verify(signed, material).map(|()| signer.identity.to_string())
            }
            _ => Err("no key fits its signature".into()),
        }
    }
}

/// Their names, as [`Signers::verify`] says them.
pub fn names(settings: &Signatures) -> Vec<String> {
    let keys = settings.keys.iter().map(|path| path.display().to_string());
    keys.chain(settings.identity.iter().map(ToString::to_string)).collect()
}

impl fmt::Display for Signers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(|key| key.path.display().to_string()).collect();
        match (&keys[..], &self.identity) {
            ([], Some(signer)) => write!(f, "{}", signer.identity),
            (_, None) => write!(f, "one of the keys {}", keys.join(", ")),
            (_, Some(signer)) => write!(f, "one of the keys {}, or {}", keys.join(", "), signer.identity),
        }
    }
}
