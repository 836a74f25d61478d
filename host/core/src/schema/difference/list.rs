//! Columns one below the other, and which column of one side stands for which of the other.
//!
//! With as many columns on both sides, places decide. Otherwise columns are aligned so that as little as possible has to be added, left
//! out or changed (Levenshtein), and one that is missing in the middle does not make all behind it look different.

use super::{Column, LINE_CHARS_MAX, Names, Pair, Sides, pair_texts};

/// Columns beside those that differ are shown, and those between are counted. A guess, as in the differences of source code.
const SAME_SHOWN: usize = 2;

/// So many differences are shown, the rest is counted. A guess: a screen.
const DIFFERENCES_SHOWN: usize = 16;

/// What a line has before its text: four spaces, a sign and a space.
const MARGIN_CHARS: usize = 6;

/// What it costs to add or to leave out a column, to take one for another of the same name, and for one of another name. Two that
/// have nothing in common are rather left out and added.
const GAP: u32 = 2;
const SAME_NAME: u32 = 3;
const NOTHING_COMMON: u32 = 5;

pub(super) fn pairs<'a>([expected, found]: [&'a [Column]; 2], names: Names) -> Vec<Pair<'a>> {
    if expected.len() == found.len() {
        return expected.iter().zip(found).map(|(expected, found)| [Some(expected), Some(found)]).collect();
    }
    let costs = costs(expected, found, names);
    let (mut left, mut right) = (0, 0);
    let mut pairs = Vec::new();
    while left < expected.len() || right < found.len() {
        let here = costs[left][right];
        let both = expected.get(left).zip(found.get(right));
        let both = both.filter(|(column, other)| here == change(column, other, names) + costs[left + 1][right + 1]);
        let pair = match both {
            Some((column, other)) => [Some(column), Some(other)],
            None if left < expected.len() && here == GAP + costs[left + 1][right] => [Some(&expected[left]), None],
            None => [None, Some(&found[right])],
        };
        left += usize::from(pair[0].is_some());
        right += usize::from(pair[1].is_some());
        pairs.push(pair);
    }
    pairs
}

/// What it costs to make one side of the other, from each place of both to their ends.
fn costs(expected: &[Column], found: &[Column], names: Names) -> Vec<Vec<u32>> {
    let mut costs = vec![vec![0; found.len() + 1]; expected.len() + 1];
    for left in (0..=expected.len()).rev() {
        for right in (0..=found.len()).rev() {
            costs[left][right] = match (expected.get(left), found.get(right)) {
                (Some(column), Some(other)) => {
                    let gap = GAP + costs[left + 1][right].min(costs[left][right + 1]);
                    gap.min(change(column, other, names) + costs[left + 1][right + 1])
                }
                _ => GAP * (expected.len() - left + found.len() - right) as u32,
            };
        }
    }
    costs
}

fn change(column: &Column, other: &Column, names: Names) -> u32 {
    match (column.is_same(other, names), column.name == other.name) {
        (true, same_name) => u32::from(!same_name),
        (false, true) => SAME_NAME,
        (false, false) => NOTHING_COMMON,
    }
}

pub(super) fn below_each_other(sides: &Sides<'_>, pairs: &[Pair<'_>]) -> String {
    let [expected, found] = sides.labels;
    let mut list = List { lines: vec![format!("  - is {expected}, + is {found}:")], shown: 0, hidden: 0 };
    list.columns(pairs, sides.names, 0);
    if list.hidden > 0 {
        list.line(' ', 0, &format!("... and {} more that differ", list.hidden));
    }
    list.lines.join("\n")
}

struct List {
    lines: Vec<String>,
    /// How many differences there are among the lines, and how many are only counted.
    shown: usize,
    hidden: usize,
}

impl List {
    fn line(&mut self, sign: char, level: usize, text: &str) {
        let indent = 2 * level;
        let room = LINE_CHARS_MAX.saturating_sub(MARGIN_CHARS + indent);
        let cut = match text.char_indices().nth(room) {
            Some(_) => text.chars().take(room.saturating_sub(3)).chain("...".chars()).collect(),
            None => text.to_owned(),
        };
        self.lines.push(format!("    {sign} {:indent$}{cut}", "").trim_end().to_owned());
    }

    fn columns(&mut self, pairs: &[Pair<'_>], names: Names, level: usize) {
        let is_same = |pair: &Pair<'_>| matches!(pair, [Some(left), Some(right)] if left.is_same(right, names));
        let mut end = 0;
        for run in pairs.chunk_by(|pair, next| is_same(pair) == is_same(next)) {
            let is_first = end == 0;
            end += run.len();
            match run {
                [first, ..] if is_same(first) => self.same(run, [is_first, end == pairs.len()], level),
                _ => run.iter().for_each(|pair| self.pair(*pair, names, level)),
            }
        }
    }

    /// A run of columns that are the same, perhaps at the start or the end of all.
    fn same(&mut self, run: &[Pair<'_>], [is_first, is_last]: [bool; 2], level: usize) {
        if self.hidden > 0 {
            return;
        }
        let before = if is_first { 0 } else { SAME_SHOWN };
        let after = if is_last { 0 } else { SAME_SHOWN };
        let hidden = run.len().saturating_sub(before + after);
        for (number, [column, _]) in run.iter().enumerate() {
            // A line that says that one is left out would be as long as that one.
            if hidden > 1 && (before..before + hidden).contains(&number) {
                if number == before {
                    self.line(' ', level, &format!("... {hidden} columns are the same"));
                }
            } else if let Some(column) = column {
                self.line(' ', level, &column.text(0));
            }
        }
    }

    fn pair(&mut self, pair: Pair<'_>, names: Names, level: usize) {
        if self.shown >= DIFFERENCES_SHOWN {
            self.hidden += 1;
            return;
        }
        let (texts, differs) = pair_texts(pair, names);
        let room = LINE_CHARS_MAX.saturating_sub(MARGIN_CHARS + 2 * level);
        let is_long = texts.iter().any(|text| text.chars().count() > room);
        if let [Some(expected), Some(found)] = pair
            && is_long
            && expected.kind == found.kind
            && !expected.inside.is_empty()
            && !found.inside.is_empty()
        {
            return self.nested([expected, found], names, level);
        }
        self.shown += 1;
        for (sign, text) in ['-', '+'].into_iter().zip(&texts) {
            if !text.is_empty() {
                self.line(sign, level, text);
            }
        }
        // What only one side has needs no mark: its sign says it.
        if let (Some(differs), [Some(_), Some(_)]) = (differs, pair)
            && differs.start < room
        {
            let marks = "^".repeat(differs.end.min(room) - differs.start);
            self.line(' ', level, &format!("{:start$}{marks}", "", start = differs.start));
        }
    }

    /// A column that is longer than a line and whose parts differ: they come below each other, too.
    fn nested(&mut self, columns: [&Column; 2], names: Names, level: usize) {
        let heads = columns.map(|column| match column.name.as_str() {
            "" => format!("{}<", column.kind),
            name => format!("{name}: {}<", column.kind),
        });
        let tails = columns.map(|column| if column.is_nullable { ">?" } else { ">" }.to_owned());
        let is_renamed = names == Names::Count && columns[0].name != columns[1].name;
        self.bracket(heads, is_renamed, level);
        self.columns(&pairs(columns.map(|column| column.inside.as_slice()), Names::Count), Names::Count, level + 1);
        self.bracket(tails, columns[0].is_nullable != columns[1].is_nullable, level);
    }

    fn bracket(&mut self, texts: [String; 2], differs: bool, level: usize) {
        if !differs {
            return self.line(' ', level, &texts[0]);
        }
        self.shown += 1;
        self.line('-', level, &texts[0]);
        self.line('+', level, &texts[1]);
    }
}
