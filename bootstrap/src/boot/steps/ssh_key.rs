use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::io;

/// A key pair in the files of OpenSSH, as ssh-keygen writes them without a passphrase and a comment.
pub struct SshKey {
    /// The private key's file.
    pub private: String,
    /// The public key's file.
    pub public: String,
}

const ED25519: &[u8] = b"ssh-ed25519";
const ECDSA: &[u8] = b"ecdsa-sha2-nistp256";
/// Of an unencrypted key, by openssh-portable's PROTOCOL.key.
const BLOCK: usize = 8;
const LINE: usize = 70;
/// More than one is needed once in four billion times; a library that refuses them all takes none.
const TRIES: usize = 8;

/// A new key of one of the kinds that cost next to nothing; none of another kind.
///
/// Its random bytes are the kernel's, which are there when they are good: the library's own would cost more than a process.
///
/// # Errors
/// There is no randomness.
pub fn make(kind: &str) -> Option<io::Result<SshKey>> {
    match kind {
        "ed25519" => Some(ed25519()),
        "ecdsa" => Some(ecdsa()),
        _ => None,
    }
}

fn ed25519() -> io::Result<SshKey> {
    let seed = random()?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(io::Error::other)?;
    let point = pair.public_key().as_ref();
    let public = [string(ED25519), string(point)].concat();
    let secret = [public.clone(), string(&[seed.as_slice(), point].concat())].concat();
    Ok(files("ssh-ed25519", &public, &secret))
}

fn ecdsa() -> io::Result<SshKey> {
    for _ in 0..TRIES {
        let number = random()?;
        // One number in four billion is too large for the curve, which is asked here.
        let Ok(private) = PrivateKey::from_private_key(&ECDH_P256, &number) else { continue };
        let point = private.compute_public_key().map_err(io::Error::other)?;
        let public = [string(ECDSA), string(b"nistp256"), string(point.as_ref())].concat();
        let secret = [public.clone(), string(&positive(&number))].concat();
        return Ok(files("ecdsa-sha2-nistp256", &public, &secret));
    }
    Err(io::Error::other(format!("{TRIES} random numbers in turn were refused as keys of nistp256")))
}

fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

fn files(name: &str, public: &[u8], secret: &[u8]) -> SshKey {
    // Two equal numbers, by which a reader sees that it decrypted; there is nothing to decrypt.
    let mut inner = [&[0; 8], secret, &string(b"")].concat();
    inner.extend((1..=BLOCK as u8).take((BLOCK - inner.len() % BLOCK) % BLOCK));
    let none = string(b"none");
    let whole =
        [b"openssh-key-v1\0", none.as_slice(), &none, &string(b""), &[0, 0, 0, 1], &string(public), &string(&inner)]
            .concat();
    let text = BASE64_STANDARD.encode(whole);
    let mut private = "-----BEGIN OPENSSH PRIVATE KEY-----\n".to_owned();
    for line in text.as_bytes().chunks(LINE) {
        private.push_str(&String::from_utf8_lossy(line));
        private.push('\n');
    }
    private.push_str("-----END OPENSSH PRIVATE KEY-----\n");
    SshKey { private, public: format!("{name} {}\n", BASE64_STANDARD.encode(public)) }
}

/// Its length, then its bytes: no key comes near the limit of 4 GiB.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// A number without leading zeros, and with one where its first bit would make it negative.
fn positive(number: &[u8]) -> Vec<u8> {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let digits = &number[first..];
    let sign: &[u8] = if digits.first().is_some_and(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    [sign, digits].concat()
}

#[cfg(test)]
mod tests {
    use super::{make, positive};
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    #[test]
    fn ssh_keygen_reads_the_keys_and_finds_their_public_halves() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (kind, name) in [("ed25519", "(ED25519)"), ("ecdsa", "(ECDSA)")] {
            // A number with a leading zero comes once in 256 keys.
            for round in 0..40 {
                let key = make(kind).expect("a kind").expect("made");
                let path = folder.path().join(format!("{kind}-{round}"));
                std::fs::write(&path, &key.private).expect("written");
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
                let told = Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(&path).output().expect("run");
                let told = String::from_utf8_lossy(&told.stdout).into_owned();
                assert_eq!(told.trim(), key.public.trim(), "{kind}");
                std::fs::write(path.with_extension("pub"), &key.public).expect("written");
            }
            let told = Command::new("ssh-keygen").arg("-lf").arg(folder.path().join(format!("{kind}-0.pub"))).output();
            assert!(String::from_utf8_lossy(&told.expect("run").stdout).contains(name));
        }
        assert!(make("rsa").is_none());
    }

    #[test]
    fn numbers_are_as_short_as_they_can_be_and_never_negative() {
        assert_eq!(positive(&[0, 0, 1]), [1]);
        assert_eq!(positive(&[0, 0x80]), [0, 0x80]);
        assert_eq!(positive(&[0x7f, 0]), [0x7f, 0]);
    }
}
