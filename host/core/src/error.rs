//! What every error answers: whose fault, whether to try again, and which page explains it.
//!
//! Each crate has one `thiserror` enum that implements [`Classify`]. Ports return [`BoxError`], so that an adapter's error
//! travels through the engine without the engine knowing it. The job state machine and the exit code read only
//! what `Classify` says. The pages lie beside this file in `codes/`, one Markdown file per code; `millpond explain CODE`
//! prints them, and a test checks that every code has its page.

use std::error::Error as StdError;
use std::fmt;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// The job's author or operator: configuration, plugin, data.
    User,
    /// Something outside: disk, network, another system.
    External,
    /// Millpond.
    Internal,
}

/// Whether trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same thing will happen again.
    No,
    /// It may pass by itself.
    Backoff,
    /// After somebody changed something.
    AfterAction,
}

/// A stable error code, such as `MP0301`; its page is what `millpond explain` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub &'static str);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An error that knows its code, its domain and whether to retry.
pub trait Classify: StdError + Send + Sync + 'static {
    /// The stable code.
    fn code(&self) -> Code;
    /// Whose fault it is.
    fn domain(&self) -> Domain;
    /// Whether trying again may help.
    fn retry(&self) -> Retry {
        match self.domain() {
            Domain::User => Retry::AfterAction,
            Domain::External => Retry::Backoff,
            Domain::Internal => Retry::No,
        }
    }
}

/// Any classified error; what ports return.
#[derive(Debug)]
pub struct BoxError(Box<dyn Classify>);

impl BoxError {
    /// The error inside.
    #[must_use]
    pub fn inner(&self) -> &dyn Classify {
        &*self.0
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code()
    }

    /// Whose fault it is.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.0.domain()
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry()
    }

    /// The error and its causes, joined with `: `, each said once.
    #[must_use]
    pub fn full_message(&self) -> String {
        full_message(&*self.0)
    }
}

/// An error's message and those of its causes, joined with `: `; a cause that its parent already quotes is left out.
#[must_use]
pub fn full_message(error: &(dyn StdError + 'static)) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}

impl<E: Classify> From<E> for BoxError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for BoxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsRef<dyn StdError> for BoxError {
    fn as_ref(&self) -> &(dyn StdError + 'static) {
        &*self.0
    }
}

macro_rules! code_pages {
    ($($code:literal),* $(,)?) => {
        /// Every code and its page, in order.
        pub const CODE_PAGES: &[(Code, &str)] = &[$((Code($code), include_str!(concat!("codes/", $code, ".md")))),*];
    };
}

code_pages!(
    "MP0101", "MP0102", "MP0103", "MP0104", "MP0105", "MP0106", "MP0107", "MP0108", "MP0109", "MP0110", "MP0111",
    "MP0112", "MP0113", "MP0114", "MP0115", "MP0201", "MP0202", "MP0203", "MP0204", "MP0205", "MP0206", "MP0207",
    "MP0208", "MP0301", "MP0302", "MP0303", "MP0304", "MP0305", "MP0306", "MP0307", "MP0308", "MP0309", "MP0310",
    "MP0311", "MP0312", "MP0401", "MP0402", "MP0403", "MP0404", "MP0405", "MP0406", "MP0407", "MP0501", "MP0502",
    "MP0503", "MP0504", "MP0505", "MP0506", "MP0507", "MP0508", "MP0601", "MP0602", "MP0603", "MP0604", "MP0701",
    "MP0702", "MP0703", "MP0704", "MP0705", "MP0706", "MP0707", "MP0708", "MP0801", "MP0802", "MP0803", "MP0804",
    "MP0805", "MP0901",
);

/// The page of a code, in Markdown; `None` if there is no such code. Case does not matter.
#[must_use]
pub fn explain(code: &str) -> Option<&'static str> {
    CODE_PAGES.iter().find(|(known, _)| known.0.eq_ignore_ascii_case(code)).map(|(_, page)| *page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_opens_with_its_code() {
        for (code, page) in CODE_PAGES {
            assert!(page.starts_with(&format!("# {code}: ")), "the page of {code} must open with '# {code}: <title>'");
            assert!(page.contains("## What to do"), "the page of {code} must say what to do");
        }
    }

    #[test]
    fn explain_ignores_case() {
        assert!(explain("mp0301").is_some());
        assert!(explain("MP9999").is_none());
    }
}
