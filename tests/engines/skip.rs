//! Why a case can't be tried here.

use std::fmt;

/// An error that means: not tried.
#[derive(Debug)]
pub struct Skip(String);

/// The reason, as an error.
pub fn reason(text: impl Into<String>) -> Skip {
    Skip(text.into())
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}
