//! Every row type through columns and back, derived rows, and batches that are not what the plan says.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::Row;
use crate::bindings::millpond::plugin::types::{ColumnData, FailureCode, VarData};

type Everything = (bool, i64, f64, String, Vec<u8>, Timestamp, Nulls);
type Nulls = (Option<bool>, Option<i64>, Option<f64>, Option<String>, Option<Vec<u8>>, Option<Timestamp>);

#[derive(Row, Clone, Debug, PartialEq)]
struct Visit {
    page: String,
    user: User,
    r#type: Option<i64>,
    /// Named as the generated code's own variables, on purpose.
    next: bool,
    first: f64,
}

#[derive(Row, Clone, Debug, PartialEq)]
struct User {
    id: i64,
    name: Option<String>,
}

fn nulls() -> impl Strategy<Value = Nulls> {
    use proptest::option::of;
    (
        of(any::<bool>()),
        of(any::<i64>()),
        of(-1e9..1e9),
        of(".{0,4}"),
        of(proptest::collection::vec(any::<u8>(), 0..4)),
        of(any::<i64>().prop_map(Timestamp)),
    )
}

fn everything() -> impl Strategy<Value = Everything> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..4);
    (any::<bool>(), any::<i64>(), -1e9..1e9, ".{0,6}", bytes, any::<i64>().prop_map(Timestamp), nulls())
}

fn visit() -> impl Strategy<Value = Visit> {
    let user = (any::<i64>(), proptest::option::of("[a-zß]{0,5}")).prop_map(|(id, name)| User { id, name });
    (".{0,5}", user, proptest::option::of(any::<i64>()), any::<bool>(), -1e9..1e9)
        .prop_map(|(page, user, r#type, next, first)| Visit { page, user, r#type, next, first })
}

/// Lists, maps and optional structs in each other.
#[derive(Row, Clone, Debug, PartialEq)]
struct Basket {
    buyer: Option<User>,
    lines: Vec<(String, i64)>,
    notes: Vec<Option<String>>,
    prices: BTreeMap<String, Vec<f64>>,
    spot: Option<(f64, f64)>,
    visits: Option<Vec<Visit>>,
    blobs: Vec<Vec<u8>>,
}

fn basket() -> impl Strategy<Value = Basket> {
    use proptest::collection::{btree_map, vec};
    use proptest::option::of;
    let user = (any::<i64>(), of("[a-zß]{0,5}")).prop_map(|(id, name)| User { id, name });
    let prices = btree_map("[a-c]{0,2}", vec(-1e9..1e9, 0..3), 0..3);
    let blobs = vec(vec(any::<u8>(), 0..3), 0..3);
    let spot = of((-1e9..1e9, -1e9..1e9));
    (
        of(user),
        vec((".{0,3}", any::<i64>()), 0..4),
        vec(of(".{0,3}"), 0..4),
        prices,
        spot,
        of(vec(visit(), 0..3)),
        blobs,
    )
        .prop_map(|(buyer, lines, notes, prices, spot, visits, blobs)| Basket {
            buyer,
            lines,
            notes,
            prices,
            spot,
            visits,
            blobs,
        })
}

fn columns<T: Row>(rows: &[T]) -> T::Columns {
    let mut columns = T::Columns::default();
    rows.iter().for_each(|row| T::push(&mut columns, row.to_ref()));
    columns
}

fn round_trip<T: Row>(rows: &[T]) -> Vec<T> {
    let batch = write_batch::<T>(rows.len(), columns(rows)).expect("the rows fit in a batch");
    let (count, columns) = read_batch::<T>(batch, &fields::<T>("")).expect("what was written can be read");
    (0..count).map(|row| T::from_ref(T::get(&columns, row))).collect()
}

proptest! {
    #[test]
    fn every_type_comes_back(rows in proptest::collection::vec(everything(), 0..20)) {
        prop_assert_eq!(round_trip(&rows), rows);
    }

    #[test]
    fn derived_rows_come_back(rows in proptest::collection::vec(visit(), 0..20)) {
        prop_assert_eq!(round_trip(&rows), rows);
    }

    #[test]
    fn nested_rows_come_back(rows in proptest::collection::vec(basket(), 0..20)) {
        prop_assert_eq!(round_trip(&rows), rows);
    }

    #[test]
    fn lists_and_maps_in_columns_are_like_owned_ones(rows in proptest::collection::vec(basket(), 1..10)) {
        let columns = columns(&rows);
        for (index, row) in rows.iter().enumerate() {
            let (found, owned) = (Basket::get(&columns, index), row.to_ref());
            prop_assert_eq!(found, owned);
            prop_assert_eq!(found.lines.len(), row.lines.len());
            prop_assert_eq!(found.lines.iter().rev().collect::<Vec<_>>(), owned.lines.iter().rev().collect::<Vec<_>>());
            prop_assert!(found.lines.get(row.lines.len()).is_none());
            for (key, value) in &row.prices {
                prop_assert_eq!(found.prices.get(key), Some(value.to_ref()));
            }
            prop_assert!(found.prices.get("none").is_none());
        }
    }

    #[test]
    fn lists_are_ordered_as_vectors_are(rows in proptest::collection::vec(proptest::collection::vec(0i64..3, 0..4), 1..10)) {
        let columns = columns(&rows);
        for left in 0..rows.len() {
            for right in 0..rows.len() {
                prop_assert_eq!(Vec::<i64>::order_at(&columns, 0, left, right), rows[left].cmp(&rows[right]));
            }
        }
    }

    #[test]
    fn a_key_equals_itself_and_hashes_alike(rows in proptest::collection::vec(visit(), 1..10)) {
        let columns = columns(&rows);
        for (index, row) in rows.iter().enumerate() {
            prop_assert!(Visit::same_at(&columns, index, row.to_ref()));
            for (other, view) in rows.iter().enumerate() {
                let same = Visit::same_at(&columns, other, row.to_ref());
                prop_assert_eq!(same, view == row);
                prop_assert!(!same || Visit::hash(row.to_ref(), 0) == Visit::hash(view.to_ref(), 0));
            }
        }
    }
}

#[test]
fn names_are_those_of_fields_and_places() {
    let names = |fields: Vec<Field>| fields.into_iter().map(|field| field.name).collect::<Vec<_>>().join(" ");
    assert_eq!(names(fields::<i64>("")), "value");
    assert_eq!(names(fields::<(String, (i64, f64))>("")), "_1 _2._1 _2._2");
    assert_eq!(names(fields::<Visit>("")), "page user.id user.name type next first");
    assert_eq!(names(fields::<(Visit, i64)>("")), "_1.page _1.user.id _1.user.name _1.type _1.next _1.first _2");
    assert_eq!(Visit::WIDTH, 6);
    assert_eq!(<(Visit, i64)>::KEY_COLUMNS, 6);
    assert_eq!(<(Visit, i64, i64)>::KEY_COLUMNS, 0);
}

#[test]
fn what_is_inside_of_a_column_follows_it() {
    let shown = |fields: Vec<Field>| {
        let one = |field: &Field| format!("{}:{}{}", field.name, reader::type_name(field.data_type), field.children);
        fields.iter().map(one).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(fields::<Vec<i64>>("")), "value:list1 item:int640");
    assert_eq!(shown(fields::<Option<(i64, User)>>("")), "value:struct2 _1:int640 _2:struct2 id:int640 name:utf80");
    assert_eq!(
        shown(fields::<BTreeMap<String, Vec<bool>>>("")),
        "value:map1 entries:struct2 key:utf80 value:list1 item:boolean0"
    );
    let basket = fields::<(Basket, i64)>("");
    assert_eq!(basket.iter().filter(|field| field.nullable).count(), 7);
    assert_eq!(names(&basket).join(" "), "_1.buyer _1.lines _1.notes _1.prices _1.spot _1.visits _1.blobs _2");
    let other = ["a", "b", "c", "d", "e", "f", "g", "h"].map(str::to_owned);
    assert_eq!(names(&renamed(basket, &other)), other);
    assert_eq!((Basket::WIDTH, <(Option<User>, i64)>::KEY_COLUMNS), (7, 1));
}

#[test]
fn malformed_lists_are_refused() {
    let list = |offsets: &[u32]| Column { data: ColumnData::List(offsets.to_vec()), validity: None };
    let numbers = |values: &[i64]| Column { data: ColumnData::Int64(values.to_vec()), validity: None };
    assert_eq!(
        refused::<Vec<i64>>(1, vec![numbers(&[1]), numbers(&[1])]),
        "column `value`: expected list, found int64"
    );
    assert_eq!(refused::<Vec<i64>>(1, vec![list(&[0, 2]), numbers(&[1])]), "column `item`: it has 1 values for 2 rows");
    assert_eq!(refused::<Vec<i64>>(2, vec![list(&[0, 2, 1]), numbers(&[1])]), "column `value`: its offsets decrease");
    assert_eq!(refused::<Vec<i64>>(1, vec![list(&[0, 1])]), "the batch has 1 columns, the plan says 2");
}

#[test]
fn nullable_columns_carry_validity_only_when_a_row_is_null() {
    let fields = fields::<Option<i64>>("");
    assert!(fields[0].nullable);
    let full = write_batch::<Option<i64>>(2, columns(&[Some(1i64), Some(2)])).expect("fits");
    assert_eq!(full.columns[0].validity, None);
    let sparse = write_batch::<Option<i64>>(2, columns(&[None, Some(2i64)])).expect("fits");
    assert_eq!(sparse.columns[0].validity.as_deref().map(|bits| bits[0] & 0b11), Some(0b10));
}

#[test]
fn floats_are_keys_by_value() {
    let columns = columns(&[0.0, f64::NAN]);
    assert!(f64::same_at(&columns, 0, -0.0));
    assert!(f64::same_at(&columns, 1, -f64::NAN));
    assert_eq!(<f64 as Key>::hash(0.0, 0), <f64 as Key>::hash(-0.0, 0));
}

#[test]
fn orders_put_null_first_and_nan_last() {
    use std::cmp::Ordering::{Equal, Greater, Less};
    assert_eq!(Option::<i64>::order(None, Some(i64::MIN)), Less);
    assert_eq!(<f64 as Ordered>::order(f64::NAN, f64::INFINITY), Greater);
    assert_eq!(<f64 as Ordered>::order(0.0, -0.0), Equal);
    assert_eq!(<String as Ordered>::order("Z", "a"), Less);
    let rows = columns(&[(1i64, ("b".to_owned(), None)), (1, ("a".to_owned(), Some(2.0)))]);
    assert_eq!(<(i64, (String, Option<f64>)) as Row>::order_at(&rows, 0, 0, 1), Equal);
    assert_eq!(<(i64, (String, Option<f64>)) as Row>::order_at(&rows, 1, 0, 1), Greater);
    assert_eq!(<(i64, (String, Option<f64>)) as Row>::order_at(&rows, 2, 0, 1), Less);
}

#[test]
fn clearing_keeps_columns_usable() {
    let mut rows = columns(&[("a".to_owned(), Some(true)), ("b".to_owned(), None)]);
    <(String, Option<bool>)>::clear(&mut rows);
    <(String, Option<bool>)>::push(&mut rows, ("c", Some(false)));
    assert_eq!(<(String, Option<bool>)>::get(&rows, 0), ("c", Some(false)));
}

fn text(offsets: &[u32], bytes: &[u8]) -> Column {
    let data = VarData { offsets: offsets.to_vec(), bytes: bytes.to_vec() };
    Column { data: ColumnData::Utf8(data), validity: None }
}

fn refused<T: Row>(rows: u32, columns: Vec<Column>) -> String {
    let result = read_batch::<T>(Batch { rows, columns }, &fields::<T>(""));
    let failure = result.err().expect("a malformed batch is refused");
    assert_eq!(failure.code, FailureCode::BadInput);
    failure.message
}

#[test]
fn malformed_text_is_refused_with_column_and_reason() {
    assert_eq!(
        refused::<String>(2, vec![text(&[0, 1], b"a")]),
        "column `value`: it has 2 offsets for 2 rows, expected one more than rows"
    );
    assert_eq!(
        refused::<String>(1, vec![text(&[0, 2], b"a")]),
        "column `value`: its offsets run from 0 to 2, expected 0 to 1"
    );
    assert_eq!(
        refused::<String>(1, vec![text(&[1, 1], b"a")]),
        "column `value`: its offsets run from 1 to 1, expected 0 to 1"
    );
    assert_eq!(refused::<String>(3, vec![text(&[0, 2, 1, 2], b"ab")]), "column `value`: its offsets decrease");
    assert_eq!(
        refused::<String>(2, vec![text(&[0, 1, 2], "ß".as_bytes())]),
        "column `value`: an offset lies inside a character"
    );
    assert!(refused::<String>(1, vec![text(&[0, 1], &[0xff])]).starts_with("column `value`: not UTF-8"));
}

#[test]
fn wrong_columns_are_refused() {
    let numbers = |values: &[i64]| Column { data: ColumnData::Int64(values.to_vec()), validity: None };
    assert_eq!(refused::<f64>(1, vec![numbers(&[1])]), "column `value`: expected float64, found int64");
    assert_eq!(refused::<Timestamp>(1, vec![numbers(&[1])]), "column `value`: expected timestamp, found int64");
    assert_eq!(refused::<i64>(2, vec![numbers(&[1])]), "column `value`: it has 1 values for 2 rows");
    assert_eq!(refused::<i64>(1, vec![]), "the batch has 0 columns, the plan says 1");
    assert_eq!(refused::<(i64, i64)>(1, vec![numbers(&[1])]), "the batch has 1 columns, the plan says 2");
    let null = Column { validity: Some(vec![0]), ..numbers(&[1]) };
    assert_eq!(refused::<i64>(1, vec![null]), "column `value`: it has null rows, but is not nullable");
    let short = Column { validity: Some(vec![]), ..numbers(&[1]) };
    assert_eq!(refused::<Option<i64>>(1, vec![short]), "column `value`: its validity has 0 bytes for 1 rows");
    let bits = Column { data: ColumnData::Boolean(vec![0, 0]), validity: None };
    assert_eq!(refused::<bool>(8, vec![bits]), "column `value`: it has 2 bytes of bits for 8 rows");
}

#[test]
fn empty_batches_are_fine() {
    assert_eq!(round_trip::<Visit>(&[]), []);
    assert_eq!(round_trip::<(Option<String>, bool)>(&[]), []);
}

#[derive(Row, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Low,
    #[row(rename = "very-high")]
    High,
}

#[derive(Row, Clone, Debug, PartialEq)]
struct Tagged<T: Row> {
    #[row(rename = "@tag")]
    tag: T,
    level: Option<Level>,
    #[row(skip)]
    seen: usize,
}

#[test]
fn derived_rows_may_be_generic_renamed_and_skip_fields() {
    type Row2 = Tagged<(String, Level)>;
    assert_eq!(names(&fields::<Row2>("")).join(" "), "@tag._1 @tag._2 level");
    let row = |seen| Tagged { tag: ("a".to_owned(), Level::High), level: None, seen };
    assert_eq!(round_trip(&[row(7)]), [row(0)]);
    let list = vec![Tagged { tag: vec![Level::Low], level: Some(Level::High), seen: 0 }];
    assert_eq!(round_trip(std::slice::from_ref(&list)), [list]);
    assert!(Row2::same_at(&columns(&[row(1)]), 0, row(2).to_ref()));
    assert_eq!(format!("{:?}", row(1).to_ref()), "TaggedRef { tag: (\"a\", High), level: None }");
}

#[test]
fn enums_are_their_names() {
    let batch = write_batch::<Level>(2, columns(&[Level::High, Level::Low])).expect("fits");
    assert_eq!(batch.columns[0].data, text(&[0, 9, 12], b"very-highLow").data);
    assert_eq!(
        refused::<Level>(2, vec![text(&[0, 3, 7], b"LowHigh")]),
        "column `value`, row 1: `High` is none of Low, very-high"
    );
    assert_eq!(Level::order(Level::Low, Level::High), "Low".cmp("very-high"));
}

type Numbers = ((i8, i16, i32), (u8, u16, u32, u64), f32, Date, TimeDelta, Decimal<20, 4>, Option<Decimal<3, 0>>);

fn numbers() -> impl Strategy<Value = Numbers> {
    let decimal = any::<i64>().prop_map(|units| Decimal::from_units(units.into()).expect("20 digits are enough"));
    let small = proptest::option::of((-999i128..1000).prop_map(|units| Decimal::from_units(units).expect("3 digits")));
    let time = (any::<i32>().prop_map(Date), any::<i64>().prop_map(TimeDelta));
    (any::<(i8, i16, i32)>(), any::<(u8, u16, u32, u64)>(), -1e9f32..1e9, time, decimal, small).prop_map(
        |(signed, unsigned, float, (date, delta), decimal, small)| {
            (signed, unsigned, float, date, delta, decimal, small)
        },
    )
}

proptest! {
    #[test]
    fn numbers_of_every_width_come_back(rows in proptest::collection::vec(numbers(), 0..20)) {
        prop_assert_eq!(&round_trip(&rows), &rows);
        let lists: Vec<_> = rows.iter().map(|row| vec![Some(*row), None]).collect();
        prop_assert_eq!(round_trip(std::slice::from_ref(&lists)), [lists]);
        let columns = columns(&rows);
        for (index, row) in rows.iter().enumerate() {
            for view in &rows {
                prop_assert_eq!(Numbers::same_at(&columns, index, view.to_ref()), row == view);
            }
        }
    }
}

#[test]
fn sums_that_leave_their_range_are_told() {
    assert!(!Sum::add(&mut i8::MAX.clone(), 1));
    assert!(!Sum::add(&mut u64::MAX.clone(), 1));
    assert!(!Sum::add(&mut TimeDelta(i64::MIN), TimeDelta(-1)));
    let mut price = Decimal::<3, 2>::from_units(999).expect("3 digits");
    assert!(!Sum::add(&mut price, Decimal::from_units(1).expect("1 digit")));
    assert!(Sum::add(&mut price, Decimal::from_units(-1).expect("1 digit")));
    assert_eq!(price.to_string(), "9.98");
    let most = Decimal::<38, 4>::from_units(10i128.pow(38) - 1).expect("38 digits");
    let least = Decimal::<38, 4>::from_units(1 - 10i128.pow(38)).expect("38 digits");
    assert!(!Sum::add(&mut { most }, most), "twice as much does not even fit 128 bits");
    assert!(!Sum::add(&mut { least }, least));
    let mut both = most;
    assert!(Sum::add(&mut both, least) && both.units() == 0);
    assert!("9.981".parse::<Decimal<3, 2>>().is_err() && "-9.9".parse::<Decimal<3, 2>>().is_ok());
}
