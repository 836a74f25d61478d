//! Sort keys have the types of columns.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| {
        ctx.text("words").top_by_computed::<usize>(3, |word| word.len()).sink("out");
    });
}
