//! What `docs/from-spark-streaming.md` shows, compiled and run: each function has a block of the page, word for word
//! (`tests/tests/docs.rs` compares them), and a check that it means what the page says.

use std::cmp::Reverse;
use std::time::Duration;

use millpond::{Job, State, StreamingContext, Timestamp, batch_time};
use millpond_test::{JobTest, RunningJob};

fn start(define: fn(&mut StreamingContext)) -> RunningJob {
    JobTest::new(Job::new(define)).start()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn pair(key: &str, value: i64) -> (String, i64) {
    (key.to_owned(), value)
}

/// Between partitions there is no order.
fn sorted<T: Ord>(mut rows: Vec<T>) -> Vec<T> {
    rows.sort();
    rows
}

#[test]
fn whole_job() {
    fn define(ctx: &mut StreamingContext) {
        ctx.text("lines")
            .split(' ')
            .count_by_value()
            .update_state_by_key(|counts, total: Option<i64>| Some(total.unwrap_or(0) + counts.sum()))
            .top_by(10, |(word, count)| (Reverse(count), word))
            .sink("counts");
    }
    let mut job = start(define);
    job.feed("lines", texts(&["b a", "b"]));
    job.batch();
    assert_eq!(job.rows::<(String, i64)>("counts"), [pair("b", 2), pair("a", 1)]);
}

#[test]
fn map() {
    fn define(ctx: &mut StreamingContext) {
        ctx.text("words").map::<(String, i64)>(|word| (word, 1)).sink("pairs");
    }
    let mut job = start(define);
    job.feed("words", texts(&["to"]));
    job.batch();
    assert_eq!(job.rows::<(String, i64)>("pairs"), [pair("to", 1)]);
}

#[test]
fn flat_map() {
    fn define(ctx: &mut StreamingContext) {
        ctx.text("lines").flat_map::<String>(|line, out| line.split(' ').for_each(|word| out.push(word))).sink("words");
    }
    let mut job = start(define);
    job.feed("lines", texts(&["to be", "or"]));
    job.batch();
    assert_eq!(job.rows::<String>("words"), ["to", "be", "or"]);
}

#[test]
fn filter() {
    fn define(ctx: &mut StreamingContext) {
        ctx.text("lines").filter(|line| line.contains("ERROR")).sink("errors");
    }
    let mut job = start(define);
    job.feed("lines", texts(&["ERROR disk", "INFO"]));
    job.batch();
    assert_eq!(job.rows::<String>("errors"), ["ERROR disk"]);
}

#[test]
fn reduce() {
    fn define(ctx: &mut StreamingContext) {
        ctx.source::<i64>("numbers").reduce(|a, b| a + b).sink("sum");
    }
    let mut job = start(define);
    job.feed("numbers", [1i64, 2, 3]);
    job.batch();
    assert_eq!(job.rows::<i64>("sum"), [6]);
}

#[test]
fn count() {
    fn define(ctx: &mut StreamingContext) {
        ctx.text("lines").count().sink("n");
        ctx.text("words").count_by_value().sink("frequencies");
    }
    let mut job = start(define);
    job.feed("words", texts(&["a", "a", "b"]));
    job.batch();
    assert_eq!(job.rows::<i64>("n"), [0]);
    assert_eq!(sorted(job.rows::<(String, i64)>("frequencies")), [pair("a", 2), pair("b", 1)]);
}

#[test]
fn reduce_by_key() {
    fn define(ctx: &mut StreamingContext) {
        ctx.source::<(String, i64)>("pairs").sum_by_key().sink("counts");
        ctx.source::<(String, String)>("lines")
            .reduce_by_key(|a, b| if b.len() > a.len() { b.to_owned() } else { a })
            .sink("longest");
    }
    let mut job = start(define);
    job.feed("pairs", [pair("a", 1), pair("b", 5), pair("a", 2)]);
    job.feed("lines", [("a".to_owned(), "x".to_owned()), ("a".to_owned(), "xy".to_owned())]);
    job.batch();
    assert_eq!(sorted(job.rows::<(String, i64)>("counts")), [pair("a", 3), pair("b", 5)]);
    assert_eq!(job.rows::<(String, String)>("longest"), [("a".to_owned(), "xy".to_owned())]);
}

#[test]
fn aggregate_by_key() {
    fn define(ctx: &mut StreamingContext) {
        ctx.source::<(String, f64)>("readings")
            .combine_by_key::<(f64, i64)>(|v| (v, 1), |c, v| (c.0 + v, c.1 + 1), |a, b| (a.0 + b.0, a.1 + b.1))
            .map_values::<f64>(|(sum, n)| sum / n as f64)
            .sink("means");
    }
    let mut job = start(define);
    job.feed("readings", [("a".to_owned(), 1.0), ("a".to_owned(), 2.0)]);
    job.batch();
    assert_eq!(job.rows::<(String, f64)>("means"), [("a".to_owned(), 1.5)]);
}

#[test]
fn aggregate() {
    fn define(ctx: &mut StreamingContext) {
        ctx.text("lines")
            .key_by::<()>(|_| ())
            .aggregate_by_key((0i64, 0i64), |c, line| (c.0 + 1, c.1 + line.len() as i64), |a, b| (a.0 + b.0, a.1 + b.1))
            .values()
            .sink("total");
    }
    let mut job = start(define);
    job.feed("lines", texts(&["to be", "or"]));
    job.batch();
    assert_eq!(job.rows::<(i64, i64)>("total"), [(2, 7)]);
    job.batch();
    assert!(job.rows::<(i64, i64)>("total").is_empty());
}

#[test]
fn cache() {
    fn define(ctx: &mut StreamingContext) {
        let events = ctx.text("lines").map_owned(|line| line.to_lowercase()).cache();
        events.count().sink("n");
        events.count_by_value().sink("frequencies");
    }
    let mut job = start(define);
    job.feed("lines", texts(&["A", "a"]));
    job.batch();
    assert_eq!(job.rows::<i64>("n"), [2]);
    assert_eq!(job.rows::<(String, i64)>("frequencies"), [pair("a", 2)]);
}

#[test]
fn sums_of_a_window() {
    fn define(ctx: &mut StreamingContext) {
        let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
        let windowed = ctx.source::<(String, i64)>("pairs").window(length, slide);
        windowed.sum_by_key().sink("aggregated");
    }
    let mut job = start(define);
    for _ in 0..10 {
        job.feed("pairs", [pair("a", 2), pair("b", 1)]);
        job.batch();
    }
    assert_eq!(sorted(job.rows::<(String, i64)>("aggregated")), [pair("a", 20), pair("b", 10)]);
}

#[test]
fn union() {
    fn define(ctx: &mut StreamingContext) {
        let (north, south) = (ctx.text("north"), ctx.text("south"));
        north.union(&south).sink("all");
    }
    let mut job = start(define);
    job.feed("north", texts(&["n"]));
    job.feed("south", texts(&["s"]));
    job.batch();
    assert_eq!(job.rows::<String>("all"), ["n", "s"]);
}

#[test]
fn group_by_key() {
    fn define(ctx: &mut StreamingContext) {
        ctx.source::<(String, i64)>("pairs")
            .group_by_key()
            .map_values::<i64>(|values| values.iter().sum())
            .sink("sums");
        let (orders, payments) = (ctx.source::<(i64, String)>("orders"), ctx.source::<(i64, f64)>("payments"));
        orders.cogroup(&payments).sink("per-order");
    }
    let mut job = start(define);
    job.feed("pairs", [pair("a", 1), pair("b", 5), pair("a", 2)]);
    job.feed("orders", [(1i64, "book".to_owned())]);
    job.feed("payments", [(1i64, 9.5), (1, 0.5)]);
    job.batch();
    assert_eq!(sorted(job.rows::<(String, i64)>("sums")), [pair("a", 3), pair("b", 5)]);
    let grouped = job.rows::<(i64, (Vec<String>, Vec<f64>))>("per-order");
    assert_eq!(grouped, [(1, (vec!["book".to_owned()], vec![9.5, 0.5]))]);
}

#[test]
fn join() {
    fn define(ctx: &mut StreamingContext) {
        let orders = ctx.source::<(i64, String)>("orders");
        let payments = ctx.source::<(i64, f64)>("payments");
        orders.join(&payments).sink("paid");
        orders.left_outer_join(&payments).sink("all-orders");
        orders.right_outer_join(&payments).sink("all-payments");
        orders.full_outer_join(&payments).sink("everything");

        let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
        let recent_orders = orders.window(length, slide).named("recent-orders");
        recent_orders.join(&payments.window(length, slide)).sink("recent");
    }
    let mut job = start(define);
    job.feed("orders", [(1i64, "book".to_owned()), (2, "pen".to_owned())]);
    job.feed("payments", [(1i64, 9.5), (3, 1.0)]);
    job.batch();
    let (book, pen) = ("book".to_owned(), "pen".to_owned());
    assert_eq!(job.rows::<(i64, (String, f64))>("paid"), [(1, (book.clone(), 9.5))]);
    let mut all = job.rows::<(i64, (String, Option<f64>))>("all-orders");
    all.sort_by_key(|(order, _)| *order);
    assert_eq!(all, [(1, (book.clone(), Some(9.5))), (2, (pen, None))]);
    let mut all = job.rows::<(i64, (Option<String>, f64))>("all-payments");
    all.sort_by_key(|(order, _)| *order);
    assert_eq!(all, [(1, (Some(book), 9.5)), (3, (None, 1.0))]);
    assert_eq!(job.rows::<(i64, (Option<String>, Option<f64>))>("everything").len(), 3);
}

#[test]
fn distinct() {
    fn define(ctx: &mut StreamingContext) {
        ctx.text("visits").distinct().sink("users");
        ctx.text("all").subtract(&ctx.text("stop-words")).sink("words");
        ctx.text("visits").intersect(&ctx.text("customers")).sink("both");
    }
    let mut job = start(define);
    job.feed("visits", texts(&["ann", "bob", "ann"]));
    job.feed("customers", texts(&["ann", "eve"]));
    job.feed("all", texts(&["to", "be", "be"]));
    job.feed("stop-words", texts(&["to"]));
    job.batch();
    assert_eq!(sorted(job.rows::<String>("users")), ["ann", "bob"]);
    assert_eq!(job.rows::<String>("words"), ["be", "be"]);
    assert_eq!(job.rows::<String>("both"), ["ann"]);
}

#[test]
fn window() {
    fn define(ctx: &mut StreamingContext) {
        ctx.text("words").window(Duration::from_secs(30), Duration::from_secs(10)).sink("recent");
    }
    let mut job = start(define);
    for batch in 0..10 {
        job.feed("words", [batch.to_string()]);
        job.batch();
    }
    assert_eq!(job.rows::<String>("recent").len(), 10);
}

#[test]
fn count_by_window() {
    fn define(ctx: &mut StreamingContext) {
        let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
        ctx.text("lines").count_by_window(length, slide).sink("rate");
        ctx.text("words").count_by_value_and_window(length, slide).sink("trending");
        ctx.source::<f64>("readings").reduce_by_window(|a, b| a.max(b), length, slide).sink("peak");
        ctx.source::<i64>("sizes")
            .reduce_by_window_with_inverse(|a, b| a + b, |a, b| a - b, length, slide)
            .named("sizes-of-a-minute")
            .sink("bytes");
    }
    let mut job = start(define);
    for batch in 0..10 {
        job.feed("words", texts(&["a"]));
        job.feed("readings", [f64::from(batch)]);
        job.feed("sizes", [100i64, 20]);
        job.batch();
    }
    assert_eq!(job.rows::<i64>("rate"), [0]);
    assert_eq!(job.rows::<(String, i64)>("trending"), [pair("a", 10)]);
    assert_eq!(job.rows::<f64>("peak"), [9.0]);
    assert_eq!(job.rows::<i64>("bytes"), [1200]);
}

#[test]
fn reduce_by_key_and_window() {
    fn define(ctx: &mut StreamingContext) {
        let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
        ctx.source::<(String, i64)>("pairs").reduce_by_key_and_window(|a, b| a + b, length, slide).sink("counts");
    }
    let mut job = start(define);
    for _ in 0..10 {
        job.feed("pairs", [pair("a", 2)]);
        job.batch();
    }
    assert_eq!(job.rows::<(String, i64)>("counts"), [pair("a", 20)]);
}

#[test]
fn with_inverse() {
    fn define(ctx: &mut StreamingContext) {
        let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
        let video_plays = ctx.source::<(String, i64)>("video-plays");
        video_plays.reduce_by_key_and_window_with_inverse(|a, b| a + b, |a, b| a - b, length, slide).sink("plays");
        video_plays
            .reduce_by_key_and_window_with_inverse_and_filter(
                |a, b| a + b,
                |a, b| a - b,
                length,
                slide,
                |(_, plays)| plays >= 100,
            )
            .named("popular-plays")
            .sink("popular");
    }
    let mut job = start(define);
    for _ in 0..10 {
        job.feed("video-plays", [pair("a", 20), pair("b", 1)]);
        job.batch();
    }
    assert_eq!(sorted(job.rows::<(String, i64)>("plays")), [pair("a", 200), pair("b", 10)]);
    assert_eq!(job.rows::<(String, i64)>("popular"), [pair("a", 200)]);
}

#[test]
fn update_state_by_key() {
    fn define(ctx: &mut StreamingContext) {
        ctx.source::<(String, i64)>("pairs")
            .update_state_by_key(|values, state: Option<i64>| Some(state.unwrap_or(0) + values.sum()))
            .sink("totals");
    }
    let mut job = start(define);
    job.feed("pairs", [pair("a", 1), pair("b", 1)]);
    job.batch();
    job.restart();
    job.feed("pairs", [pair("a", 2)]);
    job.batch();
    assert_eq!(sorted(job.rows::<(String, i64)>("totals")), [pair("a", 3), pair("b", 1)]);
}

#[test]
fn map_with_state() {
    fn define(ctx: &mut StreamingContext) {
        let numbered = ctx
            .source::<(String, String)>("visits")
            .map_with_state(|user, page: Option<&str>, visits: &mut State<'_, i64>| {
                let n = visits.get().unwrap_or(0) + 1;
                if !visits.is_timing_out() {
                    visits.update(n);
                }
                page.map(|page| (user.to_owned(), page.to_owned(), n))
            })
            .timeout(Duration::from_secs(30 * 60));
        numbered.sink("numbered");
        numbered.state_snapshots().sink("per-user");
    }
    let mut job = start(define);
    for page in ["home", "cart"] {
        job.feed("visits", [("ann".to_owned(), page.to_owned())]);
        job.batch();
    }
    assert_eq!(job.rows::<(String, String, i64)>("numbered"), [("ann".to_owned(), "cart".to_owned(), 2)]);
    assert_eq!(job.rows::<(String, i64)>("per-user"), [pair("ann", 2)]);
}

#[test]
fn sort_take() {
    fn define(ctx: &mut StreamingContext) {
        ctx.source::<(String, i64)>("counts").top_by(10, |(word, count)| (Reverse(count), word)).sink("top");
    }
    let mut job = start(define);
    job.feed("counts", (0..20).map(|n| pair("w", n)));
    job.batch();
    let top = job.rows::<(String, i64)>("top");
    assert_eq!((top.len(), &top[0]), (10, &pair("w", 19)));
}

#[test]
fn transform() {
    fn define(ctx: &mut StreamingContext) {
        ctx.source::<(String, f64)>("totals")
            .transform::<(String, f64)>(|rows, out| {
                let sum: f64 = rows.iter().map(|(_, total)| total).sum();
                rows.iter().for_each(|(name, total)| out.push((name, total / sum)));
            })
            .sink("shares");
    }
    let mut job = start(define);
    job.feed("totals", [("a".to_owned(), 1.0), ("b".to_owned(), 3.0)]);
    job.batch();
    assert_eq!(job.rows::<(String, f64)>("shares"), [("a".to_owned(), 0.25), ("b".to_owned(), 0.75)]);
}

#[test]
fn map_partitions() {
    fn define(ctx: &mut StreamingContext) {
        ctx.text("lines")
            .repartition(8)
            .map_partitions::<String>(|rows, out| {
                if let Some(longest) = rows.iter().max_by_key(|line| line.len()) {
                    out.push(longest);
                }
            })
            .sink("longest");
    }
    let mut job = start(define);
    job.feed("lines", texts(&["a", "bb"]));
    job.batch();
    assert_eq!(sorted(job.rows::<String>("longest")), ["a", "bb"]);
}

#[test]
fn foreach_batch() {
    fn define(ctx: &mut StreamingContext) {
        ctx.text("lines").foreach_batch::<(Timestamp, String)>("report", |lines, out| {
            out.push((batch_time(), &format!("{} lines", lines.len())));
        });
    }
    let mut job = start(define);
    job.feed("lines", texts(&["a", "b"]));
    job.batch();
    assert_eq!(job.rows::<(Timestamp, String)>("report")[0].1, "2 lines");
}

#[test]
fn accumulators() {
    fn define(ctx: &mut StreamingContext) {
        let malformed = ctx.counter("malformed");
        ctx.text("lines")
            .flat_map::<i64>(move |line, out| match line.parse() {
                Ok(number) => out.push(number),
                Err(_) => malformed.add(1),
            })
            .sink("numbers");
    }
    let mut job = start(define);
    job.feed("lines", texts(&["1", "x"]));
    job.batch();
    assert_eq!(job.rows::<i64>("numbers"), [1]);
}
