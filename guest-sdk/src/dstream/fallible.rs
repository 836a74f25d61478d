//! Narrow operators whose closure may refuse a row: the row is reported, the others go on.

use std::sync::Arc;

use super::DStream;
use crate::chain::{Emit, FallibleStep};
use crate::failure::RowError;
use crate::row::{Key, Row};

/// A closure from a view of `T` to a view of `U`, or to why there is none. Implemented by every fitting closure.
#[diagnostic::on_unimplemented(
    message = "this closure does not make a `Result` of a view of a `{U}` from a view of a `{T}`",
    note = "it gets views (`&str` for String) and returns `Ok(view)`, or `Err` of anything that converts to RowError"
)]
pub trait TryMapFn<'a, T: Row, U: Row>: Fn(T::Ref<'a>) -> Result<U::Ref<'a>, RowError> {}

impl<'a, T: Row, U: Row, F: Fn(T::Ref<'a>) -> Result<U::Ref<'a>, RowError>> TryMapFn<'a, T, U> for F {}

impl<T: Row> DStream<T> {
    /// Each row by a function that may refuse it.
    ///
    /// **Shape**: the columns of `U`, under their default names. At most as many rows.
    /// **Errors**: `Err` rejects the row: it goes no further, and the host reports its place and the reason. What becomes
    /// of the job is the job file's `on-bad-record`. When several streams go on from here, each runs this operator, and a refused
    /// row counts once for each: put [`cache`](Self::cache) behind it and it counts once.
    /// **Cost**: no allocation per row but for refused ones.
    ///
    /// ```text
    /// in: line     out: _1  _2    refused
    /// "ann,5"      "ann"    5
    /// "bob"                       "expected `user,amount`"
    /// "eve,x"                     "invalid digit found in string"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines")
    ///     .try_map::<(String, i64)>(|line| {
    ///         let (user, amount) = line.split_once(',').ok_or("expected `user,amount`")?;
    ///         Ok((user, amount.parse()?))
    ///     })
    ///     .sum_by_key()
    ///     .sink("totals");
    /// # });
    /// ```
    pub fn try_map<U: Row>(&self, function: impl for<'a> TryMapFn<'a, T, U> + Send + Sync + 'static) -> DStream<U> {
        self.with_known_rows().extend("try_map", Self::default_names::<U>(""), move |row, cx, out| {
            match function(row) {
                Ok(row) => out(row),
                Err(error) => cx.reject(error),
            }
        })
    }

    /// Any number of rows from each, by a function that may refuse it.
    ///
    /// **Shape**: the columns of `U`, under their default names.
    /// **Errors**: as [`try_map`](Self::try_map); of a refused row nothing is put out, whatever was pushed before.
    /// **Cost**: the rows of one input row are held back until the closure has returned: one more copy of each, no allocation.
    ///
    /// ```text
    /// in: line    out: value    refused
    /// "1,2"       1
    ///             2
    /// "3,x"                     "invalid digit found in string"; the 3 is not put out
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines")
    ///     .try_flat_map::<i64>(|line, out| {
    ///         for number in line.split(',') {
    ///             out.push(number.parse()?);
    ///         }
    ///         Ok(())
    ///     })
    ///     .sink("numbers");
    /// # });
    /// ```
    pub fn try_flat_map<U: Row>(
        &self,
        function: impl Fn(T::Ref<'_>, &mut Emit<'_, U>) -> Result<(), RowError> + Send + Sync + 'static,
    ) -> DStream<U> {
        let stream = self.with_known_rows();
        let chain = FallibleStep::new(&stream.chain, function);
        stream.extend_chain("try_flat_map", Self::default_names::<U>(""), Arc::new(chain))
    }

    /// Gives each row a key, by a function that may refuse the row.
    ///
    /// **Shape**: the key's columns (`_1`), then the row's (`_2`). At most as many rows.
    /// **Errors**: as [`try_map`](Self::try_map).
    /// **Cost**: no allocation per row but for refused ones.
    ///
    /// ```text
    /// in: line    out: _1  _2       refused
    /// "view,ann"  "ann"    "view,ann"
    /// "view"                        "expected a second field"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines")
    ///     .try_key_by::<String>(|line| Ok(line.split(',').nth(1).ok_or("expected a second field")?))
    ///     .count_by_key()
    ///     .sink("per-user");
    /// # });
    /// ```
    pub fn try_key_by<K: Key>(
        &self,
        function: impl for<'a> TryMapFn<'a, T, K> + Send + Sync + 'static,
    ) -> DStream<(K, T)> {
        let names = Self::default_names::<(K, T)>("");
        self.with_known_rows().extend::<(K, T)>("try_key_by", names, move |row, cx, out| match function(row) {
            Ok(key) => out((key, row)),
            Err(error) => cx.reject(error),
        })
    }

    /// The rows for which the function is true; it may refuse a row.
    ///
    /// **Shape**: as before.
    /// **Errors**: as [`try_map`](Self::try_map).
    /// **Cost**: no allocation per row but for refused ones.
    ///
    /// ```text
    /// in: line    out: line    refused
    /// "7"         "7"
    /// "-7"
    /// "x"                      "invalid digit found in string"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("numbers").try_filter(|line| Ok(line.parse::<i64>()? > 0)).sink("positive");
    /// # });
    /// ```
    pub fn try_filter(
        &self,
        function: impl Fn(T::Ref<'_>) -> Result<bool, RowError> + Send + Sync + 'static,
    ) -> DStream<T> {
        self.with_known_rows().extend("try_filter", self.names.clone(), move |row, cx, out| match function(row) {
            Ok(true) => out(row),
            Ok(false) => {}
            Err(error) => cx.reject(error),
        })
    }
}

impl<K: Row, V: Row> DStream<(K, V)> {
    /// Each value by a function that may refuse the row; keys stay.
    ///
    /// **Shape**: the key's columns as before, then those of `W`. At most as many rows.
    /// **Errors**: as [`try_map`](Self::try_map).
    /// **Cost**: no allocation per row but for refused ones.
    ///
    /// ```text
    /// in: _1  _2     out: _1  _2    refused
    /// "ann"   "5"    "ann"    5
    /// "bob"   "x"                   "invalid digit found in string"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, String)>("amounts").try_map_values::<i64>(|text| Ok(text.parse()?)).sum_by_key().sink("totals");
    /// # });
    /// ```
    pub fn try_map_values<W: Row>(
        &self,
        function: impl for<'a> TryMapFn<'a, V, W> + Send + Sync + 'static,
    ) -> DStream<(K, W)> {
        let names = self.names_with_values::<W>("_2");
        self.with_known_rows().extend::<(K, W)>("try_map_values", names, move |(key, value), cx, out| {
            match function(value) {
                Ok(value) => out((key, value)),
                Err(error) => cx.reject(error),
            }
        })
    }
}
