use super::volume_command::run;
use super::{Context, Failure};
use crate::boot::userdata::boot_section::Volume;
use hostwright_core::atomic_file;
use std::path::Path;

const CRYPTSETUP: &str = "/usr/lib/systemd/systemd-cryptsetup";
/// In memory; what lies there is gone when the machine stops.
const FOLDER: &str = "/run/hostwright";

/// A volume whose key the machine's TPM has.
pub struct Seal<'a> {
    pub context: &'a Context<'a>,
    pub volume: &'a Volume,
    /// The device under it.
    pub device: &'a Path,
}

impl Seal<'_> {
    /// Gives the volume to the TPM, and to the recovery key where there is one; the key that made it opens it no more.
    ///
    /// # Errors
    /// The TPM does not take it.
    pub fn hand_over(&self, key: &[u8], recovery: Option<Vec<u8>>) -> Result<(), Failure> {
        let device = self.device.display().to_string();
        self.with_key_file(key, |file| {
            if let Some(recovery) = recovery {
                let add = ["cryptsetup", "luksAddKey", "--batch-mode", "--key-file", file, &device, "-"];
                self.run(&add, Some(recovery))?;
            }
            self.enroll(file)?;
            self.run(&["cryptsetup", "luksRemoveKey", "--batch-mode", &device, file], None)
        })
    }

    /// By the TPM.
    ///
    /// # Errors
    /// It does not open it.
    pub fn open(&self) -> Result<(), Failure> {
        let device = self.device.display().to_string();
        let attach = [CRYPTSETUP, "attach", &self.volume.name, &device, "none", "tpm2-device=auto,headless=true"];
        self.run(&attach, None).map_err(|failure| {
            Failure::new(
                failure.why,
                "only the TPM that sealed its key opens it, with the Secure Boot settings of that day; nothing is written to it",
            )
        })
    }

    /// By the recovery key, when the TPM is another one; from now on that one opens it.
    ///
    /// # Errors
    /// The key is another one too. That the TPM does not take the volume is only told: the volume is open.
    pub fn recover(&self, key: &[u8]) -> Result<(), Failure> {
        let device = self.device.display().to_string();
        let open = ["cryptsetup", "open", "--key-file", "-", &device, &self.volume.name];
        self.run(&open, Some(key.to_vec())).map_err(|failure| {
            Failure::new(
                format!("neither the TPM nor its recovery key opens it: {}", failure.why),
                "give the recovery key with which the volume was made; nothing is written to it",
            )
        })?;
        let sealed = self.with_key_file(key, |file| {
            // First the other TPM's: where both have the same settings, the old one would pass for the new.
            self.run(&["systemd-cryptenroll", "--wipe-slot=tpm2", &device], None)?;
            self.enroll(file)
        });
        match sealed {
            Ok(()) => log::warn!("the volume {} was opened by its recovery key and sealed anew", self.volume.name),
            Err(failure) => log::warn!("the volume {} is open by its recovery key: {}", self.volume.name, failure.why),
        }
        Ok(())
    }

    fn enroll(&self, key_file: &str) -> Result<(), Failure> {
        let (unlock, device) = (format!("--unlock-key-file={key_file}"), self.device.display().to_string());
        self.run(&["systemd-cryptenroll", &unlock, "--tpm2-device=auto", &device], None)
            .map_err(|failure| Failure::new(format!("the TPM does not take its key: {}", failure.why), failure.remedy))
    }

    /// A file of root's with the key, as long as something is done with it.
    fn with_key_file(&self, key: &[u8], work: impl FnOnce(&str) -> Result<(), Failure>) -> Result<(), Failure> {
        let file = format!("{FOLDER}/{}.key", self.volume.name);
        let here = self.context.host.path(&file);
        let folder = self.context.host.path(FOLDER);
        let written = std::fs::create_dir_all(folder).and_then(|()| atomic_file::replace(&here, key, 0o600));
        let done = written.map_err(|e| Failure::io("hand over a key", &e)).and_then(|()| work(&file));
        let _ = std::fs::remove_file(&here); // it lies in memory, for root alone
        done
    }

    fn run(&self, words: &[&str], input: Option<Vec<u8>>) -> Result<(), Failure> {
        run(self.context, &self.volume.name, words, input)
    }
}
