//! Narrow operators: each row by itself, in the partition where it is. They fuse into one stage.

use std::sync::Arc;

use super::DStream;
use crate::chain::{Emit, SplitRows, ValuesStep};
use crate::row::{Key, Row};
use crate::text;

/// A closure from a view of `T` to a view of `U`. Implemented by every fitting closure.
#[diagnostic::on_unimplemented(
    message = "this closure does not make a view of a `{U}` from a view of a `{T}`",
    note = "it gets views (`&str` for String) and returns a view; for a result that it builds, use map_owned"
)]
pub trait MapFn<'a, T: Row, U: Row>: Fn(T::Ref<'a>) -> U::Ref<'a> {}

impl<'a, T: Row, U: Row, F: Fn(T::Ref<'a>) -> U::Ref<'a>> MapFn<'a, T, U> for F {}

impl<T: Row> DStream<T> {
    /// Each row by a function. Name the result: `map::<U>`; a closure that returns an owned String: `map_owned`.
    ///
    /// The closure borrows from the row it gets and returns a view (`&str` where `U` is `String`), so nothing is allocated.
    ///
    /// **Shape**: the columns of `U`, under their default names. As many rows.
    /// **Cost**: no allocation per row.
    /// **Source**: `DStream.map`.
    ///
    /// ```text
    /// in: line    out: _1  _2
    /// " to be"    "to be"  6
    /// "or"        "or"     2
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines")
    ///     .map::<(String, i64)>(|line| (line.trim(), line.len() as i64))
    ///     .sink("lengths");
    /// # });
    /// ```
    pub fn map<U: Row /* cannot be told from a view: name it, as in map::<String> */>(
        &self,
        function: impl for<'a> MapFn<'a, T, U> + Send + Sync + 'static,
    ) -> DStream<U> {
        self.extend("map", Self::default_names::<U>(""), move |row, _, out| out(function(row)))
    }

    /// Each row by a function that builds an owned row, such as a `String` of its own.
    ///
    /// **Shape**: the columns of `U`, under their default names. As many rows.
    /// **Cost**: what the closure allocates.
    /// **Source**: `DStream.map`.
    ///
    /// ```text
    /// in: line    out: value
    /// "To Be"     "to be"
    /// "OR"        "or"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines").map_owned(|line| line.to_lowercase()).sink("out");
    /// # });
    /// ```
    pub fn map_owned<U: Row>(&self, function: impl Fn(T::Ref<'_>) -> U + Send + Sync + 'static) -> DStream<U> {
        self.extend("map_owned", Self::default_names::<U>(""), move |row, _, out| out(function(row).to_ref()))
    }

    /// Any number of rows from each, put out one by one. Name the result: `flat_map::<U>`.
    ///
    /// **Shape**: the columns of `U`, under their default names.
    /// **Cost**: no allocation per row.
    /// **Source**: `DStream.flatMap`.
    ///
    /// ```text
    /// in: line    out: value
    /// "to be"     "to"
    ///             "be"
    /// "or"        "or"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines")
    ///     .flat_map::<String>(|line, out| line.split(' ').for_each(|word| out.push(word)))
    ///     .sink("words");
    /// # });
    /// ```
    pub fn flat_map<U: Row /* cannot be told from a view: name it, as in flat_map::<String> */>(
        &self,
        function: impl Fn(T::Ref<'_>, &mut Emit<'_, U>) + Send + Sync + 'static,
    ) -> DStream<U> {
        let names = Self::default_names::<U>("");
        self.extend("flat_map", names, move |row, _, out| function(row, &mut Emit::new(out)))
    }

    /// The rows for which the function is true.
    ///
    /// **Shape**: as before.
    /// **Cost**: no allocation per row; rows that are held back are not copied.
    /// **Source**: `DStream.filter`.
    ///
    /// ```text
    /// in: line          out: line
    /// "ERROR disk"      "ERROR disk"
    /// "INFO started"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines").filter(|line| line.starts_with("ERROR")).sink("errors");
    /// # });
    /// ```
    pub fn filter(&self, function: impl Fn(T::Ref<'_>) -> bool + Send + Sync + 'static) -> DStream<T> {
        self.extend("filter", self.names.clone(), move |row, _, out| {
            if function(row) {
                out(row);
            }
        })
    }

    /// Gives each row a key.
    ///
    /// **Shape**: the key's columns (`_1`), then the row's (`_2`).
    /// **Cost**: no allocation per row.
    /// **Source**: `RDD.keyBy`.
    ///
    /// ```text
    /// in: page  seconds    out: _1  page   seconds
    /// "home"    3          "home"   "home" 3
    /// "cart"    9          "cart"   "cart" 9
    /// ```
    ///
    /// ```
    /// # use millpond::Row;
    /// # #[derive(Row)]
    /// # struct Visit { page: String, seconds: i64 }
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<Visit>("visits")
    ///     .key_by::<String>(|visit| visit.page)
    ///     .map_values::<i64>(|visit| visit.seconds)
    ///     .sum_by_key()
    ///     .sink("seconds");
    /// # });
    /// ```
    pub fn key_by<K: Key>(&self, function: impl for<'a> MapFn<'a, T, K> + Send + Sync + 'static) -> DStream<(K, T)> {
        self.extend::<(K, T)>("key_by", Self::default_names::<(K, T)>(""), move |row, _, out| out((function(row), row)))
    }

    /// Calls the columns otherwise.
    ///
    /// **Shape**: as before, under these names: what sinks, files and pictures show.
    /// **Errors**: the plan fails when there is not one name per column, or two are the same.
    /// **Cost**: none where the node before can carry the names; otherwise columns are passed through a stage whole.
    /// **Source**: `Dataset.toDF(names)`.
    ///
    /// ```text
    /// in: value  count    out: word  count
    /// "to"       2        "to"       2
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("words").count_by_value().columns(["word", "count"]).sink("counts");
    /// # });
    /// ```
    pub fn columns<const N: usize>(&self, names: [&str; N]) -> DStream<T> {
        let mut stream = self.clone();
        if names.len() != T::WIDTH {
            self.refuse(format!(
                "columns([{}]) gives {} names to {} columns ({}): give one name per column",
                names.join(", "),
                names.len(),
                T::WIDTH,
                self.names.join(", ")
            ));
            return stream;
        }
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                self.refuse(format!("columns([{}]) names two columns `{name}`: names must differ", names.join(", ")));
                return stream;
            }
            if name.is_empty() || name.len() > 256 {
                self.refuse(format!(
                    "columns([{}]): a name has 1 to 256 bytes, and one has {}",
                    names.join(", "),
                    name.len()
                ));
                return stream;
            }
        }
        stream.names = names.iter().map(|name| (*name).to_owned()).collect();
        stream
    }

    /// Runs what comes before once, whoever uses it.
    ///
    /// **Shape**: as before.
    /// **Cost**: the rows leave the component and are kept for the batch. Without it each consumer runs the operators since
    /// the last node again, which is cheaper for light ones. A row that `try_map` and its like refuse is then reported once for
    /// each consumer; behind `cache` once.
    /// **Source**: `DStream.cache`.
    ///
    /// ```text
    /// in: line    out: value, for both readers, made once
    /// "To Be"     "to be"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let slow = ctx.text("lines").map_owned(|line| line.to_lowercase()).cache();
    /// slow.count().sink("lines");
    /// slow.count_by_value().sink("counts");
    /// # });
    /// ```
    pub fn cache(&self) -> DStream<T> {
        DStream::from_node(&self.draft, self.node(self.key_columns()))
    }
}

impl DStream<String> {
    /// The pieces of each row between single separators, without the empty ones: words between spaces, fields between commas.
    ///
    /// **Shape**: one column, `value`. Any number of rows for each.
    /// **Order**: as they stand in the row.
    /// **Errors**: a separator that is not ASCII is refused when the job is planned.
    /// **Cost**: no allocation. Straight behind a source and straight before `count_by_value` the quickest way to count words:
    /// pieces are counted where they stand, without a closure in between.
    /// **Source**: `flatMap(_.split(" "))`.
    ///
    /// ```text
    /// in: line       out: value
    /// " to   be "    "to"
    ///                "be"
    /// ""
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines").split(' ').count_by_value().sink("words");
    /// # });
    /// ```
    #[must_use]
    pub fn split(&self, separator: char) -> DStream<String> {
        let names = Self::default_names::<String>("");
        if !separator.is_ascii() {
            let sentence =
                format!("split({separator:?}): the separator must be an ASCII character; use flat_map and str::split");
            self.draft.borrow_mut().error(sentence);
            return self.extend::<String>("split", names, |row, _, out| out(row));
        }
        if self.operators.is_empty() {
            return self.extend_chain("split", names, Arc::new(SplitRows::new(separator)));
        }
        self.extend::<String>("split", names, move |row, _, out| {
            text::split(row, separator).filter(|piece| !piece.is_empty()).for_each(&mut *out);
        })
    }
}

impl<K: Row, V: Row> DStream<(K, V)> {
    /// Each value by a function; keys stay.
    ///
    /// **Shape**: the key's columns as before, then those of `W`.
    /// **Cost**: no allocation per row.
    /// **Source**: `PairDStreamFunctions.mapValues`.
    ///
    /// ```text
    /// in: _1  _2     out: _1  _2
    /// "a"     150    "a"      1.5
    /// "b"     -5     "b"      -0.05
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, i64)>("pairs").map_values::<f64>(|n| n as f64 / 100.0).sink("out");
    /// # });
    /// ```
    pub fn map_values<W: Row>(
        &self,
        function: impl for<'a> MapFn<'a, V, W> + Send + Sync + 'static,
    ) -> DStream<(K, W)> {
        let names = self.names_with_values::<W>("_2");
        self.extend::<(K, W)>("map_values", names, move |(key, value), _, out| out((key, function(value))))
    }

    /// Any number of values from each, put out one by one; each gets the key of the row that it came from. Name the value:
    /// `flat_map_values::<W>`.
    ///
    /// **Shape**: the key's columns as before, then those of `W`.
    /// **Cost**: keys and values are copied once more; no allocation per row.
    /// **Source**: `PairDStreamFunctions.flatMapValues`.
    ///
    /// ```text
    /// in: _1  _2         out: _1  _2
    /// "a"     "to be"    "a"      "to"
    ///                    "a"      "be"
    /// "b"     ""
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, String)>("comments")
    ///     .flat_map_values::<String>(|text, out| text.split(' ').for_each(|word| out.push(word)))
    ///     .count_by_value()
    ///     .sink("words-by-user");
    /// # });
    /// ```
    pub fn flat_map_values<W: Row>(
        &self,
        function: impl Fn(V::Ref<'_>, &mut Emit<'_, W>) + Send + Sync + 'static,
    ) -> DStream<(K, W)> {
        let names = self.names_with_values::<W>("_2");
        self.extend_chain("flat_map_values", names, Arc::new(ValuesStep::new(&self.chain, function)))
    }

    /// The keys, one for each row.
    ///
    /// **Shape**: the key's columns, under their names.
    /// **Cost**: no allocation per row; values do not leave the stage.
    /// **Source**: `PairRDDFunctions.keys`, inside `DStream.transform`.
    ///
    /// ```text
    /// in: _1  _2    out
    /// "a"     1     "a"
    /// "b"     2     "b"
    /// "a"     3     "a"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, i64)>("visits").keys().distinct().sink("users");
    /// # });
    /// ```
    pub fn keys(&self) -> DStream<K> {
        self.extend("keys", self.names[..K::WIDTH].to_vec(), |(key, _), _, out| out(key))
    }

    /// The values, one for each row.
    ///
    /// **Shape**: the value's columns, under their names.
    /// **Cost**: no allocation per row; keys do not leave the stage.
    /// **Source**: `PairRDDFunctions.values`, inside `DStream.transform`.
    ///
    /// ```text
    /// in: _1  _2    out
    /// "a"     1     1
    /// "b"     2     2
    /// "a"     3     3
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, i64)>("visits").values().reduce(|a, b| a.max(b)).sink("longest");
    /// # });
    /// ```
    pub fn values(&self) -> DStream<V> {
        self.extend("values", self.names[K::WIDTH..].to_vec(), |(_, value), _, out| out(value))
    }

    /// The key's names with those of another value, which is called `name`.
    pub(super) fn names_with_values<W: Row>(&self, name: &str) -> Vec<String> {
        super::joined_names(&self.names[..K::WIDTH], Self::default_names::<W>(name))
    }
}
