//! Reads the folder of a golden case.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use millpond_connectors::RecordFormatSpec;
use serde::Deserialize;

use crate::error::Error;

/// The folder of cases beside a job file.
const FOLDER: &str = "tests";

/// Settings of a case.
const SETTINGS: &str = "case.toml";

/// What accumulators must come to. Expected output of sinks begins with `expected.` and input with a number, so no sink or source has
/// this name.
const ACCUMULATORS: &str = "accumulators.jsonl";

/// More batches than this are a slip of the pen. A guess: a day of seconds.
const BATCHES_MAX: u64 = 86_400;

/// A golden case, as its folder says.
#[derive(Debug)]
pub(crate) struct Case {
    /// The folder's name.
    pub(crate) name: String,
    /// The folder.
    pub(crate) dir: PathBuf,
    /// How many batches are run.
    pub(crate) batches: u64,
    /// Changes of the job file, as after `--set`.
    pub(crate) set: Vec<String>,
    /// Input, by batch and source.
    pub(crate) inputs: Vec<Input>,
    /// Files of expected output, by sink.
    pub(crate) expected: BTreeMap<String, PathBuf>,
    /// The file of expected totals, if there is one.
    pub(crate) totals: Option<PathBuf>,
}

/// What a source gives in a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Input {
    /// From 1.
    pub(crate) batch: u64,
    /// The source's name.
    pub(crate) source: String,
    /// By the file's ending.
    pub(crate) format: RecordFormatSpec,
    /// The file.
    pub(crate) path: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    batches: Option<u64>,
    #[serde(default)]
    set: Vec<String>,
    /// A folder that has input as well, seen from the case's.
    input: Option<PathBuf>,
}

/// The cases of a job, by name; only those whose name contains `filter`.
///
/// **Errors**: MP0113 when there is none, or one of them makes no sense.
pub(crate) fn find(job_dir: &Path, filter: Option<&str>) -> Result<Vec<Case>, Error> {
    let folder = job_dir.join(FOLDER);
    let mut dirs = if folder.is_dir() { entries(&folder)? } else { Vec::new() };
    dirs.retain(|path| path.is_dir());
    let mut cases = Vec::new();
    let mut known = Vec::new();
    for dir in dirs {
        // A folder of Rust modules (`tests/common/mod.rs`) is no case.
        let files = entries(&dir)?;
        if !files.is_empty()
            && files.iter().all(|file| file.is_dir() || file.extension().is_some_and(|end| end == "rs"))
        {
            continue;
        }
        let name = file_name(&dir);
        if filter.is_none_or(|part| name.contains(part)) {
            cases.push(Case::read(name.clone(), dir, files)?);
        }
        known.push(name);
    }
    if cases.is_empty() {
        return Err(Error::NoCases { folder, filter: filter.map(str::to_owned), known });
    }
    Ok(cases)
}

impl Case {
    fn read(name: String, dir: PathBuf, files: Vec<PathBuf>) -> Result<Self, Error> {
        let (set, inputs) = (Vec::new(), Vec::new());
        let mut case = Self { name, dir, batches: 0, set, inputs, expected: BTreeMap::new(), totals: None };
        let mut settings = Settings::default();
        for path in files {
            let name = file_name(&path);
            if name == SETTINGS {
                settings = read_settings(&path)?;
            } else if name == ACCUMULATORS {
                case.totals = Some(path);
            } else if let Some(sink) = name.strip_prefix("expected.").and_then(|rest| rest.strip_suffix(".jsonl")) {
                case.expected.insert(sink.to_owned(), path);
            } else if is_input(&name) {
                case.inputs.push(input(&name, path)?);
            }
        }
        if let Some(folder) = settings.input.take() {
            case.inputs.extend(shared_inputs(&case.dir, &folder)?);
        }
        let last = case.inputs.iter().map(|input| input.batch).max().unwrap_or(0);
        case.batches = settings.batches.unwrap_or(last);
        case.set = settings.set;
        if case.batches < last || case.batches == 0 {
            let problem = match last {
                0 => "the case has no input and no number of batches".to_owned(),
                last => format!("batches = {}, and there is input for batch {last}", case.batches),
            };
            return Err(bad(
                case.dir.join(SETTINGS),
                problem,
                "leave `batches` out, or set it to the last batch's number",
            ));
        }
        Ok(case)
    }

    /// Where the expected output of a sink is, or would be.
    pub(crate) fn expected_path(&self, sink: &str) -> PathBuf {
        self.dir.join(format!("expected.{sink}.jsonl"))
    }

    /// Where the expected totals of accumulators are, or would be.
    pub(crate) fn totals_path(&self) -> PathBuf {
        self.dir.join(ACCUMULATORS)
    }
}

const INPUT_HELP: &str = "input is named BATCH.SOURCE.txt, .csv or .jsonl (1.lines.txt), output expected.SINK.jsonl, totals accumulators.jsonl, settings case.toml";

/// Hidden files and a word to readers are no part of a case.
fn is_input(name: &str) -> bool {
    !name.starts_with('.') && name != "README.md"
}

fn input(name: &str, path: PathBuf) -> Result<Input, Error> {
    let parts = name.split_once('.').and_then(|(batch, rest)| Some((batch, rest.rsplit_once('.')?)));
    let Some((batch, (source, ending))) = parts else {
        return Err(bad(path, "no file of a case is named so".to_owned(), INPUT_HELP));
    };
    let format = match ending {
        "txt" => RecordFormatSpec::Text,
        "csv" => RecordFormatSpec::Csv,
        "jsonl" | "ndjson" | "json" => RecordFormatSpec::Json,
        _ => return Err(bad(path, format!("`.{ending}` is no format of input"), INPUT_HELP)),
    };
    match batch.parse() {
        Ok(batch @ 1..=BATCHES_MAX) => Ok(Input { batch, source: source.to_owned(), format, path }),
        _ => Err(bad(path, format!("`{batch}` is not the number of a batch (1 to {BATCHES_MAX})"), INPUT_HELP)),
    }
}

/// What a folder has that several cases take their input from.
fn shared_inputs(case: &Path, folder: &Path) -> Result<Vec<Input>, Error> {
    let dir = case.join(folder);
    if !dir.is_dir() {
        let problem = format!("input = {folder:?}: there is no folder {}", dir.display());
        return Err(bad(case.join(SETTINGS), problem, "name a folder as it is seen from the case's: \"../../input\""));
    }
    let files = entries(&dir)?.into_iter().map(|path| (file_name(&path), path));
    files.filter(|(name, _)| is_input(name)).map(|(name, path)| input(&name, path)).collect()
}

fn read_settings(path: &Path) -> Result<Settings, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    let settings: Settings = toml::from_str(&text).map_err(|error| {
        bad(
            path.to_owned(),
            error.message().to_owned(),
            "a case has the settings `batches = NUMBER`, `set = [\"KEY=VALUE\"]` and `input = \"FOLDER\"`",
        )
    })?;
    match settings.batches {
        Some(batches) if !(1..=BATCHES_MAX).contains(&batches) => {
            let remedy = "leave `batches` out, or set it to the last batch's number";
            Err(bad(path.to_owned(), format!("batches = {batches} must be from 1 to {BATCHES_MAX}"), remedy))
        }
        _ => Ok(settings),
    }
}

pub(super) fn bad(path: PathBuf, problem: String, remedy: &str) -> Error {
    Error::BadCase { path, problem, remedy: remedy.to_owned() }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What lies in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |source| Error::Unreadable { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(unreadable)?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}
