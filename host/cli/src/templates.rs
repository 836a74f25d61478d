//! What `millpond new` makes plugins from: files under `templates/`, in this program.
//!
//! In those that end in `.txt`, `.md` or `.toml`, `{{name}}` and the like are filled in. `lib.rs` is taken as it is, so that a test compiles it.

/// A template.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// What `--template` calls it.
    pub name: &'static str,
    /// What its job does, in a sentence.
    pub about: &'static str,
    /// Paths in the new folder, and texts.
    pub files: &'static [(&'static str, &'static str)],
}

macro_rules! template {
    ($name:literal, $about:literal, $($path:literal = $file:literal),* $(,)?) => {
        Template {
            name: $name,
            about: $about,
            files: &[
                ("Cargo.toml", include_str!("../templates/common/Cargo.toml.txt")),
                (".gitignore", include_str!("../templates/common/gitignore.txt")),
                ("README.md", include_str!("../templates/common/README.md")),
                ("src/lib.rs", include_str!(concat!("../templates/", $name, "/lib.rs"))),
                ("millpond.toml", include_str!(concat!("../templates/", $name, "/millpond.toml"))),
                $(($path, include_str!(concat!("../templates/", $name, "/", $file)))),*
            ],
        }
    };
}

/// All of them.
pub const TEMPLATES: &[Template] = &[
    template!(
        "blank",
        "Passes on lines that are not empty.",
        "data/one.txt" = "data.txt",
        "tests/first/1.lines.txt" = "1.lines.txt",
        "tests/first/2.lines.txt" = "2.lines.txt",
        "tests/first/expected.out.jsonl" = "expected.out.jsonl",
    ),
    template!(
        "wordcount",
        "How often each word has come so far, the most frequent first.",
        "data/1.txt" = "data.txt",
        "data/2.txt" = "data-2.txt",
        "tests/first/1.lines.txt" = "1.lines.txt",
        "tests/first/3.lines.txt" = "3.lines.txt",
        "tests/first/expected.counts.jsonl" = "expected.counts.jsonl",
    ),
    template!(
        "windowed",
        "How much each page was visited in the last three seconds, every second.",
        "data/1.csv" = "data.csv",
        "data/2.csv" = "data-2.csv",
        "data/3.csv" = "data-3.csv",
        "data/4.csv" = "data-4.csv",
        "tests/first/1.visits.csv" = "1.visits.csv",
        "tests/first/2.visits.csv" = "2.visits.csv",
        "tests/first/case.toml" = "case.toml",
        "tests/first/expected.traffic.jsonl" = "expected.traffic.jsonl",
    ),
    template!(
        "stateful",
        "What is known of each sensor so far: state of a type of your own, and rows that are refused.",
        "data/1.txt" = "data.txt",
        "data/2.txt" = "data-2.txt",
        "tests/first/1.readings.txt" = "1.readings.txt",
        "tests/first/2.readings.txt" = "2.readings.txt",
        "tests/first/expected.sensors.jsonl" = "expected.sensors.jsonl",
    ),
    template!(
        "joined",
        "Orders with what was paid for them: two streams joined by key, over a window.",
        "data/orders/1.csv" = "orders.csv",
        "data/orders/2.csv" = "orders-2.csv",
        "data/payments/1.csv" = "payments.csv",
        "data/payments/2.csv" = "payments-2.csv",
        "tests/first/1.orders.csv" = "1.orders.csv",
        "tests/first/2.payments.csv" = "2.payments.csv",
        "tests/first/3.orders.csv" = "3.orders.csv",
        "tests/first/4.payments.csv" = "4.payments.csv",
        "tests/first/expected.paid.jsonl" = "expected.paid.jsonl",
    ),
];

impl Template {
    /// Path and text of each file, with these values for the names in double braces.
    pub fn filled<'a>(&'a self, values: &'a [(&str, String)]) -> impl Iterator<Item = (&'static str, String)> + 'a {
        self.files.iter().map(|(path, text)| {
            let fill = |text: String, (name, value): &(&str, String)| text.replace(&format!("{{{{{name}}}}}"), value);
            (*path, values.iter().fold((*text).to_owned(), fill))
        })
    }
}
