//! A component of world `transform`, as the engine sees it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::function::FunctionUsage;
use millpond_core::schema::{describe, difference_of_texts};
use millpond_core::{BoxError, StageOutput, TaskInfo, TransformFunction};
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::bindings::job::millpond::plugin::types::Param;
use crate::bindings::transform::Transform;
use crate::bindings::transform::exports::millpond::plugin::transform_guest as exports;
use crate::call::HostState;
use crate::convert::{lift, lower, plan};
use crate::engine::WasmEngine;
use crate::error::{Place, Result};
use crate::job::cross;
use crate::load::{LoadOptions, World};
use crate::pool::{Guest, Pool};

/// A transform's component: its columns, and its function over a pool of instances. Clones share the pool.
#[derive(Clone)]
pub struct TransformComponent {
    pool: Arc<Pool<TransformGuest>>,
}

impl WasmEngine {
    /// Loads a transform: checks the component, compiles it, makes one instance and asks it for its columns.
    ///
    /// **Errors**: as of [`WasmEngine::load_job`].
    pub fn load_transform(&self, options: &LoadOptions, component: &[u8]) -> Result<TransformComponent> {
        Ok(TransformComponent { pool: Arc::new(Pool::load(self, options, component)?) })
    }
}

impl TransformComponent {
    fn try_run(&self, task: &TaskInfo, input: &RecordBatch) -> Result<StageOutput> {
        let place = self.pool.place("run", None, task);
        let lowered = cross(&place, input)?;
        let columns = lowered.columns();
        self.pool.call(
            &place,
            |guest, store| guest.0.call_run(store, lower::task(task), lowered.batch(&columns)),
            |raw| lift::stage_output(&place, &self.pool.contract().output, input.num_rows(), raw),
        )
    }
}

impl TransformFunction for TransformComponent {
    fn input_schema(&self) -> SchemaRef {
        Arc::clone(&self.pool.contract().input)
    }

    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.pool.contract().output)
    }

    fn run(&self, task: &TaskInfo, input: &RecordBatch) -> Result<StageOutput, BoxError> {
        Ok(self.try_run(task, input)?)
    }

    fn usage(&self) -> FunctionUsage {
        self.pool.usage()
    }
}

/// What goes in and what comes out.
#[derive(PartialEq)]
struct Signature {
    input: SchemaRef,
    output: SchemaRef,
}

/// The exports of one instance.
struct TransformGuest(exports::Guest);

impl Guest for TransformGuest {
    type Contract = Signature;
    type Raw = exports::Signature;
    const WORLD: World = World::Transform;
    const DESCRIBE: &'static str = "describe";

    fn bind(store: &mut Store<HostState>, instance: &Instance) -> wasmtime::Result<Self> {
        Ok(Self(Transform::new(store, instance)?.millpond_plugin_transform_guest().clone()))
    }

    fn describe(
        &self,
        store: &mut Store<HostState>,
        params: &[Param<'_>],
    ) -> wasmtime::Result<Result<exports::Signature, String>> {
        self.0.call_describe(store, params)
    }

    fn contract(place: &Place, raw: exports::Signature) -> Result<Signature> {
        let input = plan::side(place, "input", raw.input)?;
        Ok(Signature { input, output: plan::side(place, "output", raw.output)? })
    }

    fn difference(first: &Signature, other: &Signature) -> String {
        let sides = [("input", &first.input, &other.input), ("output", &first.output, &other.output)];
        // Names count here, which a difference of schemas does not mark.
        let differing = sides.into_iter().filter(|(_, first, other)| first != other).map(|(side, first, other)| {
            let (first, other) = (describe(first), describe(other));
            format!("its {side} columns\n{}", difference_of_texts(("first", &first), ("then", &other)))
        });
        differing.collect::<Vec<_>>().join("\n  ")
    }
}
