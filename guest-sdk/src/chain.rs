//! Push chains: how neighbouring narrow operators run as one loop.
//!
//! A chain reads a stage's input and pushes rows into a callback. Each narrow operator wraps the chain before it, so a row
//! costs one indirect call per operator, and nothing is stored between them. A chain is run by the stage that a wide
//! operator, a sink or `.cache()` ends it with; what it pushes into is that stage's terminal (columns, combine table,
//! top-N).

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;

use crate::bindings::millpond::plugin::types::{Batch, Failure, Field, Rejection};
use crate::failure::RowError;
use crate::row::{self, Row};
use crate::rows::Rows as RowsView;
use crate::{spans, text};

/// A callback that takes rows.
pub(crate) type Push<'o, T> = dyn FnMut(<T as Row>::Ref<'_>) + 'o;

/// Produces rows of `T` from a stage's input.
pub(crate) trait Chain<T: Row>: Send + Sync {
    /// Pushes every row into `out`, in order.
    fn run(&self, input: Input<'_>, cx: &StageCx, out: &mut Push<'_, T>) -> Result<(), Failure>;

    /// All rows in columns, and how many they are. What is in columns already is not copied.
    fn columns(&self, input: Input<'_>, cx: &StageCx) -> Result<(usize, T::Columns), Failure> {
        let (mut columns, mut rows) = (T::Columns::default(), 0);
        self.run(input, cx, &mut |row| {
            T::push(&mut columns, row);
            rows += 1;
        })?;
        Ok((rows, columns))
    }

    /// Whether it is known, while a row comes out, which input row it was made of. A step that is to refuse rows needs that.
    fn knows_rows(&self) -> bool;

    /// Itself, if all it does is split the input's text: a terminal may then take the pieces by their places.
    fn as_split(&self) -> Option<&SplitRows> {
        None
    }
}

/// Splits the input's rows, text, into their pieces between a separator. Empty pieces are left out.
///
/// A terminal that counts takes the pieces by their places in the text of all rows, many at a time: without a call for each,
/// and reading a piece in one go, as what stands behind it in the text may be read as well.
pub(crate) struct SplitRows {
    separator: char,
}

impl SplitRows {
    pub(crate) fn new(separator: char) -> Self {
        Self { separator }
    }

    /// Gives all pieces by their places, in order: where they begin and where they end.
    pub(crate) fn run_spans(&self, input: Input<'_>, mut out: impl FnMut(&str, &[u32], &[u32])) -> Result<(), Failure> {
        let (_, columns) = row::read_batch::<String>(input.batch, input.fields)?;
        let (text, offsets) = columns.parts();
        spans::spans(text, offsets, self.separator, |starts, ends| out(text, starts, ends));
        Ok(())
    }
}

impl Chain<String> for SplitRows {
    fn run(&self, input: Input<'_>, cx: &StageCx, out: &mut Push<'_, String>) -> Result<(), Failure> {
        let split = |row: &str| text::split(row, self.separator).filter(|piece| !piece.is_empty()).for_each(&mut *out);
        Rows::<String>::new().run(input, cx, &mut { split })
    }

    fn knows_rows(&self) -> bool {
        true
    }

    fn as_split(&self) -> Option<&SplitRows> {
        Some(self)
    }
}

pub(crate) type SharedChain<T> = Arc<dyn Chain<T>>;

/// A batch and its schema.
pub(crate) struct Input<'a> {
    pub(crate) batch: Batch,
    pub(crate) fields: &'a [Field],
}

/// The contract says that the host keeps so much of a reason.
const REASON_BYTES_MAX: usize = 1024;

/// What a call knows while it runs: which input row it is at, and which it refused.
#[derive(Default)]
pub(crate) struct StageCx {
    /// The number of the partition that the call is for.
    partition: u32,
    row: Cell<u32>,
    rejected: RefCell<Vec<Rejection>>,
}

impl StageCx {
    pub(crate) fn new(partition: u32) -> Self {
        Self { partition, ..Self::default() }
    }

    /// Refuses the current input row. A row that is refused several times (it was several rows by then) is one rejection.
    pub(crate) fn reject(&self, error: RowError) {
        let row = self.row.get();
        let mut rejected = self.rejected.borrow_mut();
        match rejected.last_mut().filter(|last| last.row == row) {
            Some(last) if last.reason.len() >= REASON_BYTES_MAX => {}
            Some(last) => {
                last.reason.push_str("; ");
                last.reason.push_str(error.reason());
            }
            None => rejected.push(Rejection { row, reason: error.into_reason() }),
        }
    }

    pub(crate) fn into_rejected(self) -> Vec<Rejection> {
        self.rejected.into_inner()
    }
}

/// The head of every chain: the input's own rows.
pub(crate) struct Rows<T>(PhantomData<fn() -> T>);

impl<T> Rows<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Row> Chain<T> for Rows<T> {
    fn run(&self, input: Input<'_>, cx: &StageCx, out: &mut Push<'_, T>) -> Result<(), Failure> {
        let (rows, columns) = row::read_batch::<T>(input.batch, input.fields)?;
        for row in 0..rows {
            cx.row.set(row as u32);
            out(T::get(&columns, row));
        }
        Ok(())
    }

    fn columns(&self, input: Input<'_>, _cx: &StageCx) -> Result<(usize, T::Columns), Failure> {
        row::read_batch::<T>(input.batch, input.fields)
    }

    fn knows_rows(&self) -> bool {
        true
    }
}

/// An operator as a function from a row to pushes: every narrow operator is one of these.
pub(crate) struct Step<T, F> {
    before: SharedChain<T>,
    step: F,
}

impl<T: Row, F> Step<T, F> {
    pub(crate) fn new(before: &SharedChain<T>, step: F) -> Self {
        Self { before: Arc::clone(before), step }
    }
}

impl<T: Row, U: Row, F> Chain<U> for Step<T, F>
where
    F: Fn(T::Ref<'_>, &StageCx, &mut Push<'_, U>) + Send + Sync,
{
    fn run(&self, input: Input<'_>, cx: &StageCx, out: &mut Push<'_, U>) -> Result<(), Failure> {
        self.before.run(input, cx, &mut |row| (self.step)(row, cx, out))
    }

    fn knows_rows(&self) -> bool {
        self.before.knows_rows()
    }
}

/// An operator as a function of all rows of the partition. Not called for a partition without rows, whether the host or an
/// operator before it left none: an answer must not depend on that.
pub(crate) struct PartitionStep<T, F> {
    before: SharedChain<T>,
    step: F,
}

impl<T: Row, F> PartitionStep<T, F> {
    pub(crate) fn new(before: &SharedChain<T>, step: F) -> Self {
        Self { before: Arc::clone(before), step }
    }
}

impl<T: Row, U: Row, F> Chain<U> for PartitionStep<T, F>
where
    F: Fn(u32, RowsView<'_, T>, &mut Emit<'_, U>) + Send + Sync,
{
    fn run(&self, input: Input<'_>, cx: &StageCx, out: &mut Push<'_, U>) -> Result<(), Failure> {
        let (rows, columns) = self.before.columns(input, cx)?;
        if rows > 0 {
            (self.step)(cx.partition, RowsView::new(&columns, rows), &mut Emit::new(out));
        }
        Ok(())
    }

    fn knows_rows(&self) -> bool {
        false
    }
}

/// A step from a value to any number of them, under its key.
pub(crate) struct ValuesStep<K, V, F> {
    before: SharedChain<(K, V)>,
    step: F,
}

impl<K: Row, V: Row, F> ValuesStep<K, V, F> {
    pub(crate) fn new(before: &SharedChain<(K, V)>, step: F) -> Self {
        Self { before: Arc::clone(before), step }
    }
}

impl<K: Row, V: Row, W: Row, F> Chain<(K, W)> for ValuesStep<K, V, F>
where
    F: Fn(V::Ref<'_>, &mut Emit<'_, W>) + Send + Sync,
{
    fn run(&self, input: Input<'_>, cx: &StageCx, out: &mut Push<'_, (K, W)>) -> Result<(), Failure> {
        // A key and a value that the step made live for different times; laid beside each other they are views of one row.
        let (mut keys, mut values) = (K::Columns::default(), W::Columns::default());
        self.before.run(input, cx, &mut |(key, value)| {
            K::clear(&mut keys);
            K::push(&mut keys, key);
            (self.step)(
                value,
                &mut Emit::new(&mut |value| {
                    W::clear(&mut values);
                    W::push(&mut values, value);
                    out((K::get(&keys, 0), W::get(&values, 0)));
                }),
            );
        })
    }

    fn knows_rows(&self) -> bool {
        self.before.knows_rows()
    }
}

/// A step that may refuse a row after it has put out some: they are held back until it has succeeded.
pub(crate) struct FallibleStep<T, F> {
    before: SharedChain<T>,
    step: F,
}

impl<T: Row, F> FallibleStep<T, F> {
    pub(crate) fn new(before: &SharedChain<T>, step: F) -> Self {
        Self { before: Arc::clone(before), step }
    }
}

impl<T: Row, U: Row, F> Chain<U> for FallibleStep<T, F>
where
    F: Fn(T::Ref<'_>, &mut Emit<'_, U>) -> Result<(), RowError> + Send + Sync,
{
    fn run(&self, input: Input<'_>, cx: &StageCx, out: &mut Push<'_, U>) -> Result<(), Failure> {
        // One set of columns for the whole call: nothing is allocated per row.
        let mut held = U::Columns::default();
        self.before.run(input, cx, &mut |row| {
            U::clear(&mut held);
            let mut rows = 0;
            let result = (self.step)(
                row,
                &mut Emit::new(&mut |row| {
                    U::push(&mut held, row);
                    rows += 1;
                }),
            );
            match result {
                Ok(()) => (0..rows).for_each(|row| out(U::get(&held, row))),
                Err(error) => cx.reject(error),
            }
        })
    }

    fn knows_rows(&self) -> bool {
        self.before.knows_rows()
    }
}

/// Where a `flat_map` closure puts its rows.
pub struct Emit<'o, U: Row> {
    out: &'o mut Push<'o, U>,
}

impl<'o, U: Row> Emit<'o, U> {
    pub(crate) fn new(out: &'o mut Push<'o, U>) -> Self {
        Self { out }
    }

    /// Puts out one row. **Cost**: no allocation; the row is copied straight into the columns, or merged, by then.
    #[inline]
    pub fn push(&mut self, row: U::Ref<'_>) {
        (self.out)(row);
    }
}
