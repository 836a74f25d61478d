//! Writes `data/02-the-mill-pond.txt`: a long story, made by a small grammar from a fixed seed.
//!
//! `cargo run -p wordcount --example make_text > wordcount/data/02-the-mill-pond.txt`, in `plugins/`. The same program always
//! writes the same text; the golden files in `expected/` were counted from it.

use std::fmt::Write as _;

/// Enough for a small book: some 65,000 words.
const CHAPTERS: usize = 48;
const PARAGRAPHS: usize = 22;
const LINE_WIDTH: usize = 84;

/// A 64-bit linear congruential generator (constants: Knuth, MMIX), of which the upper half is used.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

#[rustfmt::skip]
const PEOPLE: &[&str] = &[
    "the miller", "Anna", "old Tobias", "the ferryman", "Clara", "the carpenter", "young Peter", "the widow Hale", "the baker",
    "Martin", "the schoolmaster", "a stranger", "the smith", "Edith", "the shepherd", "his daughter", "the captain", "her brother",
];
#[rustfmt::skip]
const THINGS: &[&str] = &[
    "wheel", "stone", "sluice", "gate", "lantern", "boat", "bell", "rope", "letter", "barrel", "sack of flour", "ladder", "clock",
    "map", "bridge", "basket", "key", "coat", "book", "bucket", "door", "window", "candle", "net", "hammer", "wagon",
];
#[rustfmt::skip]
const PLACES: &[&str] = &[
    "by the pond", "under the willows", "on the bridge", "at the mill", "behind the barn", "in the village", "along the stream",
    "near the dam", "beside the road", "in the orchard", "at the edge of the wood", "below the hill", "in the kitchen", "upstream",
    "on the far bank", "at the market",
];
#[rustfmt::skip]
const WATER: &[&str] = &["water", "stream", "pond", "river", "rain", "current", "mist", "ice", "flood", "dew"];
#[rustfmt::skip]
const ADJECTIVES: &[&str] = &[
    "old", "grey", "quiet", "heavy", "small", "bright", "narrow", "deep", "cold", "broken", "green", "slow", "patient", "wooden",
    "long", "silver", "warm", "empty", "careful", "strange", "steady", "dark",
];
#[rustfmt::skip]
const DID: &[&str] = &[
    "carried", "mended", "found", "lost", "painted", "watched", "turned", "opened", "closed", "lifted", "counted", "sold",
    "remembered", "hid", "cleaned", "dropped", "followed", "measured",
];
#[rustfmt::skip]
const MOVED: &[&str] =
    &["walked", "waited", "sat", "slept", "worked", "sang", "stood", "wandered", "listened", "laughed", "rested", "whispered"];
#[rustfmt::skip]
const WHEN: &[&str] = &[
    "in the morning", "before dawn", "that evening", "after the harvest", "in early spring", "when the bell rang", "at noon",
    "during the night", "on market day", "a week later", "in the last days of autumn", "as the light failed", "once again",
];
#[rustfmt::skip]
const SAID: &[&str] = &["said", "asked", "answered", "called", "murmured", "replied"];
#[rustfmt::skip]
const SAYINGS: &[&str] = &[
    "The stream brings what it brings", "Open the gate a little, and no more", "A pond is only a river that has learned to wait",
    "We will grind it all before dark", "Nobody can hurry the water", "Count them again", "There is enough for everyone",
    "I have seen this before", "It will hold until spring", "You cannot drink yesterday's rain", "Let it run",
    "The wheel does not ask where the water comes from", "Somebody has been here before us", "Keep the lantern burning",
    "It was not like this when I was young",
];
#[rustfmt::skip]
const LINKS: &[&str] = &["and", "but", "so", "while", "because", "until", "and then", "although"];

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A main clause without a capital or full stop.
fn clause(dice: &mut Dice) -> String {
    let (who, thing, place) = (dice.pick(PEOPLE), dice.pick(THINGS), dice.pick(PLACES));
    match dice.below(7) {
        0 => format!("{who} {} the {} {thing} {place}", dice.pick(DID), dice.pick(ADJECTIVES)),
        1 => format!("{who} {} {place}", dice.pick(MOVED)),
        2 => format!("the {} was {} and {}", dice.pick(WATER), dice.pick(ADJECTIVES), dice.pick(ADJECTIVES)),
        3 => format!("{who} {} the {thing} and {} the {}", dice.pick(DID), dice.pick(DID), dice.pick(THINGS)),
        4 => format!("there was a {} {thing} {place}", dice.pick(ADJECTIVES)),
        5 => format!("the {} ran through the {} {thing}", dice.pick(WATER), dice.pick(ADJECTIVES)),
        _ => format!("{who} and {} {} {place}", dice.pick(PEOPLE), dice.pick(MOVED)),
    }
}

fn sentence(dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => format!("{}, {}.", capital(dice.pick(WHEN)), clause(dice)),
        1 | 2 => format!("{}, {} {}.", capital(&clause(dice)), dice.pick(LINKS), clause(dice)),
        3 => format!("\"{},\" {} {}.", dice.pick(SAYINGS), dice.pick(SAID), dice.pick(PEOPLE)),
        4 => format!("{} {}.", capital(&clause(dice)), dice.pick(WHEN)),
        5 => format!("{}; {}.", capital(&clause(dice)), clause(dice)),
        6 => format!(
            "{} {} that {}.",
            capital(dice.pick(PEOPLE)),
            dice.pick(&["knew", "thought", "hoped", "saw"]),
            clause(dice)
        ),
        _ => format!("{}.", capital(&clause(dice))),
    }
}

/// Breaks a paragraph into lines at spaces.
fn wrap(paragraph: &str, out: &mut String) {
    let mut width = 0;
    for word in paragraph.split(' ') {
        if width + word.len() >= LINE_WIDTH {
            out.push('\n');
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += word.len();
    }
    out.push('\n');
}

fn main() {
    let mut dice = Dice(2026);
    let mut story = String::from("THE MILL POND\n");
    for chapter in 1..=CHAPTERS {
        let title = format!("The {} {}", capital(dice.pick(ADJECTIVES)), capital(dice.pick(THINGS)));
        let _ = write!(story, "\nChapter {chapter}: {title}\n\n");
        for _ in 0..PARAGRAPHS {
            let sentences: Vec<String> = (0..3 + dice.below(5)).map(|_| sentence(&mut dice)).collect();
            wrap(&sentences.join(" "), &mut story);
        }
    }
    print!("{story}");
}
