//! Turns a draft into the plan and the code that goes with its nodes.

use std::sync::Arc;

use super::{Code, Draft, DraftNode, NAME_BYTES_MAX, NodeName};
use crate::bindings::millpond::plugin::dataflow::{Node, Operator, Plan};
use crate::broadcast::Load;

/// A plan and, node by node, its code.
pub(crate) struct Finished {
    pub(crate) plan: Plan,
    pub(crate) code: Vec<Code>,
    /// By broadcast.
    pub(crate) loads: Vec<Arc<Load>>,
}

impl Draft {
    /// The plan; or what is wrong with it, one sentence a line.
    pub(crate) fn finish(mut self) -> Result<Finished, String> {
        self.push_renames_up();
        self.check_sinks();
        let kept = self.needed_nodes();
        let names = self.node_names(&kept);
        if !self.errors.is_empty() {
            return Err(self.errors.join("\n"));
        }
        let mut numbers = vec![0u32; self.nodes.len()];
        let (broadcasts, loads) = std::mem::take(&mut self.broadcasts).into_iter().unzip();
        let plan = Plan {
            nodes: Vec::with_capacity(kept.len()),
            accumulators: std::mem::take(&mut self.accumulators),
            broadcasts,
        };
        let mut finished = Finished { plan, loads, code: Vec::with_capacity(kept.len()) };
        for (index, node) in self.nodes.into_iter().enumerate().filter(|(index, _)| kept.contains(index)) {
            let number = finished.code.len();
            numbers[index] = number as u32;
            let DraftNode { operator, inputs, schema, key_columns, code, .. } = node;
            finished.plan.nodes.push(Node {
                name: names[number].clone(),
                operator,
                inputs: inputs.into_iter().map(|input| numbers[input]).collect(),
                schema,
                key_columns: key_columns as u32,
            });
            finished.code.push(code);
        }
        Ok(finished)
    }

    /// Nodes from which a sink or a broadcast is reached, in order. (Which closures read a broadcast is not known.)
    fn needed_nodes(&self) -> Vec<usize> {
        let mut needed = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().rev() {
            needed[index] |= matches!(node.operator, Operator::Sink(_) | Operator::Broadcast(_));
            if needed[index] {
                node.inputs.iter().for_each(|input| needed[*input] = true);
            }
        }
        (0..self.nodes.len()).filter(|index| needed[*index]).collect()
    }

    fn check_sinks(&mut self) {
        let sinks: Vec<String> = self
            .nodes
            .iter()
            .filter_map(|node| match &node.operator {
                Operator::Sink(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        if sinks.is_empty() {
            self.error("the job has no sink: nothing runs until a stream ends with .sink(\"name\")");
        }
        for (index, name) in sinks.iter().enumerate() {
            if sinks[..index].contains(name) {
                self.error(format!(
                    "two streams go to the sink `{name}`: union them first, or give each a sink of its own"
                ));
            }
        }
    }

    /// The names of the kept nodes, each different; notes an error where that cannot be.
    fn node_names(&mut self, kept: &[usize]) -> Vec<String> {
        let chosen: Vec<String> = kept.iter().filter_map(|index| self.nodes[*index].name.chosen()).collect();
        let mut names: Vec<String> = Vec::with_capacity(kept.len());
        for (number, index) in kept.iter().enumerate() {
            let name = match &self.nodes[*index].name {
                NodeName::Numbered(kind) => unused(format!("{kind}-{number}"), &[&chosen, &names]),
                this @ NodeName::Chain { name, .. } => {
                    match kept[..number].iter().filter(|earlier| self.nodes[**earlier].name == *this).count() {
                        0 => name.clone(),
                        earlier => unused(with_number(name, earlier + 1), &[&chosen, &names]),
                    }
                }
                NodeName::Given(name) | NodeName::Fixed(name) => name.clone(),
                NodeName::Stateful(kind) => (*kind).to_owned(),
            };
            if names.contains(&name) {
                let sentence = duplicate(&self.nodes[*index].name, &name);
                self.error(sentence);
            }
            names.push(name);
        }
        names
    }
}

impl NodeName {
    fn chosen(&self) -> Option<String> {
        match self {
            Self::Given(name) | Self::Chain { name, .. } | Self::Fixed(name) => Some(name.clone()),
            Self::Stateful(kind) => Some((*kind).to_owned()),
            Self::Numbered(_) => None,
        }
    }
}

/// A name that is not taken, by marks behind it.
fn unused(mut name: String, taken: &[&[String]]) -> String {
    while taken.iter().any(|names| names.contains(&name)) {
        name.push('\'');
    }
    name
}

/// `name-2`, within what a name may have.
fn with_number(name: &str, number: usize) -> String {
    let number = format!("-{number}");
    let mut end = name.len().min(NAME_BYTES_MAX - number.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{number}", &name[..end])
}

fn duplicate(name: &NodeName, text: &str) -> String {
    match name {
        NodeName::Stateful(kind) => format!(
            "there are two {kind} operators, and state is kept by name: name one of them, right after it, with .named(\"...\")"
        ),
        _ => format!("two nodes are called `{text}`: give one of them another name with .named(\"...\")"),
    }
}
