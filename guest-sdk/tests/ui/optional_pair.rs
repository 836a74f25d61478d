//! Only a single column can be optional.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| ctx.source::<Option<(i64, i64)>>("pairs").sink("out"));
}
