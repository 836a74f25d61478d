//! Decoders by example, and everything there and back again.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millpond_core::schema::{TIMESTAMP, list_of, map_of};
use millpond_core::{BadRecord, BatchTime, Classify};
use proptest::prelude::*;

use super::encode::Encoding;
use super::*;
use crate::{Error, Result};

fn csv(header: bool, multiline: bool) -> Format {
    Format::Csv(CsvOptions { header, delimiter: b',', multiline })
}

fn schema(columns: &[(&str, DataType, bool)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn try_decode(schema: &SchemaRef, format: Format, input: &[u8], chunk: usize) -> Result<(RecordBatch, Vec<BadRecord>)> {
    let codec = Codec::try_new("in", schema, format, 100)?;
    let run = |strict| {
        let origin = Origin { name: "in", first_line: Some(1), first_byte: 0, bytes: input.len() as u64 };
        let mut decoder = codec.decoder(&origin, strict);
        input.chunks(chunk).try_for_each(|chunk| decoder.push(chunk))?;
        decoder.end(LastLine::Complete);
        decoder.finish()
    };
    let result = match run(false) {
        Err(DecodeError::NotUtf8) => run(true),
        result => result,
    };
    result.map_err(|error| match error {
        DecodeError::Fatal(error) => error,
        DecodeError::NotUtf8 => panic!("strict decoding left out bad lines"),
    })
}

fn decode(schema: &SchemaRef, format: Format, input: &[u8]) -> (RecordBatch, Vec<String>) {
    let (batch, bad) = try_decode(schema, format, input, 1 << 20).unwrap();
    (batch, bad.iter().map(|bad| format!("{}: {}", bad.place, bad.reason)).collect())
}

fn jsonl(batch: &RecordBatch) -> String {
    let mut out = Vec::new();
    Encoding::Json.rows(&mut out, batch, None).unwrap();
    String::from_utf8(out).unwrap()
}

fn pair() -> SchemaRef {
    schema(&[("name", DataType::Utf8, false), ("n", DataType::Int64, false)])
}

#[test]
fn text_lines_that_are_not_utf8_are_left_out_with_their_number() {
    let lines = schema(&[("line", DataType::Utf8, false)]);
    let (batch, bad) = decode(&lines, Format::Text, b"one\ntw\xffo\nth\xc3\n\xa9ree\nfour\r\n\nlast");
    assert_eq!(jsonl(&batch), "{\"line\":\"one\"}\n{\"line\":\"four\"}\n{\"line\":\"\"}\n{\"line\":\"last\"}\n");
    assert_eq!(bad.len(), 3);
    assert!(bad[0].starts_with("in line 2: not UTF-8 at byte 2"), "{bad:?}");
    assert!(
        bad[1].starts_with("in line 3: ") && bad[2].starts_with("in line 4: "),
        "a character over a line end: {bad:?}"
    );
}

#[test]
fn a_line_that_is_too_long_says_which_option_helps() {
    let lines = schema(&[("line", DataType::Utf8, false)]);
    let input = format!("short\n{}\nnext\n", "x".repeat(101));
    let (batch, bad) = decode(&lines, Format::Text, input.as_bytes());
    assert_eq!(batch.num_rows(), 2);
    assert_eq!(bad, ["in line 2: the line has more than 100 bytes; raise line-bytes-max"]);
}

#[test]
fn text_needs_one_text_column() {
    let error = Codec::try_new("in", &pair(), Format::Text, 100).unwrap_err();
    assert_eq!(error.code().0, "MP0506");
    assert!(error.to_string().contains("name: utf8, n: int64"), "{error}");
}

#[test]
fn csv_with_a_header_is_read_by_name() {
    let (batch, bad) = decode(&pair(), csv(true, false), b"\xef\xbb\xbfx,n, name\n1,2,a\n\"q\"\"\",3 ,\"b,c\"\n");
    assert_eq!(jsonl(&batch), "{\"name\":\"a\",\"n\":2}\n{\"name\":\"b,c\",\"n\":3}\n");
    assert_eq!(bad, [""; 0]);
}

#[test]
fn a_csv_header_without_a_column_of_the_plan_is_an_error() {
    let error = try_decode(&pair(), csv(true, false), b"name,m\na,1\n", 100).unwrap_err();
    assert_eq!(error.code().0, "MP0506");
    assert!(error.to_string().contains("no column `n` (it has: name, m)"), "{error}");
}

#[test]
fn bad_csv_rows_are_left_out_and_the_others_go_on() {
    let input = b"a,1\nb\nc,2,3\nd,x\n\"e,4\n\"f\"g,5\n\nh,6\n\"i\",7\nj,\xff\nk,";
    let (batch, bad) = decode(&pair(), csv(false, false), input);
    assert_eq!(jsonl(&batch), "{\"name\":\"a\",\"n\":1}\n{\"name\":\"h\",\"n\":6}\n{\"name\":\"i\",\"n\":7}\n");
    let expected = [
        "in line 2: the row has 1 fields, expected 2",
        "in line 3: the row has 3 fields, expected 2",
        "in line 4: column `n`: expected a whole number",
        "in line 5: a quote is opened and not closed",
        "in line 6: field 1: text after the closing quote",
        "in line 10: not UTF-8",
        "in line 11: column `n`: the value is missing",
    ];
    assert_eq!(bad.len(), expected.len(), "{bad:#?}");
    for (bad, expected) in bad.iter().zip(expected) {
        assert!(bad.starts_with(expected), "{bad} / {expected}");
    }
}

#[test]
fn multiline_csv_keeps_line_ends_in_quotes() {
    let (batch, bad) = decode(&pair(), csv(false, true), b"\"a\nb\r\n\"\"c\"\"\",1\r\nd,2\n");
    assert_eq!(jsonl(&batch), "{\"name\":\"a\\nb\\r\\n\\\"c\\\"\",\"n\":1}\n{\"name\":\"d\",\"n\":2}\n");
    assert_eq!(bad, [""; 0]);
}

#[test]
fn a_quote_that_is_never_closed_costs_its_own_line_only() {
    let (batch, bad) = decode(&pair(), csv(false, true), b"a,1\n\"b,2\nc,3\nd,4\n");
    assert_eq!(jsonl(&batch), "{\"name\":\"a\",\"n\":1}\n{\"name\":\"c\",\"n\":3}\n{\"name\":\"d\",\"n\":4}\n");
    assert_eq!(bad.len(), 1);
    assert!(bad[0].starts_with("in line 2: a quote is opened"), "{bad:?}");
    assert!(!bad[0].contains("multiline"), "it is on already: {bad:?}");
    let (_, bad) = decode(&pair(), csv(false, false), b"\"b,2\n");
    assert!(bad[0].contains("needs multiline = true"), "{bad:?}");
}

#[test]
fn an_open_quote_is_given_up_when_the_record_is_too_long() {
    let input = format!("\"a,1\n{}last,9\n", "b,2\n".repeat(60));
    let (batch, bad) = decode(&pair(), csv(false, true), input.as_bytes());
    assert_eq!((batch.num_rows(), bad.len()), (61, 1));
}

#[test]
fn json_takes_fields_by_name_and_passes_over_others() {
    let input = br#"{"n":1,"other":{"deep":[1,{"n":5}]},"name":"a"}

        {"name":"b\u00e9\n","n":-9223372036854775808}"#;
    let (batch, bad) = decode(&pair(), Format::Json, input);
    assert_eq!(jsonl(&batch), "{\"name\":\"a\",\"n\":1}\n{\"name\":\"bé\\n\",\"n\":-9223372036854775808}\n");
    assert_eq!(bad, [""; 0]);
}

#[test]
fn bad_json_lines_are_left_out_and_say_which_field() {
    let input = br#"{"name":"a","n":1}
{"name":"b"
{"name":"c","n":"2"}
{"name":"d","n":2.5}
{"name":"e"}
{"name":null,"n":1}
[1]
{"name":"f","n":9223372036854775808}
{"name":["g"],"n":1}
{"name":"h","n":1} x
{"name":"i","n":2}"#;
    let (batch, bad) = decode(&pair(), Format::Json, input);
    assert_eq!(jsonl(&batch), "{\"name\":\"a\",\"n\":1}\n{\"name\":\"i\",\"n\":2}\n");
    let expected = [
        ("line 2", "not a JSON object: EOF"),
        ("line 3", "column `n`: expected a whole number of 64 bits, found the text `2`"),
        ("line 4", "column `n`: expected a whole number of 64 bits, found 2.5"),
        ("line 5", "column `n`: the value is missing or null"),
        ("line 6", "column `name`: the value is missing or null"),
        ("line 7", "expected a JSON object"),
        ("line 8", "column `n`: expected a whole number"),
        ("line 9", "column `name`: expected text, found a list"),
        ("line 10", "trailing characters"),
    ];
    assert_eq!(bad.len(), expected.len(), "{bad:#?}");
    for (bad, (place, reason)) in bad.iter().zip(expected) {
        assert!(bad.contains(place) && bad.contains(reason) && !bad.contains("at line 1"), "{bad} / {reason}");
    }
}

#[test]
fn many_bad_records_are_told_as_a_number() {
    let input = "x\n".repeat(10_005);
    let (_, bad) = decode(&pair(), Format::Json, input.as_bytes());
    assert_eq!(bad.len(), 10_001);
    assert_eq!(bad[10_000], "in: 5 more bad records");
}

#[test]
fn json_lines_are_exactly_so() {
    let batch = RecordBatch::try_new(
        schema(&[("word", DataType::Utf8, false), ("count", DataType::Int64, false)]),
        vec![Arc::new(StringArray::from(vec!["hello"])), Arc::new(Int64Array::from(vec![2]))],
    )
    .unwrap();
    let mut out = Vec::new();
    Encoding::Json.rows(&mut out, &batch, Some(BatchTime(1_700_000_000_000))).unwrap();
    assert_eq!(out, b"{\"word\":\"hello\",\"count\":2,\"batch_time\":1700000000000}\n");
}

fn all_types(nullable: bool) -> SchemaRef {
    schema(&[
        ("text", DataType::Utf8, nullable),
        ("flag", DataType::Boolean, nullable),
        ("whole", DataType::Int64, nullable),
        ("real", DataType::Float64, nullable),
        ("at", TIMESTAMP, nullable),
        ("raw", DataType::Binary, nullable),
    ])
}

type Row = (Option<String>, Option<bool>, Option<i64>, Option<f64>, Option<i64>, Option<Vec<u8>>);

fn batch_of(rows: &[Row], nullable: bool) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.3).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.4).collect::<TimestampMicrosecondArray>()),
        Arc::new(rows.iter().map(|row| row.5.as_deref()).collect::<BinaryArray>()),
    ];
    RecordBatch::try_new(all_types(nullable), columns).unwrap()
}

fn cell<T: std::fmt::Debug + Clone + 'static>(
    nullable: bool,
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    if nullable { prop::option::of(value).boxed() } else { value.prop_map(Some).boxed() }
}

fn rows(nullable: bool) -> impl Strategy<Value = Vec<Row>> {
    let text = prop_oneof![".{0,8}", "[a\",\r\n\\\\\u{feff} ]{0,6}"];
    let real = any::<f64>().prop_filter("two NaNs never compare equal", |real| !real.is_nan());
    let row = (
        cell(nullable, text),
        cell(nullable, any::<bool>()),
        cell(nullable, any::<i64>()),
        cell(nullable, real),
        cell(nullable, any::<i64>()),
        cell(nullable, prop::collection::vec(any::<u8>(), 0..5)),
    );
    prop::collection::vec(row, 0..20)
}

/// As `try_decode`, with room for the long lines that random rows make.
fn back(schema: &SchemaRef, format: Format, input: &[u8]) -> (RecordBatch, Vec<BadRecord>) {
    let codec = Codec::try_new("in", schema, format, 1 << 20).unwrap();
    let origin = Origin { name: "in", first_line: Some(1), first_byte: 0, bytes: 0 };
    let mut decoder = codec.decoder(&origin, false);
    assert!(input.chunks(7).all(|chunk| decoder.push(chunk).is_ok()));
    decoder.end(LastLine::Complete);
    decoder.finish().unwrap_or_else(|_| panic!("sound input decodes"))
}

proptest! {
    #[test]
    fn json_rows_come_back_equal(nullable: bool, (yes, no) in (rows(true), rows(false))) {
        let batch = batch_of(if nullable { &yes } else { &no }, nullable);
        let mut out = Vec::new();
        Encoding::Json.rows(&mut out, &batch, Some(BatchTime(5))).unwrap();
        let (found, bad) = back(&all_types(nullable), Format::Json, &out);
        prop_assert_eq!(bad, []);
        prop_assert_eq!(found, batch);
    }

    #[test]
    fn csv_rows_come_back_equal(nullable: bool, header: bool, (yes, no) in (rows(true), rows(false))) {
        let batch = batch_of(if nullable { &yes } else { &no }, nullable);
        let encoding = Encoding::Csv { delimiter: b',', header };
        let mut out = Vec::new();
        encoding.start(&mut out, &batch.schema(), header).unwrap();
        encoding.rows(&mut out, &batch, header.then_some(BatchTime(5))).unwrap();
        let (found, bad) = back(&all_types(nullable), csv(header, true), &out);
        prop_assert_eq!(bad, []);
        prop_assert_eq!(found, batch);
    }

    #[test]
    fn no_input_makes_a_decoder_panic(input in prop::collection::vec(any::<u8>(), 0..200), chunk in 1_usize..50) {
        for format in [csv(true, true), csv(false, true), csv(false, false), Format::Json] {
            match try_decode(&all_types(true), format, &input, chunk) {
                Ok(_) | Err(Error::ColumnMissing { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn hostile_quotes_cost_no_rows_twice(input in "[a,\"\n]{0,120}") {
        let lines = input.lines().count();
        let (batch, bad) = try_decode(&pair(), csv(false, true), input.as_bytes(), 7).unwrap();
        prop_assert!(batch.num_rows() + bad.len() <= lines);
    }
}

#[test]
fn nan_comes_back_as_nan() {
    let schema = schema(&[("real", DataType::Float64, false)]);
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Float64Array::from(vec![f64::NAN]))]).unwrap();
    for (encoding, format) in
        [(Encoding::Json, Format::Json), (Encoding::Csv { delimiter: b',', header: false }, csv(false, false))]
    {
        let mut out = Vec::new();
        encoding.rows(&mut out, &batch, None).unwrap();
        let (found, bad) = decode(&schema, format, &out);
        assert_eq!(bad, [""; 0]);
        assert_eq!(jsonl(&found), "{\"real\":\"NaN\"}\n");
    }
}

fn nested() -> SchemaRef {
    let line = DataType::Struct(
        vec![Field::new("item", DataType::Utf8, false), Field::new("n", DataType::Int64, true)].into(),
    );
    schema(&[
        ("lines", list_of(line.clone(), false), false),
        ("first", line, true),
        ("prices", map_of(DataType::Utf8, DataType::Float64, true), true),
        ("by", map_of(DataType::Int64, list_of(TIMESTAMP, false), false), false),
    ])
}

#[test]
fn a_key_that_a_map_has_twice_is_a_bad_record_unless_it_is_written_the_same() {
    let map = |key: DataType| schema(&[("m", map_of(key, DataType::Int64, false), false)]);
    let bad = |key: DataType, line: &str| decode(&map(key), Format::Json, line.as_bytes()).1;
    // As everywhere in JSON lines, the second one counts.
    let (batch, none) = decode(&map(DataType::Utf8), Format::Json, br#"{"m":{"a":1,"b":2,"a":3}}"#);
    assert_eq!((jsonl(&batch).as_str(), none.len()), ("{\"m\":{\"a\":3,\"b\":2}}\n", 0));
    assert_eq!(bad(DataType::Int64, r#"{"m":{"1":1,"2":2,"10":3}}"#), Vec::<String>::new());
    for (key, line) in [
        (DataType::Int64, r#"{"m":{"1":1,"01":2}}"#),
        (DataType::Float64, r#"{"m":{"0":1,"-0.0":2}}"#),
        (DataType::Float32, r#"{"m":{"0.1":1,"0.100000001":2}}"#),
        (TIMESTAMP, r#"{"m":{"0":1,"1970-01-01T00:00:00Z":2}}"#),
        (DataType::Binary, r#"{"m":{"ff":1,"FF":2}}"#),
    ] {
        let bad = bad(key.clone(), line);
        assert_eq!(bad.len(), 1, "{key}: {line}");
        assert!(bad[0].contains("column `m`: the key `") && bad[0].contains("twice"), "{bad:?}");
    }
}

#[test]
fn objects_and_arrays_become_nested_columns_and_objects_and_arrays_again() {
    let golden = concat!(
        r#"{"lines":[{"item":"tea","n":2}],"first":{"item":"\"","n":2},"prices":null,"by":{}}"#,
        "\n",
        r#"{"lines":[],"first":null,"prices":{"a":0.5,"b":null},"by":{"-1":["1970-01-01T00:00:00Z"]}}"#,
        "\n",
        r#"{"lines":[{"item":"","n":-1},{"item":"x","n":null}],"first":null,"prices":{},"by":{"7":[]}}"#,
        "\n",
        r#"{"lines":[],"first":{"item":"x","n":null},"prices":null,"by":{}}"#,
        "\n",
    );
    let (batch, bad) = decode(&nested(), Format::Json, golden.as_bytes());
    assert_eq!(bad, Vec::<String>::new());
    assert_eq!(jsonl(&batch), golden);
    assert_eq!(jsonl(&batch.slice(1, 2)), golden.split_inclusive('\n').skip(1).take(2).collect::<String>());
    let text = |batch: &RecordBatch| {
        let mut out = Vec::new();
        Encoding::Text.rows(&mut out, batch, None).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(text(&batch.slice(3, 1)), "[]\t{\"item\":\"x\",\"n\":null}\t\t{}\n");
}

#[test]
fn nested_json_of_another_shape_is_a_bad_record_with_its_place() {
    for (json, says) in [
        (r#"{"lines":{},"by":{}}"#, "column `lines`: expected a list, found an object"),
        (r#"{"lines":[1],"by":{}}"#, "column `lines[]`: expected an object, found 1"),
        (r#"{"lines":[{"n":1}],"by":{}}"#, "column `lines[].item`: the value is missing or null"),
        (r#"{"lines":[{"item":1}],"by":{}}"#, "column `lines[].item`: expected text, found 1"),
        (r#"{"lines":[null],"by":{}}"#, "column `lines[]`: the value is missing or null"),
        (r#"{"lines":[],"by":{"x":[]}}"#, "column `by[]`: expected a whole number of 64 bits, found the key `x`"),
        (r#"{"lines":[],"by":{"1":[true]}}"#, "column `by[][]`: expected an RFC 3339 time"),
        (r#"{"lines":[],"by":[]}"#, "column `by`: expected an object, found a list"),
        (r#"{"lines":[]}"#, "column `by`: the value is missing or null"),
    ] {
        let (batch, bad) = decode(&nested(), Format::Json, json.as_bytes());
        assert_eq!((batch.num_rows(), bad.len()), (0, 1), "{json}");
        assert!(bad[0].contains(says), "{json}: {bad:?}");
    }
}

#[test]
fn nested_columns_are_refused_for_csv() {
    let error = try_decode(&nested(), csv(true, false), b"", 10).unwrap_err();
    assert_eq!(error.code().0, "MP0506");
    assert!(error.to_string().contains("column `lines` has columns inside, which CSV has no way to write"), "{error}");
}
