//! The result of flat_map has to be named: it cannot be told from what the closure pushes.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| {
        ctx.text("lines").flat_map(|line, out| line.split(' ').for_each(|word| out.push(word))).sink("words");
    });
}
