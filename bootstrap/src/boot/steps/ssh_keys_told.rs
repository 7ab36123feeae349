use super::{Action, Context, Failure, Outcome, accounts};
use crate::boot::console::Console;
use crate::boot::host::read_bounded;
use crate::boot::userdata::ssh::Told;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Far more than anybody's keys.
const MAX_FILE: u64 = 1 << 20;

/// The server's keys and those of its users on the console, by which people know the host when they first log in.
#[derive(Serialize)]
pub struct TellSshKeys {
    told: Told,
    users: Vec<String>,
}

impl TellSshKeys {
    pub fn new(told: &Told, users: Vec<String>) -> Self {
        Self { told: told.clone(), users }
    }
}

impl Action for TellSshKeys {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let console = Console::new(context.host);
        if self.told.host_keys {
            self.server(context).iter().for_each(|line| console.plain(line));
        }
        if self.told.authorized_keys {
            for user in &self.users {
                for line in of_user(context, user)? {
                    console.plain(&line);
                }
            }
        }
        Ok(Outcome::Done)
    }
}

impl TellSshKeys {
    /// Between the marks that cloud-init's helper prints, which others look for on consoles.
    fn server(&self, context: &Context<'_>) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(context.host.path("/etc/ssh")) else { return Vec::new() };
        let is_public = |path: &std::path::Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("ssh_host_") && name.ends_with("_key.pub")
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| is_public(path)).collect();
        paths.sort();
        let texts = paths.iter().filter_map(|path| read_bounded(path, MAX_FILE).ok());
        let keys: Vec<_> = texts.map(|text| String::from_utf8_lossy(&text).trim().to_owned()).collect();
        if keys.is_empty() {
            return Vec::new();
        }
        let without = |list: &[String], key: &&String| !list.iter().any(|kind| key.starts_with(kind.as_str()));
        let told =
            keys.iter().filter(|key| without(&self.told.without_fingerprints, key)).filter_map(|key| fingerprint(key));
        let mut lines = vec!["-----BEGIN SSH HOST KEY FINGERPRINTS-----".to_owned()];
        lines.extend(told);
        lines.push("-----END SSH HOST KEY FINGERPRINTS-----".to_owned());
        lines.push("-----BEGIN SSH HOST KEY KEYS-----".to_owned());
        lines.extend(keys.iter().filter(|key| without(&self.told.without_keys, key)).cloned());
        lines.push("-----END SSH HOST KEY KEYS-----".to_owned());
        lines
    }
}

fn of_user(context: &Context<'_>, user: &str) -> Result<Vec<String>, Failure> {
    let Some(account) = accounts::user(context.host, user)? else { return Ok(Vec::new()) };
    let path = context.host.path(&account.home).join(".ssh/authorized_keys");
    let Ok(text) = read_bounded(&path, MAX_FILE) else { return Ok(Vec::new()) };
    let text = String::from_utf8_lossy(&text).into_owned();
    let told = text.lines().filter_map(fingerprint).map(|line| format!("authorized key of {user}: {line}"));
    Ok(told.collect())
}

/// As `ssh-keygen -l` prints it: bits, digest, comment and type.
fn fingerprint(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().skip_while(|word| !is_type(word));
    let (kind, blob) = (words.next()?, BASE64_STANDARD.decode(words.next()?).ok()?);
    let comment = words.collect::<Vec<_>>().join(" ");
    let comment = if comment.is_empty() { "no comment" } else { &comment };
    let (bits, name) = match kind {
        "ssh-ed25519" | "sk-ssh-ed25519@openssh.com" => (256, "ED25519"),
        "ssh-rsa" => (rsa_bits(&blob)?, "RSA"),
        "ssh-dss" => (1024, "DSA"),
        "ecdsa-sha2-nistp384" => (384, "ECDSA"),
        "ecdsa-sha2-nistp521" => (521, "ECDSA"),
        _ => (256, "ECDSA"),
    };
    Some(format!("{bits} SHA256:{} {comment} ({name})", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(&blob))))
}

fn is_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-"].iter().any(|start| word.starts_with(start))
}

/// The length of the modulus, the third of the blob's fields.
fn rsa_bits(blob: &[u8]) -> Option<usize> {
    let mut rest = blob;
    let mut field: &[u8] = &[];
    for _ in 0..3 {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        (field, rest) = after.split_at_checked(length)?;
    }
    let first = field.iter().position(|byte| *byte != 0)?;
    let leading = usize::try_from(field[first].leading_zeros()).ok()?;
    Some((field.len() - first) * 8 - leading)
}

#[cfg(test)]
mod tests {
    use super::fingerprint;
    use std::process::Command;

    #[test]
    fn fingerprints_are_those_that_ssh_keygen_prints() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (kind, options) in [("ed25519", &[][..]), ("ecdsa", &["-b", "384"]), ("rsa", &["-b", "2048"])] {
            let path = folder.path().join(kind);
            let mut made = Command::new("ssh-keygen");
            made.args(["-q", "-N", "", "-C", "a b", "-t", kind]).args(options).arg("-f").arg(&path);
            assert!(made.status().expect("ssh-keygen is installed").success());
            let public = path.with_extension("pub");
            let told = Command::new("ssh-keygen").arg("-lf").arg(&public).output().expect("told").stdout;
            let text = std::fs::read_to_string(&public).expect("read");
            assert_eq!(fingerprint(&text), Some(String::from_utf8_lossy(&told).trim().to_owned()));
            assert_eq!(fingerprint(&format!("command=\"x y\" {text}")), fingerprint(&text));
        }
        assert_eq!(fingerprint("# nothing"), None);
    }
}
