//! Other integers than i64 are no rows.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| ctx.source::<u32>("numbers").sink("out"));
}
