use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hostwright_core::secret::Secret;
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Semaphore;

/// As many checked passwords are remembered of either kind; the original remembers as many.
const MOST_REMEMBERED: usize = 100;

/// A user with a hash and a password, of which nothing can be told.
type Fingerprint = [u8; 32];

/// Who may ask. bcrypt is slow on purpose, so what was checked is remembered.
#[derive(Debug)]
pub struct Credentials {
    right: Mutex<Recent>,
    wrong: Mutex<Recent>,
    /// One password is checked at a time: many at once would take every CPU.
    turn: Semaphore,
}

impl Default for Credentials {
    fn default() -> Self {
        Self { right: Mutex::default(), wrong: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl Credentials {
    /// Whether the request's name and password are a user's. Without users everybody may ask.
    pub async fn admit(&self, users: &BTreeMap<String, Secret>, authorization: Option<&HeaderValue>) -> bool {
        // Whoever is no user is checked against somebody's hash, so that the time taken tells nobody who is one.
        let Some(any) = users.values().next() else { return true };
        let Some((name, password)) = authorization.and_then(basic) else { return false };
        let user = std::str::from_utf8(&name).ok().and_then(|name| users.get(name));
        let hash = user.unwrap_or(any);
        let fingerprint = fingerprint(&[&name, hash.expose().as_bytes(), &password]);
        if let Some(known) = self.known(&fingerprint) {
            return known && user.is_some();
        }
        let Ok(_turn) = self.turn.acquire().await else { return false };
        // Somebody with the same password may have been before.
        let fits = match self.known(&fingerprint) {
            Some(known) => known,
            None => verify(password, hash.clone()).await,
        };
        let right = fits && user.is_some();
        let recent = if right { &self.right } else { &self.wrong };
        recent.lock().unwrap_or_else(PoisonError::into_inner).remember(fingerprint);
        right
    }

    fn known(&self, fingerprint: &Fingerprint) -> Option<bool> {
        let holds =
            |recent: &Mutex<Recent>| recent.lock().unwrap_or_else(PoisonError::into_inner).known.contains(fingerprint);
        if holds(&self.right) { Some(true) } else { holds(&self.wrong).then_some(false) }
    }
}

async fn verify(password: Vec<u8>, hash: Secret) -> bool {
    let check = move || bcrypt::verify(password, hash.expose()).unwrap_or(false);
    tokio::task::spawn_blocking(check).await.unwrap_or(false)
}

/// Name and password (RFC 7617, 2): base 64 of both with a colon between them.
fn basic(authorization: &HeaderValue) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, rest) = authorization.as_bytes().split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let mut both = BASE64_STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = both.iter().position(|byte| *byte == b':')?;
    let password = both.split_off(colon + 1);
    both.truncate(colon);
    Some((both, password))
}

fn fingerprint(parts: &[&[u8]]) -> Fingerprint {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// The last ones.
#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<Fingerprint>,
    known: HashSet<Fingerprint>,
}

impl Recent {
    fn remember(&mut self, fingerprint: Fingerprint) {
        if !self.known.insert(fingerprint) {
            return;
        }
        self.order.push_back(fingerprint);
        if self.order.len() > MOST_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BASE64_STANDARD, Credentials, MOST_REMEMBERED, Recent, basic};
    use base64::Engine as _;
    use hostwright_core::secret::Secret;
    use hyper::header::HeaderValue;

    /// The cheapest there is.
    const COST: u32 = 4;

    fn header(both: &[u8]) -> HeaderValue {
        HeaderValue::from_str(&format!("bAsic {}", BASE64_STANDARD.encode(both))).expect("ASCII")
    }

    #[tokio::test]
    async fn a_users_password_is_let_in_the_first_time_and_later_and_no_other_ever() {
        let hash = |password: &str| Secret::new(bcrypt::hash(password, COST).expect("hashed"));
        let users = [("ann".to_owned(), hash("pa:ss")), ("bob".to_owned(), hash("other"))].into();
        let credentials = Credentials::default();
        for _ in 0..2 {
            assert!(credentials.admit(&users, Some(&header(b"ann:pa:ss"))).await);
            for wrong in [&b"ann:other"[..], b"bob:pa:ss", b"eve:pa:ss", b"ann", b":", b"\xff:pa:ss"] {
                assert!(!credentials.admit(&users, Some(&header(wrong))).await, "{wrong:?}");
            }
            assert!(!credentials.admit(&users, None).await);
            assert!(!credentials.admit(&users, Some(&HeaderValue::from_static("Bearer x"))).await);
        }
        let changed = [("ann".to_owned(), hash("new"))].into();
        assert!(!credentials.admit(&changed, Some(&header(b"ann:pa:ss"))).await, "an old password is not remembered");
        assert!(credentials.admit(&[].into(), None).await, "without users everybody may ask");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::default();
        for number in 0..=u8::try_from(MOST_REMEMBERED).expect("small") {
            recent.remember([number; 32]);
            recent.remember([number; 32]);
        }
        assert_eq!((recent.order.len(), recent.known.len()), (MOST_REMEMBERED, MOST_REMEMBERED));
        assert!(!recent.known.contains(&[0; 32]) && recent.known.contains(&[1; 32]));
    }

    #[test]
    fn headers_that_are_cut_off_or_of_another_scheme_are_none() {
        for wrong in ["", "Basic", "Basic ", "Basic !", "Basic YQ==", "Digest YTpi"] {
            assert_eq!(basic(&HeaderValue::from_static(wrong)), None, "{wrong}");
        }
        assert_eq!(basic(&HeaderValue::from_static("Basic YTpi")), Some((b"a".to_vec(), b"b".to_vec())));
    }
}
