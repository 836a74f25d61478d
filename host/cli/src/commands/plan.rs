//! `millpond plan`: the plan as text or as a picture's source.

use millpond_engine::draw;

use super::{Failure, print};
use crate::args::{PlanArgs, PlanFormat};
use crate::job::LoadedJob;
use crate::screen::Screen;

/// Draws the plan. Sources, sinks and state are not looked at.
pub fn plan(args: &PlanArgs, screen: &Screen) -> Result<(), Failure> {
    let job = LoadedJob::load(&args.job)?;
    let drawing = match args.format {
        PlanFormat::Text => draw::text(&job.graph),
        PlanFormat::Graphviz => draw::graphviz(&job.graph),
        PlanFormat::Mermaid => draw::mermaid(&job.graph),
    };
    print(screen, &format!("{}\n", drawing.trim_end()))
}
