//! Sort keys have the types of columns.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| {
        ctx.text("words").sort_by_key::<usize>(|word| word.len()).sink("out");
    });
}
