//! From a command's argument to a job that is checked and only needs to be started.
//!
//! The order is that of what can go wrong for the user: the job file, the build, the component, the plan, the plan against
//! the file, then the outside. Nothing is written anywhere (but what building writes) until all of it has passed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millpond_build::PluginFolder;
use millpond_connectors::{OnBadRecordSpec, OpenBroadcast, OpenSink, OpenSource};
use millpond_core::schema::{difference, same_types};
use millpond_core::{BoxError, BroadcastSource, Clock, OutputMode, StopSignal, TransformFunction};
use millpond_engine::{OnBadRecord, SinkBinding, SourceBinding, StreamGraph, Trigger};
use millpond_wasm::{EngineOptions, JobComponent, LoadOptions, WasmEngine};
use tokio::runtime::Handle;

use crate::args::JobArgs;
use crate::error::{Cause, Error, Result, did_you_mean};
use crate::job_file::{self, Defined, Files, JobFile, Place};
use crate::paths;
use crate::screen::Screen;

/// A job whose component was loaded and whose plan makes sense.
pub struct LoadedJob {
    /// Its file.
    pub file: JobFile,
    /// The engine that its transforms are to use as well.
    pub engine: WasmEngine,
    /// Its code.
    pub component: JobComponent,
    /// Its plan.
    pub graph: StreamGraph,
}

impl LoadedJob {
    /// Reads the job file, builds the plugin if there is one, loads the component, checks the plan.
    ///
    /// **Errors**: the job file's (MP01xx), the component's (MP02xx), the plan's (MP04xx).
    pub fn load(args: &JobArgs) -> Result<Self> {
        let path = job_file::resolve(&args.job)?;
        let file = JobFile::load(&path, &args.set)?;
        let (bytes, about) = component_bytes(&file, args.no_build)?;
        let engine = wasm_engine(args.perf_map)?;
        let options = LoadOptions { job: file.job.name.clone(), params: file.params.clone(), limits: file.limits };
        let component = engine.load_job(&options, &bytes).map_err(|error| about_component(about, error.into()))?;
        let graph = StreamGraph::try_new(component.plan().clone(), file.job.batch_interval_ms)?;
        Ok(Self { file, engine, component, graph })
    }

    /// Checks that plan and file name the same sources, sinks, broadcasts and transforms.
    ///
    /// **Errors**: MP0105, MP0106.
    pub fn cross_check(&self) -> Result<(), Error> {
        let check = |kind, planned: Vec<&str>, defined: Vec<(&str, &Place)>| {
            check_names(&self.file.path, kind, &planned, &defined)
        };
        let graph = &self.graph;
        check("source", graph.sources().iter().map(|(name, _)| *name).collect(), places(&self.file.sources))?;
        check("sink", graph.sinks().iter().map(|(name, _)| *name).collect(), places(&self.file.sinks))?;
        check("broadcast", graph.broadcasts().iter().map(|(name, _)| *name).collect(), places(&self.file.broadcasts))?;
        check("transform", graph.transforms().iter().map(|(name, ..)| *name).collect(), places(&self.file.transforms))
    }

    /// Checks that sinks in mode `update` get rows with a key and something beside it. The engine would find it, too, but only when
    /// the state folder is there already.
    ///
    /// **Errors**: MP0603.
    pub fn check_modes(&self) -> Result<(), millpond_engine::Error> {
        let update = self.file.sinks.iter().filter(|(_, sink)| sink.spec.mode() == OutputMode::Update);
        update.map(|(name, _)| name).try_for_each(|name| self.graph.check_update_mode(name))
    }

    /// Checks that a job which is to stop after all there is has only sources that come to an end.
    ///
    /// **Errors**: MP0104.
    pub fn check_trigger(&self) -> Result<(), Error> {
        if self.file.job.trigger != Trigger::AvailableNow {
            return Ok(());
        }
        for (name, source) in &self.file.sources {
            if let Some(remedy) = source.spec.endless() {
                return Err(Error::WrongValue {
                    place: source.place.clone(),
                    key: format!("sources.{name}"),
                    problem: "this source never ends, and job.trigger = \"available-now\" waits for its end".to_owned(),
                    allowed: format!("{remedy}, or job.trigger = \"continuous\""),
                });
            }
        }
        Ok(())
    }

    /// Checks that no sink makes files which a source would read: such a job feeds itself for ever.
    ///
    /// **Errors**: MP0603.
    pub fn check_loops(&self) -> Result<(), Error> {
        let named = |(name, files): (&String, &Option<Files>)| files.clone().map(|files| (name.clone(), files));
        let sources = self.file.sources.iter().map(|(name, defined)| (name, &defined.files)).filter_map(named);
        let sources: Vec<_> = sources.collect();
        let sinks = self.file.sinks.iter().map(|(name, defined)| (name, &defined.files)).filter_map(named);
        sinks.into_iter().try_for_each(|(name, files)| check_loop(&self.file.dir, &name, &files, &sources))
    }

    /// Loads the components that serve as steps.
    ///
    /// **Errors**: the component's (MP02xx); MP0208 when its columns are not the plan's.
    pub fn load_transforms(&self) -> Result<BTreeMap<String, Arc<dyn TransformFunction>>> {
        let mut transforms: BTreeMap<String, Arc<dyn TransformFunction>> = BTreeMap::new();
        for (name, input, output) in self.graph.transforms() {
            if transforms.contains_key(name) {
                continue;
            }
            let Some(Defined { spec, .. }) = self.file.transforms.get(name) else { continue };
            let key = format!("transforms.{name}.component");
            let bytes = read_component(&spec.component, &spec.component_place, &key)?;
            let options =
                LoadOptions { job: self.file.job.name.clone(), params: spec.params.clone(), limits: self.file.limits };
            let about = format!("{}: {key}: {}", spec.component_place, spec.component.display());
            let transform = self.engine.load_transform(&options, &bytes);
            let transform = transform.map_err(|error| about_component(about, error.into()))?;
            for (side, found, expected) in
                [("input", transform.input_schema(), input), ("output", transform.output_schema(), output)]
            {
                if !same_types(&found, expected) {
                    let difference = difference(("in the plan", expected), ("in the component", &found));
                    return Err(Error::TransformColumns { name: name.to_owned(), side, difference }.into());
                }
            }
            transforms.insert(name.to_owned(), Arc::new(transform));
        }
        Ok(transforms)
    }

    /// Opens the values of broadcasts, and reads them.
    ///
    /// **Errors**: MP0508.
    pub fn open_broadcasts(&self) -> Result<BTreeMap<String, Box<dyn BroadcastSource>>> {
        open_broadcasts(&self.file, &self.graph)
    }

    /// Opens the sources.
    ///
    /// **Errors**: those of the connectors (MP05xx).
    pub fn open_sources(&self, runtime: &Handle, clock: &Arc<dyn Clock>) -> Result<BTreeMap<String, SourceBinding>> {
        let mut sources = BTreeMap::new();
        for (name, schema) in self.graph.sources() {
            let Some(Defined { spec, .. }) = self.file.sources.get(name) else { continue };
            let receiver = spec.open(OpenSource {
                name: name.to_owned(),
                job_dir: self.file.dir.clone(),
                schema: Arc::clone(schema),
                runtime: runtime.clone(),
                clock: Arc::clone(clock),
                stdin: Box::new(std::io::stdin()),
            })?;
            let on_bad_record = match spec.on_bad_record() {
                OnBadRecordSpec::Skip => OnBadRecord::Skip,
                OnBadRecordSpec::Fail => OnBadRecord::Fail,
            };
            sources.insert(name.to_owned(), SourceBinding { receiver, on_bad_record });
        }
        Ok(sources)
    }

    /// Opens the sinks; they write nothing yet. `stop` is raised when nobody reads standard output any more.
    ///
    /// **Errors**: those of the connectors (MP06xx).
    pub fn open_sinks(&self, screen: &Screen, stop: &StopSignal) -> Result<BTreeMap<String, SinkBinding>> {
        let mut sinks = BTreeMap::new();
        for (name, schema) in self.graph.sinks() {
            let Some(Defined { spec, .. }) = self.file.sinks.get(name) else { continue };
            let sink = spec.open(OpenSink {
                name: name.to_owned(),
                job: self.file.job.name.clone(),
                job_dir: self.file.dir.clone(),
                schema: Arc::clone(schema),
                color: screen.out_is_colored(),
                out: Box::new(screen.out_writer()),
                stop: stop.clone(),
            })?;
            sinks.insert(name.to_owned(), SinkBinding { sink, mode: spec.mode() });
        }
        Ok(sinks)
    }
}

/// Opens the values of broadcasts, and reads them.
pub(crate) fn open_broadcasts(
    file: &JobFile,
    graph: &StreamGraph,
) -> Result<BTreeMap<String, Box<dyn BroadcastSource>>> {
    let mut broadcasts = BTreeMap::new();
    for (name, schema) in graph.broadcasts() {
        let Some(Defined { spec, .. }) = file.broadcasts.get(name) else { continue };
        let broadcast = spec.open(OpenBroadcast {
            name: name.to_owned(),
            job_dir: file.dir.clone(),
            schema: Arc::clone(schema),
            bytes_max: file.limits.broadcast_bytes,
        })?;
        broadcasts.insert(name.to_owned(), broadcast);
    }
    Ok(broadcasts)
}

/// The engine that runs components, with compiled code kept in the user's cache folder.
pub(crate) fn wasm_engine(perf_map: bool) -> Result<WasmEngine> {
    WasmEngine::try_new(EngineOptions { cache_dir: cache_dir(), perf_map }).map_err(BoxError::from)
}

/// `$XDG_CACHE_HOME/millpond`, or `~/.cache/millpond`.
fn cache_dir() -> Option<PathBuf> {
    // The XDG specification: a relative path is to be ignored.
    let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = xdg.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    base.map(|base| base.join("millpond"))
}

/// Says which component an error is about. Limits and the engine are no component's fault.
pub(crate) fn about_component(about: String, error: BoxError) -> BoxError {
    match error.code().0 {
        "MP0104" | "MP0901" => error,
        _ => Error::Component { about, source: Cause(error) }.into(),
    }
}

/// The component's bytes, and where it is named and lies, for messages.
fn component_bytes(file: &JobFile, no_build: bool) -> Result<(Vec<u8>, String)> {
    if let Some(component) = &file.job.component {
        let (place, key) = (&file.job.component_place, "job.component");
        return Ok((read_component(component, place, key)?, format!("{place}: {key}: {}", component.display())));
    }
    // As the user named it, so that messages name it so.
    let folder = file.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let plugin = PluginFolder::open(folder)?;
    let built = if no_build { plugin.built_before()? } else { plugin.build()? };
    Ok((built.bytes, built.path.display().to_string()))
}

fn read_component(path: &Path, place: &Place, key: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::WrongValue {
        place: place.clone(),
        key: key.to_owned(),
        problem: format!("{} cannot be read: {error}", path.display()),
        allowed: "the path of a component, relative to the job file".to_owned(),
    })
}

fn places<T>(defined: &BTreeMap<String, Defined<T>>) -> Vec<(&str, &Place)> {
    defined.iter().map(|(name, defined)| (name.as_str(), &defined.place)).collect()
}

/// A file's name as the sink `files` makes it, but for what its ending is.
const PART_NAME: &str = "1700000000000-part-00000";

fn check_loop(dir: &Path, sink: &str, files: &Files, sources: &[(String, Files)]) -> Result<(), Error> {
    let made = Path::new(&files.path).join(format!("{PART_NAME}.{}", files.extension));
    match sources.iter().find(|(_, source)| paths::is_read_by(&source.path, &made, dir)) {
        None => Ok(()),
        Some((source_name, source)) => Err(Error::OutputIsInput {
            place: files.place.clone(),
            sink: sink.to_owned(),
            folder: paths::resolved(&dir.join(&files.path)),
            source_name: source_name.clone(),
            source_path: source.path.clone(),
        }),
    }
}

/// What the plan names must be defined, and the other way round.
fn check_names(path: &Path, kind: &'static str, planned: &[&str], defined: &[(&str, &Place)]) -> Result<(), Error> {
    let is_defined = |name: &str| defined.iter().any(|(known, _)| *known == name);
    if let Some(name) = planned.iter().find(|name| !is_defined(name)) {
        let spare = defined.iter().map(|(name, _)| *name).filter(|name| !planned.contains(name));
        return Err(Error::NotDefined {
            path: path.to_owned(),
            kind,
            name: (*name).to_owned(),
            suggestion: did_you_mean(name, spare),
        });
    }
    if let Some((name, place)) = defined.iter().find(|(name, _)| !planned.contains(name)) {
        return Err(Error::NotInPlan {
            place: (*place).clone(),
            kind,
            name: (*name).to_owned(),
            suggestion: did_you_mean(name, planned.iter().copied()),
            known: planned.iter().map(|name| (*name).to_owned()).collect(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::render;

    fn check(planned: &[&str], defined: &[&str]) -> String {
        let place = Place::File { path: Path::new("millpond.toml").into(), line: 7 };
        let defined: Vec<_> = defined.iter().map(|name| (*name, &place)).collect();
        match check_names(Path::new("millpond.toml"), "source", planned, &defined) {
            Ok(()) => "ok".to_owned(),
            Err(error) => render(&error.into(), false),
        }
    }

    #[test]
    fn plan_and_file_must_name_the_same() {
        assert_eq!(check(&["a", "b"], &["b", "a"]), "ok");
        insta::assert_snapshot!(check(&["lines"], &[]), @r"
        error[MP0105]: millpond.toml: the plan uses source `lines`, which the job file does not define
        help: add a table [sources.lines]
        run `millpond explain MP0105` for more
        ");
        insta::assert_snapshot!(check(&["lines"], &["line"]), @r"
        error[MP0105]: millpond.toml: the plan uses source `lines`, which the job file does not define; did you mean `line`?
        help: rename the table to [sources.lines], or add one of that name
        run `millpond explain MP0105` for more
        ");
        insta::assert_snapshot!(check(&["lines"], &["lines", "words"]), @r"
        error[MP0106]: millpond.toml:7: sources.words: the plan has no source of this name
        help: remove the table, or give it a source's name of the plan: lines
        run `millpond explain MP0106` for more
        ");
    }
}
