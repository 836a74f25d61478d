//! The job as the component that is shipped, in place of its native code: feature `component`.
//!
//! It is built once per test program and folder, with the code of `millpond build`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use millpond::runtime::Param;
use millpond_build::PluginFolder;
use millpond_core::{BoxError, Plan};
use millpond_wasm::{EngineOptions, JobComponent, LoadOptions, WasmEngine};

use crate::JobTest;

impl JobTest {
    /// Runs the component that is built from this folder, usually `env!("CARGO_MANIFEST_DIR")`, instead of the native code.
    /// [`both!`](crate::both) runs a test in both ways. Needs the feature `component`, and what compiles for WebAssembly on the machine.
    #[must_use]
    pub fn component(mut self, folder: impl AsRef<Path>) -> Self {
        self.component = Some(folder.as_ref().to_owned());
        self
    }
}

/// Builds and loads a plugin's component.
///
/// # Panics
/// With the reason and the remedy if it cannot be built or loaded, or if its plan is not the native one's.
#[track_caller]
pub(crate) fn load(folder: &Path, params: &[Param], native: &Plan) -> Arc<JobComponent> {
    let bytes = built(folder);
    let params = params.iter().map(|param| (param.name.clone(), param.value.clone())).collect();
    let options = LoadOptions { job: "test".to_owned(), params, ..LoadOptions::default() };
    let component = engine().load_job(&options, &bytes);
    let component = component.unwrap_or_else(|error| panic!("the component of {}: {error}", folder.display()));
    assert!(
        component.plan() == native,
        "the component of {} has another plan than the job under test: it is built from another crate, or the plan depends on \
         where it runs",
        folder.display()
    );
    Arc::new(component)
}

fn engine() -> &'static WasmEngine {
    static ENGINE: OnceLock<WasmEngine> = OnceLock::new();
    ENGINE.get_or_init(|| WasmEngine::try_new(EngineOptions::default()).unwrap_or_else(|error| panic!("{error}")))
}

#[track_caller]
fn built(folder: &Path) -> Vec<u8> {
    static BUILT: OnceLock<Mutex<HashMap<PathBuf, Vec<u8>>>> = OnceLock::new();
    let mut built = BUILT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = built.get(folder) {
        return bytes.clone();
    }
    let plugin = PluginFolder::open(folder).map_err(BoxError::from).and_then(|plugin| plugin.build());
    let plugin = plugin.unwrap_or_else(|error| panic!("error[{}]: {}", error.code(), error.full_message()));
    built.insert(folder.to_owned(), plugin.bytes.clone());
    plugin.bytes
}

/// A test that runs twice: natively, and against the component that is built from the crate it stands in.
///
/// The test's settings are behind the `=`, and behind a `;` the plugin's folder, if it is another than the crate's. The two halves are called `NAME::native` and `NAME::component`. Needs the feature
/// `component`.
///
/// ```
/// # fn millpond_job() -> millpond::Job {
/// #     millpond::Job::new(|ctx| ctx.text("lines").sink("out"))
/// # }
/// use millpond_test::JobTest;
///
/// millpond_test::both! {
///     /// Lines go through.
///     fn lines_go_through(test = JobTest::new(millpond_job()).parallelism(3)) {
///         let mut job = test.start();
///         job.feed("lines", ["one".to_owned()]);
///         job.batch();
///         job.assert_rows("out", ["one".to_owned()]);
///     }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! both {
    (@folder) => { env!("CARGO_MANIFEST_DIR") };
    (@folder $folder:expr) => { $folder };
    ($($(#[$meta:meta])* fn $name:ident($test:ident = $settings:expr $(; $folder:expr)?) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "a test may need nothing of what is around it")]
            use super::*;

            #[allow(dead_code, reason = "without cfg(test) nobody calls it")]
            fn run($test: $crate::JobTest) $body

            #[test]
            fn native() {
                run($settings);
            }

            #[test]
            fn component() {
                run($settings.component($crate::both!(@folder $($folder)?)));
            }
        }
    )*};
}
