//! Integers whose width depends on the machine are no rows.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| ctx.source::<usize>("numbers").sink("out"));
}
