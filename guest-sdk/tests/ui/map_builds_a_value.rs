//! A map closure cannot return what it built: that is map_owned.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| {
        ctx.text("lines").map::<String>(|line| &line.to_uppercase()).sink("out");
    });
}
