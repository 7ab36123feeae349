use super::fetch::{Buckets, fetch};
use super::packages;
use super::storage::{device, partitions, signature};
use super::volume_command::run;
use super::volume_seal::Seal;
use super::volume_tools::missing_packages;
use super::{Action, Context, Failure, Outcome, accounts};
use crate::boot::userdata::boot_section::{Volume, VolumeKey};
use hostwright_core::atomic_file;
use serde::Serialize;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A volume is attached a moment after the machine starts.
const ATTACHED: Duration = Duration::from_secs(20);
const MAX_KEY: u64 = 8 << 20;
const TPM_DEVICE: &str = "/dev/tpmrm0";
const NEEDS_TPM: &str = "a volume with key: tpm2 needs a machine with a TPM 2.0; else name a key file";

/// An encrypted volume: made once on an empty device, opened and mounted at each boot, never made again over anything.
#[derive(Serialize)]
pub struct OpenVolume {
    volume: Volume,
    #[serde(skip)]
    buckets: Buckets,
}

impl OpenVolume {
    pub fn new(volume: &Volume, buckets: &Buckets) -> Self {
        Self { volume: volume.clone(), buckets: buckets.clone() }
    }
}

impl Action for OpenVolume {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let device = self.device(context)?;
        let mapped = Path::new("/dev/mapper").join(&self.volume.name);
        if matches!(self.volume.key, VolumeKey::Tpm2 { .. }) && !context.host.path(TPM_DEVICE).exists() {
            return Err(Failure::new("this machine has no TPM 2.0", NEEDS_TPM));
        }
        packages::install(context, &missing_packages(context.host, &self.volume))?;
        if !context.host.path(&mapped).exists() {
            let key = self.key(context)?;
            self.make_if_empty(context, &device, key.as_deref())?;
            self.open(context, &device, key.as_deref())?;
        }
        self.furnish(context, &mapped)?;
        self.mount(context, &mapped)?;
        Ok(Outcome::Done)
    }
}

impl OpenVolume {
    fn run(&self, context: &Context<'_>, words: &[&str], input: Option<Vec<u8>>) -> Result<(), Failure> {
        run(context, &self.volume.name, words, input)
    }

    fn device(&self, context: &Context<'_>) -> Result<PathBuf, Failure> {
        let name = &self.volume.device;
        let missing =
            |why: String| Failure::new(why, "attach the volume, or correct its device; the next boot tries again");
        let path = device(name).ok_or_else(|| missing(format!("{name} is no device")))?;
        let until = Instant::now() + ATTACHED;
        while !context.host.path(&path).exists() {
            if Instant::now() > until {
                return Err(missing(format!("there is no device {} after {} s", path.display(), ATTACHED.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(path)
    }

    /// Nothing where the TPM has it.
    fn key(&self, context: &Context<'_>) -> Result<Option<Vec<u8>>, Failure> {
        match &self.volume.key {
            VolumeKey::Tpm2 { .. } => Ok(None),
            VolumeKey::Fetched(from) => {
                let key = fetch(context, from, &self.buckets, MAX_KEY)?;
                if key.is_empty() {
                    return Err(Failure::new("its key is empty", "put the key into the file"));
                }
                Ok(Some(key))
            }
        }
    }

    /// Kept from before the first byte is written: by it a device that was cut off half-way is known as ours.
    fn note(&self, context: &Context<'_>, word: &str) -> PathBuf {
        context.folder.join(format!("volume-{}-{word}", self.volume.name))
    }

    fn make_if_empty(&self, context: &Context<'_>, device: &Path, key: Option<&[u8]>) -> Result<(), Failure> {
        let [begun, made] = ["begun", "made"].map(|word| self.note(context, word));
        let found = signature(context.host, device)?;
        let is_luks = found.kind == "crypto_LUKS";
        if made.exists() || (is_luks && !begun.exists()) {
            return if is_luks {
                Ok(())
            } else {
                Err(Failure::new(
                    format!("{} is no longer the encrypted volume that was made of it", device.display()),
                    "see what became of the device; nothing is written to it",
                ))
            };
        }
        let has_parts = !partitions(context.host, device).is_empty();
        if (!found.is_empty() || has_parts) && !begun.exists() {
            let what = if found.kind.is_empty() { "a partition table".to_owned() } else { found.kind };
            return Err(Failure::new(
                format!("{} holds something already ({what}): no volume is made of it", device.display()),
                "attach an empty device; if what is there may be lost, clear it with wipefs --all",
            ));
        }
        let noted = |path: &Path| {
            atomic_file::replace(path, b"", 0o600).map_err(|e| Failure::io("note that a volume is made", &e))
        };
        noted(&begun)?;
        match key {
            Some(key) => self.format(context, device, key.to_vec())?,
            None => self.format_with_tpm(context, device)?,
        }
        noted(&made)
    }

    fn format(&self, context: &Context<'_>, device: &Path, key: Vec<u8>) -> Result<(), Failure> {
        let path = device.display().to_string();
        self.run(
            context,
            &["cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", "--key-file", "-", &path],
            Some(key),
        )
    }

    /// A key that nobody sees makes it, hands over to the TPM and to the recovery key, and is taken away.
    fn format_with_tpm(&self, context: &Context<'_>, device: &Path) -> Result<(), Failure> {
        // First of all: a volume without the recovery key that was wanted is not made.
        let recovery = self.recovery(context)?;
        let mut key = vec![0; 64];
        getrandom::fill(&mut key).map_err(|e| Failure::io("make a key", &std::io::Error::other(e)))?;
        self.format(context, device, key.clone())?;
        Seal { context, volume: &self.volume, device }.hand_over(&key, recovery)
    }

    /// What opens a volume of a TPM that is gone.
    fn recovery(&self, context: &Context<'_>) -> Result<Option<Vec<u8>>, Failure> {
        let VolumeKey::Tpm2 { recovery: Some(from) } = &self.volume.key else { return Ok(None) };
        let key = fetch(context, from, &self.buckets, MAX_KEY)
            .map_err(|failure| Failure::new(format!("its recovery key: {}", failure.why), failure.remedy))?;
        if key.is_empty() {
            return Err(Failure::new("its recovery key is empty", "put the key into the file"));
        }
        Ok(Some(key))
    }

    fn open(&self, context: &Context<'_>, device: &Path, key: Option<&[u8]>) -> Result<(), Failure> {
        let (path, name) = (device.display().to_string(), self.volume.name.as_str());
        let Some(key) = key else {
            let sealed = Seal { context, volume: &self.volume, device };
            return sealed.open().or_else(|failure| match self.recovery(context) {
                Ok(Some(key)) => sealed.recover(&key),
                Ok(None) => Err(failure),
                Err(other) => Err(Failure::new(format!("{}; {}", failure.why, other.why), other.remedy)),
            });
        };
        self.run(context, &["cryptsetup", "open", "--key-file", "-", &path, name], Some(key.to_vec()))
            .map_err(|failure| Failure::new(failure.why, "see that the key is the one with which the volume was made"))
    }

    /// A file system, where there is nothing at all.
    fn furnish(&self, context: &Context<'_>, mapped: &Path) -> Result<(), Failure> {
        if !signature(context.host, mapped)?.is_empty() {
            return Ok(());
        }
        let program = format!("mkfs.{}", self.volume.filesystem);
        self.run(context, &[&program, &mapped.display().to_string()], None)
    }

    fn mount(&self, context: &Context<'_>, mapped: &Path) -> Result<(), Failure> {
        let Some(place) = &self.volume.mount else { return Ok(()) };
        let mounts = std::fs::read_to_string(context.host.proc("self/mounts")).unwrap_or_default();
        let text = place.display().to_string();
        if !mounts.lines().any(|line| line.split(' ').nth(1) == Some(&text)) {
            let here = context.host.path(place);
            std::fs::create_dir_all(&here).map_err(|e| Failure::io(format!("make {text}"), &e))?;
            self.run(context, &["mount", &mapped.display().to_string(), &text], None)?;
        }
        let (user, group) = accounts::owner(context.host, &self.volume.owner)?;
        chown(context.host.path(place), user, group).map_err(|e| Failure::io(format!("give {text} to its owner"), &e))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Context};
    use super::OpenVolume;
    use crate::boot::host::Host;
    use crate::boot::userdata::boot_section::{Fetched, Volume, VolumeKey};
    use std::path::Path;
    use std::process::Command;

    fn volume(device: &str) -> OpenVolume {
        let fetched = Fetched { from: "/none".into(), sha256: None, signed_by: None };
        let volume = Volume {
            name: "data".into(),
            device: device.into(),
            key: VolumeKey::Fetched(fetched),
            filesystem: "ext4".into(),
            mount: None,
            owner: "root:root".into(),
        };
        OpenVolume::new(&volume, &Default::default())
    }

    #[test]
    fn without_a_tpm_nothing_is_made_that_only_a_tpm_could_open() {
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir(tree.path().join("dev"))
            .and_then(|()| std::fs::write(tree.path().join("dev/vdb"), ""))
            .expect("disk");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: tree.path().to_owned(), resumed: false };
        let mut step = volume("/dev/vdb");
        step.volume.key = VolumeKey::Tpm2 { recovery: None };
        assert_eq!(Action::run(&step, &context).expect_err("refused").why, "this machine has no TPM 2.0");
    }

    #[test]
    fn an_empty_device_becomes_a_volume_once_and_one_that_holds_anything_never() {
        if !nix::unistd::geteuid().is_root() {
            return; // blkid reads devices as root
        }
        let folder = tempfile::tempdir().expect("temporary folder");
        let host = Host::new("/".into(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: folder.path().to_owned(), resumed: false };
        let path = folder.path().join("disk");
        let step = volume(&path.display().to_string());
        std::fs::File::create(&path).and_then(|file| file.set_len(32 << 20)).expect("made");
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&path).status().expect("mkfs.ext4");
        assert!(made.success());
        let refused = step.make_if_empty(&context, &path, Some(b"key")).expect_err("refused");
        assert!(refused.why.contains("holds something already (ext4)"), "{refused:?}");
        std::fs::File::create(&path).and_then(|file| file.set_len(32 << 20)).expect("emptied");
        step.make_if_empty(&context, &path, Some(b"key")).expect("made");
        let header = |path: &Path| std::fs::read(path).expect("read")[..4096].to_vec();
        let before = header(&path);
        assert!(before.starts_with(b"LUKS"));
        step.make_if_empty(&context, &path, Some(b"key")).expect("it is there");
        assert_eq!(header(&path), before);
        // The disk was exchanged: nothing is made of the new one.
        std::fs::File::create(&path).and_then(|file| file.set_len(32 << 20)).expect("emptied");
        let refused = step.make_if_empty(&context, &path, Some(b"key")).expect_err("refused");
        assert!(refused.why.contains("no longer the encrypted volume"), "{refused:?}");
        assert!(header(&path).iter().all(|byte| *byte == 0));
    }
}
