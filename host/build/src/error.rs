//! What can be wrong with a plugin folder, the guest toolchain, or a build.
//!
//! Each message says place and reason; the remedy is in [`Error::help`], which is printed on lines of its own.

use std::io;
use std::path::PathBuf;

use millpond_core::{BoxError, Classify, Code, Domain};

/// A result that fails with any classified error.
pub type Result<T, E = BoxError> = std::result::Result<T, E>;

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Cargo could not build the plugin.
    #[error("building the plugin in {} failed: {reason}", folder.display())]
    BuildFailed {
        /// The plugin.
        folder: PathBuf,
        /// Why, in a few words; cargo has said the rest.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// A built file cannot be written.
    #[error("building the plugin failed: {} cannot be written", path.display())]
    CannotWrite {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing on this machine compiles to WebAssembly.
    #[error("no Rust toolchain for WebAssembly (target wasm32-unknown-unknown) on this machine: {reason}")]
    ToolchainMissing {
        /// What was looked for.
        reason: String,
    },
    /// The folder is not a plugin.
    #[error("{}: not a plugin folder: {reason}", folder.display())]
    NotAPlugin {
        /// The folder.
        folder: PathBuf,
        /// Why.
        reason: String,
        /// What to do.
        remedy: String,
    },
}

impl Error {
    /// What to do about it; one sentence a line. Empty when the message says it all.
    #[must_use]
    pub fn help(&self) -> Vec<String> {
        match self {
            Self::NotAPlugin { remedy, .. } | Self::BuildFailed { remedy, .. } => vec![remedy.clone()],
            Self::ToolchainMissing { .. } => toolchain_help(),
            Self::Unreadable { .. } | Self::CannotWrite { .. } => Vec::new(),
        }
    }
}

fn toolchain_help() -> Vec<String> {
    vec![
        "with rustup: rustup target add wasm32-unknown-unknown".to_owned(),
        "on Debian without rustup: apt-get install rustc-web rust-web-src lld-22 cargo-web rust-web-llvm".to_owned(),
        "in Millpond's repository, `./just setup` does what fits this machine".to_owned(),
    ]
}

impl Classify for Error {
    fn code(&self) -> Code {
        Code(match self {
            Self::Unreadable { .. } => "MP0101",
            Self::BuildFailed { .. } | Self::CannotWrite { .. } => "MP0107",
            Self::ToolchainMissing { .. } => "MP0108",
            Self::NotAPlugin { .. } => "MP0109",
        })
    }

    fn domain(&self) -> Domain {
        match self {
            Self::Unreadable { .. } | Self::CannotWrite { .. } => Domain::External,
            _ => Domain::User,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toolchain_error_names_both_remedies() {
        let help = Error::ToolchainMissing { reason: String::new() }.help().join("\n");
        for part in ["rustup target add", "rustc-web rust-web-src lld-22", "./just setup"] {
            assert!(help.contains(part), "{part} is missing in {help}");
        }
    }
}
