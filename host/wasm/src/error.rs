//! What can go wrong with a component: at loading (`MP02xx`, `MP04xx`) and at run time (`MP03xx`).
//!
//! A guest is never believed and never fatal: a trap, a limit or a malformed answer becomes one of these, with the place
//! (job, node, partition, batch), the figure and the key that changes it. All are the user's domain but the last ones.

use std::fmt;

use millpond_core::{BatchTime, Classify, Code, Domain, PartitionId};

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where in a job a component was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The job, as its job file names it.
    pub job: String,
    /// The function of the component: `run-stage`, `plan` ...
    pub export: &'static str,
    /// The plan's node that the call was for; none while loading and in a transform.
    pub node: Option<String>,
    /// The partition and the batch; none while loading.
    pub task: Option<(PartitionId, BatchTime)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job `{}`, ", self.job)?;
        match &self.node {
            Some(node) => write!(f, "node `{node}` ({})", self.export)?,
            None => f.write_str(self.export)?,
        }
        match self.task {
            Some((partition, batch)) => write!(f, ", partition {partition}, batch {batch}"),
            None => Ok(()),
        }
    }
}

/// What a guest was doing when it was stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestTrace {
    /// The newest message that the guest logged at level `error` during the call: a panic's message, with the Rust SDK.
    pub last_error: Option<String>,
    /// Functions, innermost first, at most ten.
    pub frames: Vec<String>,
}

impl fmt::Display for GuestTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(message) = &self.last_error {
            write!(f, "\n  the plugin's last error message: {message}")?;
        }
        if !self.frames.is_empty() {
            f.write_str("\n  plugin backtrace, innermost call first:")?;
        }
        for (number, frame) in self.frames.iter().enumerate() {
            write!(f, "\n    {number}: {frame}")?;
        }
        Ok(())
    }
}

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no WebAssembly component.
    #[error("not a WebAssembly component: {reason}; build the plugin with `millpond build`")]
    NotAComponent {
        /// What the bytes look like.
        reason: String,
    },
    /// The bytes are a core module.
    #[error("this is a core module, not a component; build it with `millpond build`")]
    CoreModule,
    /// The component speaks another version of the contract.
    #[error(
        "the component was built for another version of the contract: it has `{found}`, this host has `{expected}`; \
         rebuild the plugin with the SDK of this host's version"
    )]
    OtherVersion {
        /// The interface that the component imports or exports.
        found: String,
        /// The interface that the host has.
        expected: String,
    },
    /// The component imports something that plugins do not get.
    #[error(
        "the component imports `{import}`: plugins may use `{allowed}` only, so that they have no clock, files, network \
         or randomness; remove the dependency that asks for it, or build without WASI"
    )]
    ForbiddenImport {
        /// What it imports.
        import: String,
        /// What it may import.
        allowed: String,
    },
    /// The component imports the log interface with functions or types that it does not have.
    #[error(
        "the component's imports do not fit `{allowed}`: {reason}; rebuild the plugin with the SDK of this host's version"
    )]
    WrongImport {
        /// What it may import.
        allowed: String,
        /// What does not fit.
        reason: String,
    },
    /// The component is of the other world.
    #[error("the component is of world `{found}`, but a component of world `{expected}` is needed here; {remedy}")]
    WrongWorld {
        /// Its world.
        found: &'static str,
        /// The world that is needed.
        expected: &'static str,
        /// Where such a component belongs.
        remedy: &'static str,
    },
    /// The component is of neither world.
    #[error(
        "the component does not export `{expected}` (it exports {found}); it is no Millpond plugin, or its entry macro is missing"
    )]
    MissingExports {
        /// The interface.
        expected: String,
        /// What it exports instead.
        found: String,
    },
    /// An export is missing in the interface, or has another type.
    #[error(
        "the exports of the component do not fit `{expected}`: {reason}; rebuild the plugin with the SDK of this host's version"
    )]
    WrongExports {
        /// The interface.
        expected: String,
        /// What does not fit.
        reason: String,
    },
    /// The component is invalid, or uses a WebAssembly feature that is switched off.
    #[error("the component cannot be compiled: {reason}; rebuild it with `millpond build`")]
    Compile {
        /// The compiler's words.
        reason: String,
    },
    /// A core module cannot be made a component.
    #[error("cannot make a component of the core module: {reason}")]
    Componentize {
        /// What is missing or wrong, and what to do.
        reason: String,
    },
    /// A limit has a value that cannot be had.
    #[error("`{key}` is {found}: it must be between {min} and {max}")]
    LimitOutOfRange {
        /// The key in the job file.
        key: &'static str,
        /// Its value.
        found: String,
        /// The least value.
        min: String,
        /// The greatest value.
        max: String,
    },
    /// `plan` or `describe` answered with an error.
    #[error("{place}: the plugin refused its settings: {message}; check [params] in the job file")]
    PlanRefused {
        /// Where.
        place: Box<Place>,
        /// The plugin's words.
        message: String,
    },
    /// Two instances of one component gave different answers.
    #[error(
        "{place}: a second instance of the plugin gave another answer than the first; it must be the same each time, so that \
         every partition runs the same dataflow: {difference}"
    )]
    PlanDiffers {
        /// Where.
        place: Box<Place>,
        /// The first thing that differs.
        difference: String,
    },
    /// A plan or schema without nodes or columns, or with too many.
    #[error("{place}: {subject} has {found} {what}; there must be {min} to {max}")]
    PlanSize {
        /// Where.
        place: Box<Place>,
        /// The plan, or one of its nodes.
        subject: String,
        /// Nodes or columns.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// At least.
        min: usize,
        /// At most.
        max: usize,
    },
    /// A name that is empty, too long, doubled or not printable.
    #[error("{place}: {subject}: the {what} `{name}` {reason}; rename it in the plugin")]
    PlanName {
        /// Where.
        place: Box<Place>,
        /// The node, or the signature.
        subject: String,
        /// Name of what.
        what: &'static str,
        /// The name, shortened.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A column of the plan, or of a transform's signature, has more levels than there may be.
    #[error(
        "{place}: {subject}: column `{column}` is at level {levels} of its schema, and {max} are possible: let lists, maps and \
         structs in each other be fewer"
    )]
    PlanDepth {
        /// Where.
        place: Box<Place>,
        /// The node, or the signature.
        subject: String,
        /// Which column.
        column: String,
        /// At which level it is.
        levels: usize,
        /// How many there may be.
        max: usize,
    },
    /// A column of the plan is not well formed: its children are not what its type asks for.
    #[error("{place}: {subject}: column `{column}`: {reason}; this is a defect of the plugin or of its SDK")]
    PlanSchema {
        /// Where.
        place: Box<Place>,
        /// The node, or the signature.
        subject: String,
        /// Which column.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The guest trapped.
    #[error("{place}: the plugin trapped: {trap}{trace}")]
    Trap {
        /// Where.
        place: Box<Place>,
        /// Which trap.
        trap: String,
        /// What the guest was doing.
        trace: GuestTrace,
    },
    /// The call took too long.
    #[error(
        "{place}: the call was stopped after {reached_ms} ms: `limits.call-time` is {limit_ms} ms; if the plugin is not in an \
         endless loop, raise `limits.call-time` or let a batch hold less{trace}"
    )]
    CallTime {
        /// Where.
        place: Box<Place>,
        /// The limit.
        limit_ms: u64,
        /// How long the call had run.
        reached_ms: u64,
        /// What the guest was doing.
        trace: GuestTrace,
    },
    /// The guest asked for more memory than it may have, and could not go on without.
    #[error(
        "{place}: the plugin needed {wanted} of memory: `limits.memory` is {limit}; if the plugin does not leak, raise \
         `limits.memory` or let a batch hold less{trace}"
    )]
    Memory {
        /// Where.
        place: Box<Place>,
        /// The limit.
        limit: Bytes,
        /// What its memory would have grown to.
        wanted: Bytes,
        /// What the guest was doing.
        trace: GuestTrace,
    },
    /// The answer is too large.
    #[error(
        "{place}: the plugin returned more than {limit} in one call, which is `limits.output`; raise `limits.output` or let a \
         batch hold less"
    )]
    Output {
        /// Where.
        place: Box<Place>,
        /// The limit.
        limit: Bytes,
    },
    /// The guest's call stack is full.
    #[error(
        "{place}: the plugin's call stack is full: `limits.stack` is {limit}{hint}; if the plugin does not recurse for ever, \
         raise `limits.stack`{trace}"
    )]
    Stack {
        /// Where.
        place: Box<Place>,
        /// The limit.
        limit: Bytes,
        /// What else may be meant.
        hint: &'static str,
        /// What the guest was doing.
        trace: GuestTrace,
    },
    /// The answer is not well formed.
    #[error("{place}: the plugin returned a malformed answer: {reason}; this is a defect of the plugin or of its SDK")]
    Malformed {
        /// Where.
        place: Box<Place>,
        /// What is wrong with it.
        reason: String,
    },
    /// Text that is not UTF-8.
    #[error(
        "{place}: the plugin returned text that is not UTF-8: {reason}; return the column as binary, or decode it first"
    )]
    NotUtf8 {
        /// Where.
        place: Box<Place>,
        /// Which column and row.
        reason: String,
    },
    /// The answer's columns are not those of the plan.
    #[error("{place}: the plugin returned other columns than it declared: {reason}")]
    Schema {
        /// Where.
        place: Box<Place>,
        /// What differs.
        reason: String,
    },
    /// The guest returned a failure.
    #[error("{place}: the plugin gave up: {message} (code {code}){trace}")]
    Failure {
        /// Where.
        place: Box<Place>,
        /// The contract's failure code.
        code: &'static str,
        /// The plugin's words.
        message: String,
        /// What the guest logged.
        trace: GuestTrace,
    },
    /// An update of accumulators that is not as the contract says.
    #[error(
        "{place}: the plugin's update of accumulators was refused: {reason}; this is a defect of the plugin or of its SDK"
    )]
    Accumulator {
        /// Where.
        place: Box<Place>,
        /// What is wrong with it.
        reason: String,
    },
    /// A broadcast's value is too large.
    #[error(
        "job `{job}`: the value of broadcast `{broadcast}` has {found}: `limits.broadcast` is {limit}; make it smaller, or raise \
         `limits.broadcast` (every instance of the plugin holds it, within `limits.memory`)"
    )]
    BroadcastSize {
        /// The job.
        job: String,
        /// The broadcast.
        broadcast: String,
        /// How large it is.
        found: Bytes,
        /// The limit.
        limit: Bytes,
    },
    /// Another limit: tables, instances, threads.
    #[error("{place}: {what} ran out: {reason}")]
    Resource {
        /// Where.
        place: Box<Place>,
        /// Of what.
        what: &'static str,
        /// Figures and remedy.
        reason: String,
    },
    /// A batch whose rows cannot be counted in 32 bits.
    #[error(
        "{place}: the batch has {rows} rows, and one call takes at most {max}; let a batch hold less (max-bytes-per-batch)"
    )]
    TooManyRows {
        /// Where.
        place: Box<Place>,
        /// How many.
        rows: usize,
        /// How many fit.
        max: u32,
    },
    /// The engine called something that does not exist: a defect of Millpond.
    #[error("internal defect: {place}: {reason}")]
    Internal {
        /// Where.
        place: Box<Place>,
        /// What.
        reason: String,
    },
    /// The WebAssembly engine does not start on this machine.
    #[error("the WebAssembly engine does not start: {reason}")]
    Engine {
        /// Why.
        reason: String,
    },
}

impl Classify for Error {
    fn code(&self) -> Code {
        Code(match self {
            Self::LimitOutOfRange { .. } => "MP0104",
            Self::Componentize { .. } => "MP0107",
            Self::NotAComponent { .. } | Self::CoreModule => "MP0201",
            Self::OtherVersion { .. } => "MP0202",
            Self::ForbiddenImport { .. } | Self::WrongImport { .. } => "MP0203",
            Self::WrongWorld { .. } | Self::MissingExports { .. } | Self::WrongExports { .. } => "MP0204",
            Self::Compile { .. } => "MP0205",
            Self::PlanRefused { .. } => "MP0206",
            Self::PlanDiffers { .. } => "MP0207",
            Self::Trap { .. } => "MP0301",
            Self::CallTime { .. } => "MP0302",
            Self::Memory { .. } => "MP0303",
            Self::Output { .. } => "MP0304",
            Self::Stack { .. } => "MP0305",
            Self::Malformed { .. } => "MP0306",
            Self::NotUtf8 { .. } => "MP0307",
            Self::Schema { .. } => "MP0308",
            Self::Failure { .. } => "MP0309",
            Self::Resource { .. } => "MP0310",
            Self::Accumulator { .. } => "MP0311",
            Self::BroadcastSize { .. } => "MP0312",
            Self::PlanSize { .. } | Self::PlanDepth { .. } | Self::PlanSchema { .. } => "MP0401",
            Self::PlanName { .. } => "MP0402",
            Self::TooManyRows { .. } => "MP0805",
            Self::Internal { .. } | Self::Engine { .. } => "MP0901",
        })
    }

    fn domain(&self) -> Domain {
        match self {
            Self::Internal { .. } => Domain::Internal,
            Self::Engine { .. } => Domain::External,
            _ => Domain::User,
        }
    }
}

/// A number of bytes, shown as `256 MiB` where it is a whole number of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = units.into_iter().find(|(shift, _)| self.0 != 0 && self.0.is_multiple_of(1 << shift));
        match whole {
            Some((shift, unit)) => write!(f, "{} {unit}", self.0 >> shift),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// A guest's text made fit for one line of a terminal or log: control characters are replaced, and what is longer than
/// `bytes_max` is cut.
pub(crate) fn printable(text: &str, bytes_max: usize) -> String {
    let cut = &text[..text.floor_char_boundary(bytes_max)];
    let mut clean: String = cut.trim_end().chars().map(replace_control).collect();
    if cut.len() < text.len() {
        clean.push('…');
    }
    clean
}

/// Whether [`printable`] would leave every character as it is.
pub(crate) fn is_printable(text: &str) -> bool {
    text.chars().all(|c| replace_control(c) == c)
}

fn replace_control(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' => ' ',
        // Direction overrides can make a terminal show something else than what is there.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_names_everything_that_is_known() {
        let mut place = Place { job: "wc".into(), export: "plan", node: None, task: None };
        assert_eq!(place.to_string(), "job `wc`, plan");
        place.export = "run-stage";
        place.node = Some("split".into());
        place.task = Some((PartitionId(3), BatchTime(1000)));
        assert_eq!(place.to_string(), "job `wc`, node `split` (run-stage), partition 3, batch 1000");
    }

    #[test]
    fn bytes_are_shown_in_the_largest_whole_unit() {
        assert_eq!(Bytes(256 << 20).to_string(), "256 MiB");
        assert_eq!(Bytes(1 << 30).to_string(), "1 GiB");
        assert_eq!(Bytes(1000).to_string(), "1000 bytes");
        assert_eq!(Bytes(0).to_string(), "0 bytes");
    }

    #[test]
    fn guest_text_cannot_steer_a_terminal() {
        assert_eq!(printable("red \u{1b}[31m\nnext", 100), "red \u{fffd}[31m next");
        assert_eq!(printable("äöü", 3), "ä…");
    }
}
