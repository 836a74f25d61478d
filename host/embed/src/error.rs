//! What can be wrong with a job that a program puts together.

use millpond_core::{Classify, Code, Domain};

/// An error of this crate. Those of components, plans, connectors and state travel as they are.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan names an input or output that the program does not define.
    #[error("the plan uses {kind} `{name}`, which the program does not define: give the job one of that name")]
    NotDefined {
        /// `source`, `sink` or `transform`.
        kind: &'static str,
        /// The plan's name.
        name: String,
    },

    /// The program defines an input or output that the plan does not have.
    #[error("the plan has no {kind} `{name}`: leave it out, or use a name that the plan has ({known})")]
    NotInPlan {
        /// `source`, `sink` or `transform`.
        kind: &'static str,
        /// The program's name.
        name: String,
        /// The plan's names.
        known: String,
    },

    /// An option that cannot be used.
    #[error("{what}: {problem}")]
    WrongOption {
        /// Whose option: `source `lines``.
        what: String,
        /// What is wrong with it, and how it should be.
        problem: String,
    },

    /// A transform's columns are not the plan's.
    #[error("transform `{name}`: its {side} columns are not those of the plan: use another component\n{difference}")]
    TransformColumns {
        /// Its name in the plan.
        name: String,
        /// `input` or `output`.
        side: &'static str,
        /// Both, and where they differ.
        difference: String,
    },

    /// The system gives no threads.
    #[error("no threads for connections: {source}; end some processes, or raise the system's limit")]
    NoThreads {
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

impl Classify for Error {
    fn code(&self) -> Code {
        Code(match self {
            Self::NotDefined { .. } => "MP0105",
            Self::NotInPlan { .. } => "MP0106",
            Self::WrongOption { .. } => "MP0104",
            Self::TransformColumns { .. } => "MP0208",
            Self::NoThreads { .. } => "MP0901",
        })
    }

    fn domain(&self) -> Domain {
        match self {
            Self::NoThreads { .. } => Domain::External,
            _ => Domain::User,
        }
    }
}
