//! The sections of a job file that belong to no connector: `[job]`, `[params]`, `[limits]`, `[checkpoint]`, `[transforms]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millpond_engine::{OnBadRecord, Trigger};
use millpond_wasm::Limits;

use super::connector;
use super::reader::Reader;
use super::tree::{Place, Table};
use super::{Defined, JobFile, Transform};
use crate::error::Error;

const TOP_LEVEL: [&str; 8] = ["job", "sources", "sinks", "transforms", "broadcasts", "params", "limits", "checkpoint"];

/// A day: longer intervals are more likely a mistake than a wish.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const GIB: u64 = 1 << 30;

/// `[job]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// `name`: letters, digits, `-`, `_` and `.`; the folder's name unless given. State and output are kept under it.
    pub name: String,
    /// `batch-interval`, milliseconds, at least 1. Default 500.
    pub batch_interval_ms: u64,
    /// `trigger`: `continuous` (default) or `available-now`.
    pub trigger: Trigger,
    /// `parallelism`: partitions after a shuffle. Default: as many as there are cores.
    pub parallelism: usize,
    /// `on-bad-record`: what happens after a row that user code refuses, `skip` (default) or `fail`.
    pub on_bad_record: OnBadRecord,
    /// `component`: a component that is built already, absolute; else the folder is built.
    pub component: Option<PathBuf>,
    /// Where `component` is written.
    pub component_place: Place,
}

/// `[checkpoint]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// `every-batches`: commit after every so many batches. Default 1.
    pub every_batches: u64,
    /// `fold-every`, milliseconds: fold the commit log into the checkpoint store. Default 10,000.
    pub fold_every_ms: u64,
    /// `dir`: the state folder, absolute. Default `.millpond/state/<job name>` beside the job file.
    pub dir: Option<PathBuf>,
}

pub(super) fn read(path: &Path, dir: PathBuf, root: &Table) -> Result<JobFile, Error> {
    let root = Reader::root(root, Place::whole(path));
    root.check_keys(&TOP_LEVEL, "the sections of a job file are")?;
    let empty = Table::new();
    let section = |name: &str| -> Result<Reader<'_>, Error> {
        Ok(root.table(name)?.unwrap_or_else(|| Reader::missing(name, &empty, Place::whole(path))))
    };
    let job = read_job(&section("job")?, &dir)?;
    Ok(JobFile {
        sources: connector::read_sources(&section("sources")?, job.on_bad_record)?,
        job,
        sinks: connector::read_sinks(&section("sinks")?)?,
        transforms: read_transforms(&section("transforms")?, &dir)?,
        broadcasts: connector::read_broadcasts(&section("broadcasts")?)?,
        params: section("params")?.params()?,
        limits: read_limits(&section("limits")?)?,
        checkpoint: read_checkpoint(&section("checkpoint")?, &dir)?,
        path: path.to_owned(),
        dir,
    })
}

fn read_job(job: &Reader<'_>, dir: &Path) -> Result<Job, Error> {
    let known = ["name", "batch-interval", "trigger", "parallelism", "on-bad-record", "component"];
    job.check_keys(&known, "[job] has")?;
    Ok(Job {
        name: job_name(job, dir)?,
        batch_interval_ms: job.duration_ms("batch-interval", 1..=DAY_MS)?.unwrap_or(500),
        trigger: job
            .choice("trigger", &[("continuous", Trigger::Continuous), ("available-now", Trigger::AvailableNow)])?
            .unwrap_or(Trigger::Continuous),
        parallelism: match job.whole_number("parallelism", 1..=1024)? {
            Some(number) => usize::try_from(number).expect("at most 1024"),
            None => cores(),
        },
        on_bad_record: job
            .choice("on-bad-record", &[("skip", OnBadRecord::Skip), ("fail", OnBadRecord::Fail)])?
            .unwrap_or(OnBadRecord::Skip),
        component: job.text("component", "text: the path of a component")?.map(|path| dir.join(path)),
        component_place: job.place_of("component"),
    })
}

fn job_name(job: &Reader<'_>, dir: &Path) -> Result<String, Error> {
    let allowed = "text of 1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or a digit";
    let Some(name) = job.text("name", allowed)? else { return Ok(default_name(dir)) };
    let is_valid =
        (1..=64).contains(&name.len()) && is_first_of_name(name.chars().next()) && name.chars().all(is_in_name);
    if is_valid {
        Ok(name.to_owned())
    } else {
        Err(job.wrong("name", format!("`{name}` cannot be a job's name"), allowed))
    }
}

fn is_first_of_name(first: Option<char>) -> bool {
    first.is_some_and(|c| c.is_ascii_alphanumeric())
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The folder's name, made fit: a folder may be called anything.
fn default_name(dir: &Path) -> String {
    let folder = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String = folder
        .trim_start_matches(|c: char| !c.is_ascii_alphanumeric())
        .chars()
        .map(|c| if is_in_name(c) { c } else { '-' })
        .take(64)
        .collect();
    if name.is_empty() { "job".to_owned() } else { name }
}

/// How many cores the process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn read_transforms(transforms: &Reader<'_>, dir: &Path) -> Result<BTreeMap<String, Defined<Transform>>, Error> {
    let mut result = BTreeMap::new();
    for (name, table) in transforms.tables()? {
        table.check_keys(&["component", "params"], "a transform has")?;
        let allowed = "text: the path of a component of world `transform`";
        let component = table.text("component", allowed)?;
        let component = component.ok_or_else(|| table.missing_key("component", allowed))?;
        let params = table.table("params")?.map_or_else(|| Ok(Vec::new()), |params| params.params())?;
        let spec = Transform { component: dir.join(component), component_place: table.place_of("component"), params };
        result.insert(name.to_owned(), Defined { spec, place: table.place().clone(), files: None });
    }
    Ok(result)
}

fn read_limits(limits: &Reader<'_>) -> Result<Limits, Error> {
    limits.check_keys(&["memory", "call-time", "output", "log", "stack", "broadcast"], "[limits] has")?;
    let mut result = Limits::default();
    // Memory of a 32-bit component ends at 4 GiB, and it needs a page or two to start at all.
    if let Some(bytes) = limits.bytes("memory", 64 * 1024..=4 * GIB)? {
        result.memory_bytes = bytes;
    }
    if let Some(ms) = limits.duration_ms("call-time", 1..=DAY_MS)? {
        result.call_time_ms = ms;
    }
    if let Some(bytes) = limits.bytes("output", 1..=4 * GIB)? {
        result.output_bytes = bytes;
    }
    if let Some(bytes) = limits.bytes("log", 0..=GIB)? {
        result.log_bytes = bytes;
    }
    if let Some(bytes) = limits.bytes("broadcast", 1..=4 * GIB)? {
        result.broadcast_bytes = bytes;
    }
    if let Some(bytes) = limits.bytes("stack", 64 * 1024..=256 << 20)? {
        result.stack_bytes = bytes;
    }
    Ok(result)
}

fn read_checkpoint(checkpoint: &Reader<'_>, dir: &Path) -> Result<Checkpoint, Error> {
    checkpoint.check_keys(&["every-batches", "fold-every", "dir"], "[checkpoint] has")?;
    Ok(Checkpoint {
        every_batches: checkpoint.whole_number("every-batches", 1..=1_000_000)?.unwrap_or(1),
        fold_every_ms: checkpoint.duration_ms("fold-every", 1..=DAY_MS)?.unwrap_or(10_000),
        dir: checkpoint.text("dir", "text: the path of a folder")?.map(|path| dir.join(path)),
    })
}
