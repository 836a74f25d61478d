//! What is neither a struct with named fields nor a list of names.
#[derive(millpond::Row)]
enum Action {
    View(String),
    Click,
}

#[derive(millpond::Row)]
struct Id(String);

#[derive(millpond::Row)]
struct Line<'a> {
    text: &'a str,
}

#[derive(millpond::Row)]
struct Twice {
    page: String,
    #[row(rename = "page")]
    other: String,
    #[row(column = "x")]
    third: i64,
}

fn main() {}
