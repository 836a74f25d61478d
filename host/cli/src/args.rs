//! The command line: commands, options and their help.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::templates::TEMPLATES;

/// Stream processing with WebAssembly plugins: cuts streams into micro-batches and runs your functions on them.
#[derive(Debug, Parser)]
#[command(name = "millpond", version, propagate_version = true, max_term_width = 100, after_long_help = AFTER_HELP)]
pub struct Cli {
    /// How log lines on standard error look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

// Lines of at most 79 characters: clap wraps longer ones a second time on a terminal of 80 columns.
const AFTER_HELP: &str = "\
A job is a folder with a millpond.toml: a Rust crate with the job's code, or a
component that is built already.

Results go to standard output, everything else to standard error. RUST_LOG
says which log lines are shown (default: warn,millpond=info,plugin=info; lines
of plugins have the target `plugin`).

Exit codes: 0 done; 1 the job failed; 2 usage or configuration, found before
the first batch; 130 stopped at once by a second Ctrl-C.

Examples:
  millpond new myjob --template wordcount
  millpond run plugins/wordcount
  millpond run plugins/wordcount --set 'sources.lines.path=/data/*.txt' --fresh
  millpond check jobs/orders/millpond.toml
  millpond explain MP0103";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a plugin folder that builds, tests and runs at once
    #[command(after_long_help = NEW_HELP)]
    New(NewArgs),
    /// Compile a plugin folder to a component
    #[command(after_long_help = BUILD_HELP)]
    Build(BuildArgs),
    /// Check a job: everything that `run` does before the first batch, and nothing is written
    #[command(after_long_help = CHECK_HELP)]
    Check(CheckArgs),
    /// Run a job
    #[command(after_long_help = RUN_HELP)]
    Run(RunArgs),
    /// Run a job's golden cases, each in four ways
    #[command(after_long_help = TEST_HELP)]
    Test(TestArgs),
    /// Build and run a job on its sample data, again whenever a file changes
    #[command(after_long_help = WATCH_HELP)]
    Watch(WatchArgs),
    /// Show a job's plan: its operators and how rows go through them
    #[command(after_long_help = PLAN_HELP)]
    Plan(PlanArgs),
    /// Show what a component is: digest, world, imports, exports, plan
    #[command(after_long_help = INSPECT_HELP)]
    Inspect(InspectArgs),
    /// Explain an error code, or list all codes
    #[command(after_long_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
    /// Print a shell's completions of this command
    #[command(after_long_help = COMPLETIONS_HELP)]
    Completions(CompletionsArgs),
}

const NEW_HELP: &str = "\
The folder's name is the name of the crate and of the job. It gets the code
with a test, sample data, a golden case, a job file and a README that says
what to change. The SDK is taken from the checkout that this program was
built from, or from the one that --sdk names.

Examples:
  millpond new myjob
  millpond new jobs/orders --template stateful
  millpond new myjob --sdk ~/millpond";

const TEST_HELP: &str = "\
A case is a folder in tests/ beside the job file: input as BATCH.SOURCE.txt,
.csv or .jsonl (1.lines.txt), what must come out as expected.SINK.jsonl, and
case.toml if it has settings: batches = 5, set = [\"params.top=3\"].

Each case runs straight, with a restart in the middle, with more partitions,
and with a fresh instance of the plugin for each call; all must give what is
expected. Rows behind sort_by, top_by and take must come in order.

Exit codes: 0 all ok; 1 a case failed; 2 a case or the job makes no sense.

Examples:
  millpond test plugins/wordcount
  millpond test plugins/wordcount --filter empty
  millpond test plugins/wordcount --bless";

const WATCH_HELP: &str = "\
Reads the job's input from the beginning each time, all of it, as
`run --fresh --set job.trigger=available-now` does. Sinks print to the
console, whatever the job file says, and state is kept in a temporary folder:
nothing outside is touched. Ctrl-C ends it.

Examples:
  millpond watch plugins/wordcount
  millpond watch plugins/wordcount --set params.top=3";

const COMPLETIONS_HELP: &str = "\
Examples:
  millpond completions bash > /etc/bash_completion.d/millpond
  millpond completions zsh > ~/.zfunc/_millpond
  millpond completions fish > ~/.config/fish/completions/millpond.fish";

const BUILD_HELP: &str = "\
Builds the folder's crate with cargo (release, wasm32-unknown-unknown, SIMD
on), makes a component of it and writes it to target/millpond/<package>.wasm
in the crate's own workspace. Prints the path and the size.

Examples:
  millpond build plugins/wordcount";

const CHECK_HELP: &str = "\
Examples:
  millpond check plugins/wordcount
  millpond check plugins/wordcount --set 'sources.lines.path=/data/*.txt'";

const RUN_HELP: &str = "\
Builds the plugin first when the folder is a Rust crate. A second run goes on
where the first one stopped.

Ctrl-C or SIGTERM: what is in hand is finished and committed (the batch being
computed, the one before if it is being committed, the next ones if they were
begun), then the job ends. A second one stops at once; what was committed
stays, and the next run goes on from there. (One within 300 ms of the first
counts as the same.)

Examples:
  millpond run plugins/wordcount
  millpond run plugins/wordcount --set job.trigger=continuous
  millpond run plugins/wordcount --fresh \\
      --set 'sources.lines.path=/data/*.txt' \\
      --set sinks.counts.type=file --set sinks.counts.path=out";

const PLAN_HELP: &str = "\
The sources need not exist.

Examples:
  millpond plan plugins/wordcount
  millpond plan plugins/wordcount --format graphviz | dot -Tsvg > plan.svg";

const INSPECT_HELP: &str = "\
Examples:
  millpond inspect plugins/target/millpond/wordcount.wasm";

const EXPLAIN_HELP: &str = "\
Examples:
  millpond explain MP0103
  millpond explain";

/// Arguments of `build`.
#[derive(Args, Debug)]
pub struct BuildArgs {
    /// The plugin's folder
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
}

/// Arguments of `new`.
#[derive(Args, Debug)]
pub struct NewArgs {
    /// The folder to make; its name is the crate's and the job's
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,

    /// What the job begins as: blank, wordcount, windowed, stateful, joined
    #[arg(long, value_name = "TEMPLATE", default_value = "blank", hide_possible_values = true, value_parser = TemplateName)]
    pub template: String,

    /// Millpond's repository, or its folder guest-sdk, to take the SDK from
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub sdk: Option<PathBuf>,
}

/// Takes any name, as what is wrong with one is said by `new`; shells are told those that exist.
#[derive(Clone, Copy, Debug)]
struct TemplateName;

impl TypedValueParser for TemplateName {
    type Value = String;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue>>> {
        Some(Box::new(TEMPLATES.iter().map(|template| PossibleValue::new(template.name).help(template.about))))
    }
}

/// Arguments of `test`.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Which job.
    #[command(flatten)]
    pub job: JobArgs,

    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,

    /// Write what the job gives to the expected files, and show what changed
    ///
    /// Nothing is written for a case that does not give the same in all four ways.
    #[arg(long)]
    pub bless: bool,
}

/// Arguments of `watch`.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// Which job.
    #[command(flatten)]
    pub job: JobArgs,
}

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Which job, and what to change in its file.
#[derive(Args, Clone, Debug)]
pub struct JobArgs {
    /// The job's folder, or its job file
    #[arg(value_name = "DIR|FILE", value_hint = ValueHint::AnyPath)]
    pub job: PathBuf,

    /// Change a key of the job file; may be given several times
    ///
    /// The value is read as TOML if it is TOML, else as text. Tables that the file does not have are made. Giving a source or a
    /// sink another type drops the file's keys that the new type does not have. Relative paths start at the job file's folder,
    /// as those in the file do.
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub set: Vec<String>,

    /// Do not build the plugin; use what the last build made
    #[arg(long)]
    pub no_build: bool,

    /// Tell `perf` the names of the plugin's functions, in /tmp/perf-PID.map
    ///
    /// For `perf record -g millpond run ... --perf-map`; other profilers read the file as well.
    #[arg(long, hide_short_help = true)]
    pub perf_map: bool,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Which job.
    #[command(flatten)]
    pub job: JobArgs,
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Which job.
    #[command(flatten)]
    pub job: JobArgs,

    /// Keep the job's state here
    ///
    /// Default: `checkpoint.dir` of the job file, else `.millpond/state/NAME` beside the job file, NAME being the job's.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state: Option<PathBuf>,

    /// Forget the job's state first: everything is read again
    ///
    /// Removes the state from the state folder, after making sure that it is this job's, and no other files. Output that sinks have
    /// written stays.
    #[arg(long)]
    pub fresh: bool,

    /// Write what each batch was and what it cost to this file, as JSON
    ///
    /// One object a line for every batch, and a last one with the totals under `summary`. Times are in microseconds; those of the
    /// phases (decode_us, guest_us ...) are summed over threads. The file is replaced.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub report: Option<PathBuf>,
}

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// Which job.
    #[command(flatten)]
    pub job: JobArgs,

    /// How the plan is drawn
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
}

/// How a plan is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// A list of operators
    Text,
    /// For Graphviz (`dot`)
    Graphviz,
    /// For Mermaid, as in Markdown files
    Mermaid,
}

/// Arguments of `inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// The component's file
    #[arg(value_name = "COMPONENT", value_hint = ValueHint::FilePath)]
    pub component: PathBuf,
}

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The code, such as MP0103
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn help_texts_fit_a_terminal_of_80_columns() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_long_help().unwrap_or_else(|| panic!("{command} has no examples")).to_string();
            assert!(help.contains("Examples:\n  millpond "), "{command}");
            for line in help.lines().chain(AFTER_HELP.lines()) {
                assert!(line.chars().count() < 80, "{line}");
            }
        }
    }
}
