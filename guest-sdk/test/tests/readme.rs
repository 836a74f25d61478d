//! The README's job and its test as they stand there, as somebody would copy them into a plugin.
//!
//! Counts words over all batches and shows the ten most frequent.
use std::cmp::Reverse;

use millpond::StreamingContext;

millpond::job!(|ctx: &mut StreamingContext| {
    ctx.text("lines")
        .flat_map::<String>(|line, out| {
            for word in line.split_whitespace() {
                out.push(word);
            }
        })
        .count_by_value()
        .update_state_by_key(|counts, total: Option<i64>| Some(total.unwrap_or(0) + counts.sum()))
        .top_by(10, |(word, count)| (Reverse(count), word))
        .columns(["word", "count"])
        .sink("counts");
});

#[test]
fn counts_go_on_after_a_crash() {
    let mut job = millpond_test::JobTest::new(millpond_job()).start();
    job.feed("lines", ["to be or not to be".to_owned()]);
    job.batch();
    job.restart();
    job.feed("lines", ["be".to_owned()]);
    job.batch();
    assert_eq!(job.rows::<(String, i64)>("counts")[0], ("be".to_owned(), 3));
}

#[test]
fn the_readme_shows_this_file() {
    let (readme, here) = (include_str!("../../../README.md"), include_str!("readme.rs"));
    let blocks: Vec<&str> = readme.split("\n```rust").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert_eq!(blocks.len(), 2, "its job and its test");
    for block in blocks {
        let (_, code) = block.split_once('\n').expect("there is code behind the fence's tag");
        assert!(here.contains(code), "this stands in the README, and is not what is compiled and run here:\n{code}");
    }
}
