use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Keys that are taken, over all products: no file overwrites the object of another.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<Claim, Owner>>);

/// A key of a bucket. The strings are shared: there may be many claims.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    pub(super) place: Arc<str>,
    pub(super) key: Arc<str>,
}

/// Whose key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) product: Arc<str>,
    pub(super) path: Arc<str>,
}

impl Claims {
    /// Takes the key of a bucket for a file.
    ///
    /// # Errors
    /// Another file has it.
    pub(super) fn take(&self, claim: &Claim, owner: &Owner) -> Result<(), Owner> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get(claim) {
            Some(earlier) if earlier != owner => Err(earlier.clone()),
            Some(_) => Ok(()),
            None => {
                taken.insert(claim.clone(), owner.clone());
                Ok(())
            }
        }
    }

    /// Gives it back, if it is the owner's.
    pub(super) fn give_back(&self, claim: &Claim, owner: &Owner) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(claim) == Some(owner) {
            taken.remove(claim);
        }
    }

    /// Gives all back that a product has.
    pub(super) fn give_back_all(&self, product: &str) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|_, owner| *owner.product != *product);
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, Claims, Owner};

    #[test]
    fn a_key_belongs_to_one_file_until_it_is_given_back() {
        let claims = Claims::default();
        let owner = |product: &str| Owner { product: product.into(), path: "f".into() };
        let claim = |place: &str| Claim { place: place.into(), key: "k".into() };
        assert_eq!(claims.take(&claim("b"), &owner("one")), Ok(()));
        assert_eq!(claims.take(&claim("b"), &owner("one")), Ok(()));
        assert_eq!(claims.take(&claim("b"), &owner("two")), Err(owner("one")));
        assert_eq!(claims.take(&claim("c"), &owner("two")), Ok(()));
        claims.give_back(&claim("b"), &owner("two"));
        assert_eq!(claims.take(&claim("b"), &owner("two")), Err(owner("one")));
        claims.give_back(&claim("b"), &owner("one"));
        assert_eq!(claims.take(&claim("b"), &owner("two")), Ok(()));
    }
}
