//! Orders with what was paid for them: two streams joined by the order's number, over the last two seconds.

use std::time::Duration;

use millpond::{Row, StreamingContext};

millpond::job!(dataflow);

/// A row of the first input; its fields are the columns.
#[derive(Row, Clone, Debug, PartialEq)]
pub struct Order {
    pub order: i64,
    pub item: String,
}

/// A row of the second input.
#[derive(Row, Clone, Debug, PartialEq)]
pub struct Payment {
    pub order: i64,
    pub cents: i64,
}

/// Both streams become pairs of key and value. Windows of the same slide bring together what does not come in one batch.
pub fn dataflow(ctx: &mut StreamingContext) {
    let window = ctx.param_or("window", Duration::from_secs(2));
    let orders = ctx.source::<Order>("orders").map::<(i64, String)>(|order| (order.order, order.item));
    let payments = ctx.source::<Payment>("payments").map::<(i64, i64)>(|payment| (payment.order, payment.cents));
    orders
        .window(window, window)
        .named("orders-of-the-window")
        .join(&payments.window(window, window).named("payments-of-the-window"))
        .columns(["order", "item", "cents"])
        .sink("paid");
}

#[cfg(test)]
mod tests {
    use millpond_test::JobTest;

    use super::*;

    #[test]
    fn a_payment_finds_its_order_within_the_window() {
        let mut job = JobTest::new(millpond_job()).batch_interval_ms(1000).start();
        job.feed("orders", [Order { order: 1, item: "bread".to_owned() }, Order { order: 2, item: "tea".to_owned() }]);
        job.batch();
        job.assert_no_rows("paid");
        job.feed("payments", [Payment { order: 1, cents: 320 }, Payment { order: 9, cents: 100 }]);
        job.batch();
        job.assert_rows("paid", [(1_i64, ("bread".to_owned(), 320_i64))]);
    }
}
