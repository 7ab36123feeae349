pub mod record;
pub mod source;
