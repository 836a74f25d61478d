//! The host has no smallest boolean.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| {
        ctx.source::<(String, bool)>("flags").min_by_key().sink("out");
    });
}
