//! Closures carry nothing from one call to the next.
use std::cell::Cell;

fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| {
        let seen = Cell::new(0);
        ctx.text("lines")
            .filter(move |_| {
                seen.set(seen.get() + 1);
                seen.get() > 10
            })
            .sink("out");
    });
}
