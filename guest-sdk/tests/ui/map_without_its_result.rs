//! The result of map and flat_map has to be named: it cannot be told from the views that a closure returns.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| {
        ctx.text("lines").map(|line| (line, 1)).sink("pairs");
    });
}
