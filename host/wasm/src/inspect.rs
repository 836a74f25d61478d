//! What a component is, for people: `millpond inspect`.

use std::fmt;

use arrow::datatypes::SchemaRef;
use millpond_core::schema::describe;
use millpond_core::{Plan, TransformFunction};

use crate::engine::{EngineOptions, WasmEngine};
use crate::error::{Error, Result};
use crate::load::{JOB_INTERFACE, LoadOptions, Names, TRANSFORM_INTERFACE};

/// What was found in a component.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// blake3 of the bytes, in hex: the plugin's identity.
    pub digest: String,
    /// Its size.
    pub bytes: u64,
    /// What it is for.
    pub kind: ComponentKind,
    /// The version of the contract that it was built for.
    pub wit_version: Option<String>,
    /// Names of its imports.
    pub imports: Vec<String>,
    /// Names of its exports.
    pub exports: Vec<String>,
    /// What it says of itself, without any settings.
    pub contents: Contents,
}

/// What a component is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentKind {
    /// World `job`.
    Job,
    /// World `transform`.
    Transform,
    /// No plugin of this version.
    Other,
}

/// What a component says of itself.
#[derive(Clone, Debug)]
pub enum Contents {
    /// A job's dataflow.
    Plan(Plan),
    /// A transform's columns.
    Signature {
        /// What goes in.
        input: SchemaRef,
        /// What comes out.
        output: SchemaRef,
    },
    /// It says nothing.
    Unknown {
        /// Why: it is no plugin, needs settings, or must not run here.
        reason: String,
    },
}

/// Inspects a component with an engine of its own. It is run, within the default limits, to ask for its plan.
///
/// **Errors**: `MP0201` for bytes that are no component. Everything else that is wrong with it is in the answer.
pub fn inspect(bytes: &[u8]) -> Result<Inspection> {
    Names::read(bytes)?;
    WasmEngine::try_new(EngineOptions::default())?.inspect(bytes)
}

impl WasmEngine {
    /// As [`inspect()`], with this engine.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection> {
        let names = Names::read(bytes)?;
        let exports = |interface: &str| names.exports.iter().any(|export| export == interface);
        let kind = match () {
            () if exports(JOB_INTERFACE) => ComponentKind::Job,
            () if exports(TRANSFORM_INTERFACE) => ComponentKind::Transform,
            () => ComponentKind::Other,
        };
        Ok(Inspection {
            digest: blake3::hash(bytes).to_hex().to_string(),
            bytes: bytes.len() as u64,
            kind,
            wit_version: names.wit_version().map(str::to_owned),
            contents: self.contents(kind, bytes),
            imports: names.imports,
            exports: names.exports,
        })
    }

    fn contents(&self, kind: ComponentKind, bytes: &[u8]) -> Contents {
        let options = LoadOptions { job: "inspect".into(), ..LoadOptions::default() };
        let unknown = |error: Error| Contents::Unknown { reason: error.to_string() };
        match kind {
            ComponentKind::Job => match self.load_job(&options, bytes) {
                Ok(job) => Contents::Plan(job.plan().clone()),
                Err(error) => unknown(error),
            },
            ComponentKind::Transform => match self.load_transform(&options, bytes) {
                Ok(transform) => {
                    Contents::Signature { input: transform.input_schema(), output: transform.output_schema() }
                }
                Err(error) => unknown(error),
            },
            ComponentKind::Other => Contents::Unknown { reason: "it is no plugin of this host's version".into() },
        }
    }
}

impl fmt::Display for ComponentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Job => "job",
            Self::Transform => "transform",
            Self::Other => "no plugin of this host's version",
        })
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "digest       {}", self.digest)?;
        writeln!(f, "size         {} bytes", self.bytes)?;
        writeln!(f, "kind         {}", self.kind)?;
        writeln!(f, "wit version  {}", self.wit_version.as_deref().unwrap_or("none"))?;
        list(f, "imports", &self.imports)?;
        list(f, "exports", &self.exports)?;
        match &self.contents {
            Contents::Plan(plan) => {
                write!(f, "plan")?;
                for (number, node) in plan.nodes.iter().enumerate() {
                    let (kind, columns) = (node.operator.kind(), describe(&node.schema));
                    write!(f, "\n  {number:>3}  {} ({kind}): {columns}", node.name)?;
                }
                Ok(())
            }
            Contents::Signature { input, output } => {
                write!(f, "input        {}\noutput       {}", describe(input), describe(output))
            }
            Contents::Unknown { reason } => write!(f, "plan         unknown: {reason}"),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, names: &[String]) -> fmt::Result {
    match names {
        [] => writeln!(f, "{title:<12} none"),
        names => writeln!(f, "{title:<12} {}", names.join(", ")),
    }
}
