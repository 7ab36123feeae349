use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Keys that are taken, over all products: no file overwrites the object of another.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<(String, String), Owner>>);

/// Whose key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) product: String,
    pub(super) path: String,
}

impl Claims {
    /// Takes the key of a bucket for a file.
    ///
    /// # Errors
    /// Another file has it.
    pub(super) fn take(&self, place: &str, key: &str, owner: &Owner) -> Result<(), Owner> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = taken.entry((place.to_owned(), key.to_owned())).or_insert_with(|| owner.clone());
        if earlier == owner { Ok(()) } else { Err(earlier.clone()) }
    }

    /// Gives it back, if it is the owner's.
    pub(super) fn give_back(&self, place: &str, key: &str, owner: &Owner) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (place.to_owned(), key.to_owned());
        if taken.get(&at) == Some(owner) {
            taken.remove(&at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Claims, Owner};

    #[test]
    fn a_key_belongs_to_one_file_until_it_is_given_back() {
        let claims = Claims::default();
        let owner = |product: &str| Owner { product: product.into(), path: "f".into() };
        assert_eq!(claims.take("b", "k", &owner("one")), Ok(()));
        assert_eq!(claims.take("b", "k", &owner("one")), Ok(()));
        assert_eq!(claims.take("b", "k", &owner("two")), Err(owner("one")));
        assert_eq!(claims.take("c", "k", &owner("two")), Ok(()));
        claims.give_back("b", "k", &owner("two"));
        assert_eq!(claims.take("b", "k", &owner("two")), Err(owner("one")));
        claims.give_back("b", "k", &owner("one"));
        assert_eq!(claims.take("b", "k", &owner("two")), Ok(()));
    }
}
