//! Lines through another component, `upper`: a job whose step is written in another language.

use millpond::StreamingContext;

millpond::job!(shout);

/// The dataflow.
pub fn shout(ctx: &mut StreamingContext) {
    ctx.text("lines").transform_by::<String>("upper").sink("out");
}
