//! A map closure that returns what it built, as people write it first: that is map_owned.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| {
        ctx.text("lines").map::<String>(|line| line.to_uppercase()).sink("out");
    });
}
