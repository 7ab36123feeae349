//! What the core says of configurations.

#[path = "../../agent/core/src/config/logs/output/fields.rs"]
mod fields;
#[path = "../../agent/core/src/config/section.rs"]
pub mod section;

/// How values are read, of which nothing is needed here but the name.
pub mod values {
    pub trait FromNode: Sized {
        const EXPECTED: &'static str;
        fn from_node(node: &crate::yaml::Node) -> Result<Self, String>;

        fn secrets(&self) -> Vec<crate::secret::SecretRef> {
            Vec::new()
        }
    }

    pub fn mismatch<T: FromNode>(_: &crate::yaml::Node) -> String {
        T::EXPECTED.to_owned()
    }
}

pub mod logs {
    pub mod output {
        pub use super::super::fields::Fields;
    }
}

/// Why a file was not taken; the agent's own has more to say.
#[derive(Debug)]
pub enum ConfigError {
    Invalid { name: String, problems: Vec<section::Problem> },
}
