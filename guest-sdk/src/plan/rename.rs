//! Moves column names upstream, so that `.columns([...])` costs nothing where it can.
//!
//! A rename is drafted as a stage of its own. Where the nodes before it serve nobody else, they can carry the new names
//! themselves, and the stage goes. The contract's rule that a node's input has the node's schema is kept by renaming all
//! the way up to a stage, whose output may be called anything. Sources and transforms keep the names that the outside knows.

use super::{Draft, DraftNode};
use crate::bindings::millpond::plugin::dataflow::Operator;
use crate::row;

impl Draft {
    /// Removes renaming stages that the nodes before them can stand in for.
    pub(super) fn push_renames_up(&mut self) {
        for stage in 0..self.nodes.len() {
            if !self.nodes[stage].only_renames {
                continue;
            }
            let input = self.nodes[stage].inputs[0];
            let names = self.names(stage);
            let key_columns_agree = self.nodes[input].key_columns == self.nodes[stage].key_columns;
            if key_columns_agree && self.only_consumer(input) && self.rename(input, &names, false) {
                self.rename(input, &names, true);
                for node in &mut self.nodes {
                    node.inputs.iter_mut().filter(|from| **from == stage).for_each(|from| *from = input);
                }
                // Nothing leads to a sink from here any more: `finish` leaves it out.
                self.nodes[stage].inputs.clear();
            }
        }
    }

    fn only_consumer(&self, node: usize) -> bool {
        self.nodes.iter().flat_map(|other| &other.inputs).filter(|input| **input == node).count() == 1
    }

    /// Whether `node` can call its columns `names`; does so if `write`.
    fn rename(&mut self, node: usize, names: &[String], write: bool) -> bool {
        let possible = match Upstream::of(&self.nodes[node]) {
            Upstream::Free => true,
            Upstream::Fixed => false,
            Upstream::Same => {
                let inputs = self.nodes[node].inputs.clone();
                inputs.iter().all(|input| self.only_consumer(*input))
                    && inputs.iter().all(|input| self.rename_input(*input, names, names.len(), write))
            }
            Upstream::Keys => {
                let (input, keys) = (self.nodes[node].inputs[0], self.nodes[node].key_columns);
                self.only_consumer(input) && self.rename_input(input, names, keys, write)
            }
        };
        if possible && write {
            let schema = std::mem::take(&mut self.nodes[node].schema);
            self.nodes[node].schema = row::renamed(schema, names);
        }
        possible
    }

    /// Renames the first `count` columns of an input and leaves the others, unless two would be called the same.
    fn rename_input(&mut self, input: usize, names: &[String], count: usize, write: bool) -> bool {
        let mut wanted = self.names(input);
        let rest = wanted.split_off(count);
        wanted.clear();
        wanted.extend_from_slice(&names[..count]);
        if rest.iter().any(|name| wanted.contains(name)) {
            return false;
        }
        wanted.extend(rest);
        self.rename(input, &wanted, write)
    }
}

/// What a node's column names hang on.
enum Upstream {
    /// Nothing: guest code makes the columns, or a node that makes new rows.
    Free,
    /// The outside world.
    Fixed,
    /// Its inputs have the same columns (of a sort's input: the first ones).
    Same,
    /// Its input has the same key columns.
    Keys,
}

impl Upstream {
    fn of(node: &DraftNode) -> Self {
        match node.operator {
            Operator::Stage(_)
            | Operator::Join(_)
            | Operator::Group
            | Operator::MapWithState(_)
            | Operator::StateSnapshots
            | Operator::WholeBatch(_) => Self::Free,
            Operator::Source(_) | Operator::Transform(_) | Operator::Sink(_) | Operator::Broadcast(_) => Self::Fixed,
            Operator::UpdateState(_) | Operator::ReduceSession(_) => Self::Keys,
            Operator::Union
            | Operator::Reduce(_)
            | Operator::Window(_)
            | Operator::ReduceWindow(_)
            | Operator::Sort(_)
            | Operator::Take(_)
            | Operator::Repartition(_) => Self::Same,
        }
    }
}
