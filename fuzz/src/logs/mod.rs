pub mod output;
pub mod record;
pub mod source;
