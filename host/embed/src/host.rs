//! What all jobs of a program share.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use millpond_core::BoxError;
use millpond_engine::ComputePool;
use millpond_wasm::{EngineOptions, WasmEngine};
use tokio::runtime::{Builder, Runtime};

use crate::{Error, JobBuilder};

/// Threads for connections; computing happens elsewhere, so two are plenty.
const IO_THREADS: usize = 2;

/// Runs jobs. Clones are the same host.
#[derive(Clone)]
pub struct Host {
    pub(crate) engine: WasmEngine,
    pub(crate) pool: Arc<ComputePool>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) cores: usize,
}

impl Host {
    /// A host with as many compute threads as the machine has cores, which compiles components anew each time.
    ///
    /// **Errors**: when the system gives no threads, or the machine cannot run components.
    pub fn new() -> Result<Self, BoxError> {
        Self::with(available_parallelism().map_or(1, usize::from), None)
    }

    /// A host with so many compute threads, which keeps compiled components in `cache_dir`: a component that was compiled once
    /// loads in a few milliseconds. Nobody else may be able to write there.
    ///
    /// **Errors**: as [`new`](Self::new).
    pub fn with(cores: usize, cache_dir: Option<PathBuf>) -> Result<Self, BoxError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(IO_THREADS)
            .thread_name("millpond-io")
            .enable_all()
            .build()
            .map_err(|source| Error::NoThreads { source })?;
        let cores = cores.max(1);
        Ok(Self {
            engine: WasmEngine::try_new(EngineOptions { cache_dir, ..EngineOptions::default() })?,
            pool: Arc::new(ComputePool::try_new(cores)?),
            runtime: Arc::new(runtime),
            cores,
        })
    }

    /// A job of a component; `name` is what its state is kept under.
    #[must_use]
    pub fn job(&self, name: &str, component: Vec<u8>) -> JobBuilder {
        JobBuilder::new(self.clone(), name, component)
    }
}
