//! A map closure returns a view of the type that was named.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| ctx.text("lines").map::<i64>(|line| line).sink("out"));
}
