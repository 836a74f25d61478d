//! An optional value is absent or there; there is nothing in between.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| ctx.source::<Option<Option<i64>>>("numbers").sink("out"));
}
