//! What a reader sees, to the character.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use proptest::prelude::*;

use super::*;
use crate::schema::{TIMESTAMP, describe, list_of, map_of, same_types};

fn schema(columns: &[(&str, DataType)]) -> Schema {
    Schema::new(columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), false)).collect::<Vec<_>>())
}

fn structure(columns: &[(&str, DataType)]) -> DataType {
    DataType::Struct(schema(columns).fields)
}

#[track_caller]
fn shows(expected: &Schema, found: &Schema, lines: &[&str]) {
    assert_eq!(difference(("expected", expected), ("found", found)).lines().collect::<Vec<_>>(), lines);
}

use DataType::{Float64, Int32, Int64, Utf8};

#[test]
fn a_type_that_differs_is_marked_and_what_follows_stays_below() {
    let expected = schema(&[("id", Utf8), ("at", TIMESTAMP), ("n", Int64)]);
    shows(
        &expected,
        &schema(&[("id", Utf8), ("at", Int64), ("n", Int64)]),
        &[
            "  expected: id: utf8, at: timestamp, n: int64",
            "  found:    id: utf8, at: int64,     n: int64",
            "                          ^^^^^^^^^",
        ],
    );
}

#[test]
fn every_difference_is_marked() {
    shows(
        &schema(&[("a", Int64), ("b", Utf8), ("c", Int64)]),
        &schema(&[("a", Float64), ("b", Utf8), ("c", Int32)]),
        &[
            "  expected: a: int64,   b: utf8, c: int64",
            "  found:    a: float64, b: utf8, c: int32",
            "               ^^^^^^^              ^^^^^",
        ],
    );
}

#[test]
fn nullability_is_marked() {
    let nullable = Schema::new(vec![Field::new("count", Int64, true)]);
    shows(
        &nullable,
        &schema(&[("count", Int64)]),
        &["  expected: count: int64?", "  found:    count: int64", "                        ^"],
    );
}

#[test]
fn a_name_alone_is_shown_and_not_marked() {
    shows(
        &schema(&[("word", Utf8), ("n", Int64)]),
        &schema(&[("w", Utf8), ("count", Float64)]),
        &[
            "  expected: word: utf8, n:     int64",
            "  found:    w:    utf8, count: float64",
            "                               ^^^^^^^",
        ],
    );
}

#[test]
fn a_column_that_is_missing_or_too_many_is_marked_alone() {
    let (three, two) = (schema(&[("a", Utf8), ("b", Int64), ("c", Utf8)]), schema(&[("a", Utf8), ("c", Utf8)]));
    shows(
        &three,
        &two,
        &[
            "  expected: a: utf8, b: int64, c: utf8",
            "  found:    a: utf8,           c: utf8",
            "                     ^^^^^^^^",
        ],
    );
    shows(
        &two,
        &three,
        &[
            "  expected: a: utf8,           c: utf8",
            "  found:    a: utf8, b: int64, c: utf8",
            "                     ^^^^^^^^",
        ],
    );
    shows(
        &schema(&[("a", Utf8)]),
        &schema(&[("a", Utf8), ("b", Int64)]),
        &["  expected: a: utf8", "  found:    a: utf8, b: int64", "                     ^^^^^^^^"],
    );
    shows(&Schema::empty(), &schema(&[("a", Utf8)]), &["  expected:", "  found:    a: utf8", "            ^^^^^^^"]);
}

#[test]
fn inside_of_a_column_only_what_differs_is_marked() {
    let user = |tag, extra: &[(&str, DataType)]| {
        let mut fields = vec![("id", Int64), ("tags", list_of(Utf8, tag))];
        fields.extend_from_slice(extra);
        schema(&[("user", structure(&fields)), ("n", Int64)])
    };
    shows(
        &user(true, &[]),
        &user(false, &[]),
        &[
            "  expected: user: struct<id: int64, tags: list<utf8?>>, n: int64",
            "  found:    user: struct<id: int64, tags: list<utf8>>,  n: int64",
            "                                                   ^",
        ],
    );
    shows(
        &user(true, &[]),
        &user(true, &[("age", Int32)]),
        &[
            "  expected: user: struct<id: int64, tags: list<utf8?>>,             n: int64",
            "  found:    user: struct<id: int64, tags: list<utf8?>, age: int32>, n: int64",
            "                                                     ^^^^^^^^^^^^",
        ],
    );
    shows(
        &schema(&[("by", map_of(Utf8, Int64, false))]),
        &schema(&[("by", map_of(Utf8, Int64, true))]),
        &["  expected: by: map<utf8, int64>", "  found:    by: map<utf8, int64?>", "                               ^"],
    );
}

#[test]
fn many_columns_come_below_each_other_and_those_that_are_the_same_are_counted() {
    let mut columns: Vec<(String, DataType)> = (0..40).map(|number| (format!("column{number}"), Utf8)).collect();
    let schema = |columns: &[(String, DataType)]| {
        schema(&columns.iter().map(|(name, data_type)| (name.as_str(), data_type.clone())).collect::<Vec<_>>())
    };
    let expected = schema(&columns);
    columns[20].1 = Int64;
    columns.remove(30);
    shows(
        &expected,
        &schema(&columns),
        &[
            "  - is expected, + is found:",
            "      ... 18 columns are the same",
            "      column18: utf8",
            "      column19: utf8",
            "    - column20: utf8",
            "    + column20: int64",
            "                ^^^^^",
            "      column21: utf8",
            "      column22: utf8",
            "      ... 5 columns are the same",
            "      column28: utf8",
            "      column29: utf8",
            "    - column30: utf8",
            "      column31: utf8",
            "      column32: utf8",
            "      ... 7 columns are the same",
        ],
    );
}

#[test]
fn a_long_column_is_taken_apart() {
    let order = |price: DataType, nullable| {
        let item =
            structure(&[("article", Utf8), ("price", price), ("ordered_at", TIMESTAMP), ("delivered_at", TIMESTAMP)]);
        let order = structure(&[("customer_number", Int64), ("items", list_of(item, false))]);
        Schema::new(vec![Field::new("number", Int64, false), Field::new("order", order, nullable)])
    };
    shows(
        &order(Int64, true),
        &order(DataType::Decimal128(10, 2), false),
        &[
            "  - is expected, + is found:",
            "      number: int64",
            "      order: struct<",
            "        customer_number: int64",
            "        items: list<",
            "          struct<",
            "            article: utf8",
            "    -       price: int64",
            "    +       price: decimal(10, 2)",
            "                   ^^^^^^^^^^^^^^",
            "            ordered_at: timestamp",
            "            delivered_at: timestamp",
            "          >",
            "        >",
            "    - >?",
            "    + >",
        ],
    );
}

#[test]
fn schemas_that_were_kept_as_text_are_compared_with_their_names() {
    let kept = |expected, found| difference_of_texts(("in the plan", expected), ("in the state", found));
    assert_eq!(
        kept("word: utf8, count: int64, last_seen: timestamp", "word: utf8, count: int64"),
        "  in the plan:  word: utf8, count: int64, last_seen: timestamp\n  \
         in the state: word: utf8, count: int64\n                                          ^^^^^^^^^^^^^^^^^^^^"
    );
    assert_eq!(
        kept("word: utf8, count: int64", "word: utf8, n: int64"),
        "  in the plan:  word: utf8, count: int64\n  in the state: word: utf8, n:     int64\n                            ^^^^^"
    );
    assert_eq!(
        kept(
            "u: struct<a: decimal(10, 2), b: list<map<utf8, int64>?>>",
            "u: struct<a: decimal(10, 3), b: list<map<utf8, int64>?>>"
        ),
        "  in the plan:  u: struct<a: decimal(10, 2), b: list<map<utf8, int64>?>>\n  \
         in the state: u: struct<a: decimal(10, 3), b: list<map<utf8, int64>?>>\n                                         ^"
    );
}

#[test]
fn what_is_no_schema_is_shown_as_it_is() {
    for text in ["", ">", "<>", "a: , <", "?: ?", "äöü: list<, ", "a: struct<b", ",,"] {
        assert!(difference_of_texts(("expected", text), ("found", "word: utf8")).contains("word: utf8"), "{text}");
    }
    let shown = difference_of_texts(("expected", "update-state"), ("found", "map-with-state"));
    assert_eq!(shown, "  expected: update-state\n  found:    map-with-state\n            ^^^^^^^^");
}

fn any_type() -> impl Strategy<Value = DataType> {
    let plain = prop_oneof![Just(Int64), Just(Utf8), Just(DataType::Decimal128(10, 2))];
    plain.prop_recursive(3, 12, 4, |inner| {
        let fields = prop::collection::vec(("[a-c]{1,30}", inner.clone(), any::<bool>()), 1..4);
        prop_oneof![
            (inner.clone(), any::<bool>()).prop_map(|(item, nullable)| list_of(item, nullable)),
            (inner, any::<bool>()).prop_map(|(value, nullable)| map_of(Utf8, value, nullable)),
            fields.prop_map(|fields| {
                let field = |(name, data_type, nullable): (String, DataType, bool)| {
                    Arc::new(Field::new(name, data_type, nullable))
                };
                DataType::Struct(fields.into_iter().map(field).collect::<Fields>())
            }),
        ]
    })
}

fn any_schema() -> impl Strategy<Value = Schema> {
    let column = ("[a-c]{1,3}", any_type(), any::<bool>());
    prop::collection::vec(column, 0..12).prop_map(|columns| {
        let field = |(name, data_type, nullable): (String, DataType, bool)| Field::new(name, data_type, nullable);
        Schema::new(columns.into_iter().map(field).collect::<Vec<_>>())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn there_is_a_mark_exactly_where_types_differ((left, right) in (any_schema(), any_schema())) {
        for (left, right) in [(&left, &right), (&left, &left), (&right, &left)] {
            let shown = difference(("expected", left), ("found", right));
            let is_marked = shown.lines().skip(1).any(|line| line.starts_with("    -") || line.starts_with("    +") || line.contains('^'));
            prop_assert_eq!(is_marked, !same_types(left, right), "{}", shown);
            prop_assert!(shown.lines().all(|line| line.starts_with("  ") && line.chars().count() <= LINE_CHARS_MAX), "{}", shown);
        }
    }

    #[test]
    fn what_describe_shows_is_read_again(schema in any_schema()) {
        let text = describe(&schema);
        let again: Vec<String> = parse(&text).iter().map(|column| column.text(0)).collect();
        prop_assert_eq!(again.join(", "), text);
    }
}
