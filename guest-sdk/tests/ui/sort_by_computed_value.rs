//! Columns have no values to compute with, and constants are no order.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| {
        ctx.text("words").sort_by(|word| word.len()).sink("by-length");
        ctx.text("words").top_by(3, |_word| 1).sink("by-nothing");
    });
}
