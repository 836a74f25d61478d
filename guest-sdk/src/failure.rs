//! Failures of a whole call, and the error with which a closure refuses one row.

use std::fmt;

use crate::bindings::millpond::plugin::types::{Failure, FailureCode};

pub(crate) fn bad_input(message: impl Into<String>) -> Failure {
    Failure { code: FailureCode::BadInput, message: message.into() }
}

pub(crate) fn user(message: impl Into<String>) -> Failure {
    Failure { code: FailureCode::User, message: message.into() }
}

pub(crate) fn unknown_node(message: impl Into<String>) -> Failure {
    Failure { code: FailureCode::UnknownNode, message: message.into() }
}

pub(crate) fn internal(message: impl Into<String>) -> Failure {
    Failure { code: FailureCode::Internal, message: message.into() }
}

/// Why a closure refuses a row: what `try_map`, `try_flat_map` and `try_filter` return as `Err`.
///
/// Anything that can be displayed becomes one, so `?` works on every error type, and `Err("too short".into())` too.
/// The job goes on with the other rows; the host reports the reason with the row's place.
///
/// ```
/// use millpond::RowError;
///
/// fn amount(text: &str) -> Result<i64, RowError> {
///     let cents: i64 = text.parse()?;
///     if cents < 0 {
///         return Err("an amount is never negative".into());
///     }
///     Ok(cents)
/// }
/// assert!(amount("12").is_ok());
/// assert_eq!(amount("-1").unwrap_err().reason(), "an amount is never negative");
/// ```
// It does not implement Display: the From below would then cover RowError itself.
pub struct RowError {
    reason: String,
}

impl RowError {
    /// Why, in words for the person who reads the report.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn into_reason(self) -> String {
        self.reason
    }
}

impl<E: fmt::Display> From<E> for RowError {
    fn from(error: E) -> Self {
        Self { reason: error.to_string() }
    }
}

impl fmt::Debug for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RowError").field(&self.reason).finish()
    }
}
