//! The two streams of a join have keys of one type.
fn main() {
    millpond::job!(|ctx: &mut millpond::StreamingContext| {
        let orders = ctx.source::<(i64, String)>("orders");
        let payments = ctx.source::<(String, f64)>("payments");
        orders.join(&payments).sink("paid");
    });
}
