//! A struct with a list is a row, and no key.
#[derive(millpond::Row)]
struct Basket {
    buyer: i64,
    items: Vec<String>,
}

fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| ctx.source::<Basket>("baskets").count_by_value().sink("out"));
}
