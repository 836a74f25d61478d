//! Ordering the rows of a batch: the host sorts, by the rows' own columns or by hidden ones that a stage adds.

use super::{DStream, HostNode, collect};
use crate::bindings::millpond::plugin::dataflow::{Operator, Ordering, Sort};
use crate::bindings::millpond::plugin::types::Field;
use crate::plan::{Code, NodeName};
use crate::row::Row;
use crate::sortkey::{HiddenColumn, SortColumns, SortKey, SortKeyFn, SortOrder};
use crate::topn::{ColumnTop, KeyedTop};

impl<T: Row> DStream<T> {
    /// The rows of each batch in the order of their columns.
    ///
    /// The closure is called once, when the plan is made, with a [`ColumnOf`](crate::ColumnOf) for each value of the row, and says
    /// which columns decide. For an order by computed values see [`sort_by_computed`](Self::sort_by_computed).
    ///
    /// **Shape**: as before, in one partition.
    /// **Order**: by the columns, smallest first, [`Reverse`](std::cmp::Reverse) or a minus sign largest first; none first, NaN last,
    /// text by its bytes. Rows that tie are ordered by all of their columns, so the result does not depend on partitions.
    /// **Cost**: the host sorts; no call into the component of its own. All rows come together in one partition.
    /// **Source**: `RDD.sortBy`, inside `DStream.transform`.
    ///
    /// ```text
    /// in: value  count    out: value  count
    /// "b"        1        "c"         3
    /// "c"        3        "a"         1
    /// "a"        1        "b"         1
    /// ```
    ///
    /// ```
    /// # use std::cmp::Reverse;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("words").count_by_value().sort_by(|(word, n)| (Reverse(n), word)).sink("sorted");
    /// # });
    /// ```
    pub fn sort_by<O: SortOrder>(&self, order: impl FnOnce(T::Picks) -> O) -> DStream<T> {
        self.sorted("sort_by", None, &order(T::picks(0)))
    }

    /// The first `n` rows of each batch in the order of their columns.
    ///
    /// **Shape**: as before, in one partition; at most `n` rows.
    /// **Order**: as [`sort_by`](Self::sort_by).
    /// **Errors**: the plan fails when `n` is 0.
    /// **Cost**: as [`sort_by`](Self::sort_by); a stage before it puts out its own first `n` rows (and those that tie with the
    /// last of them) only. Straight behind [`update_state_by_key`](Self::update_state_by_key), or a window whose totals are kept,
    /// with no other reader of that stream, the host picks such rows in the state itself, if the order begins with a value
    /// that is a number, a time or a bool, and not optional: then the rest is not even copied.
    /// **Source**: `RDD.takeOrdered`, inside `DStream.transform`.
    ///
    /// ```text
    /// top_by(2, |(word, n)| (Reverse(n), word)):
    ///
    /// in: value  count    out: value  count
    /// "b"        1        "c"         3
    /// "c"        3        "a"         1
    /// "a"        1
    /// ```
    ///
    /// ```
    /// # use std::cmp::Reverse;
    /// # use millpond::Row;
    /// #[derive(Row)]
    /// struct Visit { page: String, seconds: i64 }
    ///
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<Visit>("visits").top_by(10, |visit| (Reverse(visit.seconds), visit.page)).sink("longest");
    /// ctx.text("words").count_by_value().top_by(10, |(word, n)| (Reverse(n), word)).sink("top");
    /// # });
    /// ```
    pub fn top_by<O: SortOrder>(&self, n: usize, order: impl FnOnce(T::Picks) -> O) -> DStream<T> {
        self.sorted("top_by", Some(n), &order(T::picks(0)))
    }

    /// The rows of each batch in the order of a key `K` that the closure computes of each.
    ///
    /// **Shape**: as before, in one partition.
    /// **Order**: by the key, which is a [`SortKey`]; ties as in [`sort_by`](Self::sort_by).
    /// **Cost**: every row passes through a stage, which adds the key in hidden columns. All rows come together in one partition.
    /// **Source**: `RDD.sortBy`, inside `DStream.transform`.
    ///
    /// ```text
    /// in: value    out: value
    /// "to"         "question"
    /// "question"   "be"
    /// "be"         "to"
    /// ```
    ///
    /// ```
    /// # use std::cmp::Reverse;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // Longest first.
    /// ctx.text("words").sort_by_computed::<Reverse<i64>>(|word| Reverse(word.len() as i64)).sink("sorted");
    /// # });
    /// ```
    pub fn sort_by_computed<K: SortKey>(
        &self,
        key: impl for<'a> SortKeyFn<'a, T, K> + Send + Sync + 'static,
    ) -> DStream<T> {
        self.sorted_by_computed::<K>("sort_by_computed", None, key)
    }

    /// The first `n` rows of each batch in the order of a key `K` that the closure computes of each.
    ///
    /// **Shape**: as before, in one partition; at most `n` rows.
    /// **Order**: as [`sort_by_computed`](Self::sort_by_computed).
    /// **Errors**: the plan fails when `n` is 0.
    /// **Cost**: every row passes through a stage, which puts out its own first `n` rows (and those that tie with the last of
    /// them) only.
    /// **Source**: `RDD.takeOrdered`, inside `DStream.transform`.
    ///
    /// ```text
    /// in: _1  _2          out: _1  _2
    /// "a"     (6.0, 2)    "b"      (8.0, 2)
    /// "b"     (8.0, 2)    "a"      (6.0, 2)
    /// ```
    ///
    /// ```
    /// # use std::cmp::Reverse;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, (f64, i64))>("sums")
    ///     .top_by_computed::<(Reverse<f64>, String)>(10, |(name, (sum, n))| (Reverse(sum / n as f64), name))
    ///     .sink("best-means");
    /// # });
    /// ```
    pub fn top_by_computed<K: SortKey>(
        &self,
        n: usize,
        key: impl for<'a> SortKeyFn<'a, T, K> + Send + Sync + 'static,
    ) -> DStream<T> {
        self.sorted_by_computed::<K>("top_by_computed", Some(n), key)
    }

    fn sorted(&self, operator: &'static str, limit: Option<usize>, order: &dyn SortOrder) -> DStream<T> {
        let mut by = Vec::new();
        order.orderings(false, &mut by);
        let key_columns = self.key_columns();
        let input = if self.operators.is_empty() {
            self.node(key_columns)
        } else {
            let by = by.clone();
            self.stage(limit.map(|_| operator), self.schema(), key_columns, move |chain, input, cx| {
                let Some(limit) = limit else { return collect(chain, input, cx) };
                let mut top = ColumnTop::<T>::new(limit, &by);
                chain.run(input, cx, &mut |row| top.push(row))?;
                top.finish()
            })
        };
        self.sort_node(operator, input, limit, by, 0)
    }

    fn sorted_by_computed<K: SortKey>(
        &self,
        operator: &'static str,
        limit: Option<usize>,
        key: impl for<'a> SortKeyFn<'a, T, K> + Send + Sync + 'static,
    ) -> DStream<T> {
        let mut hidden = Vec::new();
        K::Columns::describe(false, &mut hidden);
        let schema = with_hidden(&self.schema(), &hidden);
        let input = self.stage(Some(operator), schema, self.key_columns(), move |chain, input, cx| {
            let mut top = KeyedTop::<T, K>::new(limit);
            chain.run(input, cx, &mut |row| top.push(row, &key(row)))?;
            top.finish()
        });
        let by = (T::WIDTH as u32..).zip(&hidden).map(|(column, key)| Ordering { column, descending: key.descending });
        self.sort_node(operator, input, limit, by.collect(), hidden.len())
    }

    fn sort_node(
        &self,
        operator: &str,
        input: usize,
        limit: Option<usize>,
        order: Vec<Ordering>,
        hidden: usize,
    ) -> DStream<T> {
        if limit == Some(0) {
            self.refuse(format!(
                "{operator}(0) would keep no rows: give it a number from 1, or sort without a number to keep all"
            ));
        }
        let sort = Sort { order, limit: limit.map(|n| n as u64), hidden_columns: hidden as u32 };
        self.then(HostNode {
            name: NodeName::Numbered("sort"),
            operator: Operator::Sort(sort),
            inputs: vec![input],
            schema: self.schema(),
            key_columns: self.key_columns(),
            code: Code::None,
        })
    }
}

/// The schema with the hidden columns behind it, called as nothing else is.
fn with_hidden(schema: &[Field], hidden: &[HiddenColumn]) -> Vec<Field> {
    let mut prefix = "sort".to_owned();
    while crate::row::names(schema).iter().any(|name| name.starts_with(&prefix)) {
        prefix.push('_');
    }
    let hidden = hidden.iter().enumerate().map(|(index, column)| Field {
        name: format!("{prefix}.{}", index + 1),
        data_type: column.data_type,
        nullable: column.nullable,
        children: 0,
    });
    schema.iter().cloned().chain(hidden).collect()
}
