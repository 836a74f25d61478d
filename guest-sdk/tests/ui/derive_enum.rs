//! Only structs with named fields can be rows.
#[derive(millpond::Row)]
enum Action {
    View,
    Click,
}

#[derive(millpond::Row)]
struct Id(String);

#[derive(millpond::Row)]
struct Tagged<T> {
    tag: T,
}

fn main() {}
