use hostwright_core::secret::Secret;

/// The user's name that stands for "the password is an identity token".
const TOKEN_USER: &str = "<token>";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    Nobody,
    User {
        name: String,
        password: Secret,
    },
    /// An OAuth 2 refresh token, which some helpers give in place of a password.
    IdentityToken(Secret),
}

impl Login {
    /// A login of a name and a password, where either may say that it is something else.
    pub fn of(name: &str, password: &str) -> Self {
        let secret = || Secret::new(password.to_owned());
        match name {
            "" => Self::Nobody,
            TOKEN_USER => Self::IdentityToken(secret()),
            _ => Self::User { name: name.to_owned(), password: secret() },
        }
    }
}
