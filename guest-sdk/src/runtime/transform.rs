//! A transform: one function over a batch, which a job uses as a step.

use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};

use super::call::run;
use crate::batch_time::InBatch;
use crate::bindings::millpond::plugin::dataflow::Operator;
use crate::bindings::millpond::plugin::types::{Batch, Failure, Field, Param, StageOutput, TaskInfo};
use crate::bindings::transform::exports::millpond::plugin::transform_guest::Signature;
use crate::failure::internal;
use crate::plan::{Code, Finished, StageFn};
use crate::{DStream, Row, StreamingContext};

/// The name that input and output go by inside.
const ENDS: &str = "transform";

/// Where a transform's stream begins. Settings are read as in a job.
pub struct TransformContext {
    context: StreamingContext,
}

impl TransformContext {
    /// The rows that come in.
    ///
    /// **Shape**: the columns of `T`; the job that uses the transform must give it these.
    pub fn input<T: Row>(&self) -> DStream<T> {
        self.context.source(ENDS)
    }
}

impl Deref for TransformContext {
    type Target = StreamingContext;

    fn deref(&self) -> &StreamingContext {
        &self.context
    }
}

impl<T: Row> DStream<T> {
    /// Ends a transform: these are the rows that go out. In a job use [`sink`](Self::sink).
    ///
    /// ```
    /// use millpond::runtime::{Transform, TransformContext};
    ///
    /// let upper = Transform::new(|ctx: &mut TransformContext| {
    ///     ctx.input::<String>().map_owned(|text| text.to_uppercase()).columns(["text"]).output();
    /// });
    /// assert_eq!(upper.describe(&[])?.output[0].name, "text");
    /// # Ok::<(), String>(())
    /// ```
    pub fn output(&self) {
        self.sink(ENDS);
    }
}

/// A transform that can be described and run: what [`transform!`](crate::transform) makes of a function.
pub struct Transform {
    define: fn(&mut TransformContext),
    described: RwLock<Option<Arc<Described>>>,
}

struct Described {
    stage: Arc<StageFn>,
    input: Vec<Field>,
}

impl Transform {
    /// A transform from the function that puts it together.
    #[must_use]
    pub fn new(define: fn(&mut TransformContext)) -> Self {
        Self { define, described: RwLock::new(None) }
    }

    /// The same transform, not yet described: what another instance of the component would be.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.define)
    }

    /// Runs the transform's function: its columns for these settings.
    ///
    /// # Errors
    /// Sentences for the user: settings that cannot be read, operators that a transform cannot have.
    pub fn describe(&self, params: &[Param]) -> Result<Signature, String> {
        let mut context = TransformContext { context: StreamingContext::new(params) };
        (self.define)(&mut context);
        let finished = context.context.finish().map_err(|sentence| {
            if sentence.contains("no sink") {
                "the transform has no output: end its stream with .output()".to_owned()
            } else {
                sentence
            }
        })?;
        let (signature, stage) = single_stage(finished)?;
        let described = Described { stage, input: signature.input.clone() };
        *self.described.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(described));
        Ok(signature)
    }

    /// Runs over one partition.
    ///
    /// # Errors
    /// `bad-input` if the batch is not of the input's schema.
    pub fn run(&self, task: &TaskInfo, input: Batch) -> Result<StageOutput, Failure> {
        let _in_batch = InBatch::enter(task);
        let described = self.described.read().unwrap_or_else(PoisonError::into_inner).clone();
        let described = described.ok_or_else(|| internal("run came before describe, or describe failed"))?;
        run(&*described.stage, task, input, &described.input)
    }
}

/// Takes the one stage out of a plan of input, stage, output.
fn single_stage(finished: Finished) -> Result<(Signature, Arc<StageFn>), String> {
    let nodes = finished.plan.nodes;
    let unexpected = nodes.iter().find(|node| match &node.operator {
        Operator::Stage(_) => false,
        Operator::Source(name) | Operator::Sink(name) => name != ENDS,
        _ => true,
    });
    if let Some(node) = unexpected {
        return Err(format!(
            "a transform maps, filters and flat-maps the rows of its input, and nothing else: `{}` belongs in a job",
            node.name
        ));
    }
    let mut stages = finished.code.into_iter().filter_map(|code| match code {
        Code::Stage(stage) => Some(stage),
        _ => None,
    });
    match (stages.next(), stages.next()) {
        (Some(stage), None) => {
            let schema = |index: usize| nodes.get(index).map(|node| node.schema.clone()).unwrap_or_default();
            Ok((Signature { input: schema(0), output: schema(1) }, stage))
        }
        (None, _) => Err("the transform does nothing: put an operator between input and output".to_owned()),
        _ => Err("a transform is one stage: use its output once, no cache(), and no operator that may refuse rows behind map_partitions".to_owned()),
    }
}
