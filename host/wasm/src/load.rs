//! From bytes to a component that may run: what it is, what it imports and exports, compiled and linked.
//!
//! The names are read first, without compiling, so that the usual mistakes (a core module, another version, WASI) get
//! exact messages and cost nothing. Types are checked by wasmtime at the end.

use wasmparser::{Encoding, Parser, Payload};
use wasmtime::component::{InstancePre, Linker};

use crate::accumulate::{self, ACCUMULATORS_INTERFACE};
use crate::call::HostState;
use crate::engine::WasmEngine;
use crate::error::{Error, Result, printable};
use crate::limits::Limits;
use crate::log::{self, LOG_INTERFACE};

/// The version of the contract that this host speaks.
pub const WIT_VERSION: &str = "0.1.0";
const PACKAGE: &str = "millpond:plugin/";
pub(crate) const JOB_INTERFACE: &str = "millpond:plugin/job-guest@0.1.0";
pub(crate) const TRANSFORM_INTERFACE: &str = "millpond:plugin/transform-guest@0.1.0";
/// Interfaces without functions: components import them for their types only.
const TYPE_INTERFACES: [&str; 2] = ["millpond:plugin/types@0.1.0", "millpond:plugin/dataflow@0.1.0"];

/// What is loaded, and what it may use.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The job's name, for messages and log lines.
    pub job: String,
    /// Settings for `plan` or `describe`: `[params]` of the job file.
    pub params: Vec<(String, String)>,
    /// Limits of every call.
    pub limits: Limits,
}

/// The two kinds of plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    Job,
    Transform,
}

impl World {
    pub(crate) fn interface(self) -> &'static str {
        match self {
            Self::Job => JOB_INTERFACE,
            Self::Transform => TRANSFORM_INTERFACE,
        }
    }

    /// Interfaces with functions that it may import.
    fn imports(self) -> &'static [&'static str] {
        match self {
            Self::Job => &[LOG_INTERFACE, ACCUMULATORS_INTERFACE],
            Self::Transform => &[LOG_INTERFACE],
        }
    }

    /// The same for messages.
    fn allowed(self) -> String {
        self.imports().join("` and `")
    }

    fn name(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Transform => "transform",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Job => Self::Transform,
            Self::Transform => Self::Job,
        }
    }
}

/// The names of a component's imports and exports, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

impl Names {
    /// Reads them; whatever is no component is an error.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let mut names = Self::default();
        // Modules and components inside are parsed as well; only the outermost level counts.
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| not_a_component(bytes, &error))? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(Error::CoreModule),
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        let import = import.map_err(|error| not_a_component(bytes, &error))?;
                        names.imports.push(import.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        let export = export.map_err(|error| not_a_component(bytes, &error))?;
                        names.exports.push(export.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(names)
    }

    /// Whether this is a plugin of `world` that this host may run.
    pub(crate) fn check(&self, world: World) -> Result<()> {
        self.check_exports(world)?;
        for import in &self.imports {
            if let Some(known) =
                world.imports().iter().chain(&TYPE_INTERFACES).find(|known| same_interface(import, known))
            {
                same_version(import, known)?;
            } else {
                return Err(Error::ForbiddenImport { import: printable(import, 200), allowed: world.allowed() });
            }
        }
        Ok(())
    }

    fn check_exports(&self, world: World) -> Result<()> {
        let wanted = world.interface();
        if self.exports.iter().any(|export| export == wanted) {
            return Ok(());
        }
        if let Some(other) = self.exports.iter().find(|export| same_interface(export, wanted)) {
            return same_version(other, wanted);
        }
        if self.exports.iter().any(|export| export == world.other().interface()) {
            let remedy = match world {
                World::Job => "a job uses it through [transforms.NAME]",
                World::Transform => "run it as a job of its own",
            };
            return Err(Error::WrongWorld { found: world.other().name(), expected: world.name(), remedy });
        }
        let found = match self.exports.as_slice() {
            [] => "nothing".to_owned(),
            exports => exports.iter().map(|name| format!("`{}`", printable(name, 100))).collect::<Vec<_>>().join(", "),
        };
        Err(Error::MissingExports { expected: wanted.to_owned(), found: printable(&found, 500) })
    }

    /// The version of the contract that it was built for, if it is a plugin at all.
    pub(crate) fn wit_version(&self) -> Option<&str> {
        let interfaces = self.exports.iter().chain(&self.imports).filter(|name| name.starts_with(PACKAGE));
        interfaces.filter_map(|name| name.split_once('@')).map(|(_, version)| version).next()
    }
}

fn same_interface(left: &str, right: &str) -> bool {
    let bare = |name: &str| name.split_once('@').map_or(name.to_owned(), |(name, _)| name.to_owned());
    bare(left) == bare(right)
}

fn same_version(found: &str, expected: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::OtherVersion { found: printable(found, 200), expected: expected.to_owned() })
}

fn not_a_component(bytes: &[u8], error: &wasmparser::BinaryReaderError) -> Error {
    let reason = if bytes.is_empty() {
        "the file is empty".to_owned()
    } else if bytes.starts_with(b"\0asm") {
        format!("it is damaged or incomplete: {error}")
    } else {
        "it does not begin as WebAssembly does".to_owned()
    };
    Error::NotAComponent { reason }
}

/// A component of `world`, ready to be instantiated.
pub(crate) fn link(engine: &WasmEngine, world: World, limits: &Limits, bytes: &[u8]) -> Result<InstancePre<HostState>> {
    limits.check()?;
    Names::read(bytes)?.check(world)?;
    let component = engine.component(bytes, limits.stack_bytes)?;
    let mut linker = Linker::new(component.engine());
    let wrong_import =
        |error: wasmtime::Error| Error::WrongImport { allowed: world.allowed(), reason: format!("{error:#}") };
    log::add_to_linker(&mut linker).map_err(wrong_import)?;
    if world == World::Job {
        accumulate::add_to_linker(&mut linker).map_err(wrong_import)?;
    }
    linker.instantiate_pre(&component).map_err(wrong_import)
}

#[cfg(test)]
mod tests {
    use millpond_core::Classify;

    use super::*;

    fn names(imports: &[&str], exports: &[&str]) -> Names {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Names { imports: owned(imports), exports: owned(exports) }
    }

    fn refused(names: &Names, world: World) -> (String, String) {
        let error = names.check(world).unwrap_err();
        (error.code().0.to_owned(), error.to_string())
    }

    #[test]
    fn bytes_that_are_no_component_say_what_they_are() {
        let message = |bytes: &[u8]| {
            let error = Names::read(bytes).unwrap_err();
            assert_eq!(error.code().0, "MP0201");
            error.to_string()
        };
        assert!(message(b"").contains("the file is empty"));
        assert!(message(b"#!/bin/sh").contains("does not begin as WebAssembly does"));
        assert!(message(b"\0asm\x0d\0\x01\0\x07\xff").contains("damaged or incomplete"));
        let module = wat::parse_str("(module)").unwrap();
        assert_eq!(message(&module), "this is a core module, not a component; build it with `millpond build`");
    }

    #[test]
    fn only_the_outermost_names_count() {
        let text =
            "(component (import \"a\" (func)) (component (import \"b\" (func))) (core module (func (export \"c\"))))";
        let names = Names::read(&wat::parse_str(text).unwrap()).unwrap();
        assert_eq!(names, self::names(&["a"], &[]));
    }

    #[test]
    fn plugin_may_import_log_and_types() {
        let imports = [LOG_INTERFACE, ACCUMULATORS_INTERFACE, TYPE_INTERFACES[0], TYPE_INTERFACES[1]];
        assert!(names(&imports, &[JOB_INTERFACE]).check(World::Job).is_ok());
        let (code, message) = refused(&names(&[ACCUMULATORS_INTERFACE], &[TRANSFORM_INTERFACE]), World::Transform);
        assert!(code == "MP0203" && message.contains("`millpond:plugin/accumulators@0.1.0`"), "{message}");
        let (code, message) = refused(&names(&["wasi:clocks/wall-clock@0.2.0"], &[JOB_INTERFACE]), World::Job);
        assert_eq!(code, "MP0203");
        assert!(message.contains("`wasi:clocks/wall-clock@0.2.0`") && message.contains(LOG_INTERFACE), "{message}");
    }

    #[test]
    fn other_versions_are_named() {
        let other = names(&[], &["millpond:plugin/job-guest@0.2.0"]);
        let (code, message) = refused(&other, World::Job);
        assert_eq!(code, "MP0202");
        assert!(message.contains("millpond:plugin/job-guest@0.2.0") && message.contains(JOB_INTERFACE), "{message}");
        assert_eq!(other.wit_version(), Some("0.2.0"));
        assert_eq!(refused(&names(&["millpond:plugin/log@0.3.0"], &[JOB_INTERFACE]), World::Job).0, "MP0202");
    }

    #[test]
    fn missing_exports_and_the_wrong_world_are_told_apart() {
        let (code, message) = refused(&names(&[], &["wasi:cli/run@0.2.0"]), World::Job);
        assert_eq!(code, "MP0204");
        assert!(message.contains("it exports `wasi:cli/run@0.2.0`"), "{message}");
        let (code, message) = refused(&names(&[], &[TRANSFORM_INTERFACE]), World::Job);
        assert_eq!(code, "MP0204");
        assert!(message.contains("[transforms.NAME]"), "{message}");
    }
}
