//! Operators by key need pairs.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| ctx.text("lines").sum_by_key().sink("out"));
}
