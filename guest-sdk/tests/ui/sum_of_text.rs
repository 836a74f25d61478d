//! Text has no sum.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| {
        ctx.source::<(String, String)>("pairs").sum_by_key().sink("out");
    });
}
