//! Settings have a few types.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| {
        let letter = ctx.param_or("letter", 'x');
        ctx.text("lines").filter(move |line| line.contains(letter)).sink("out");
    });
}
