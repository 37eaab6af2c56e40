//! One answer on stdout.

use anyhow::Result;
use infer::GenerateConfig;

use super::answer::answer;
use super::prompts::Prompt;
use super::source::Loaded;
use crate::exit::usage;
use crate::output::print_result;
use crate::signals::Interrupt;

/// Answers `prompt`; with `stream`, text is shown while it is written.
pub(crate) fn run(source: &Loaded, prompt: &Prompt, stream: bool, sampling: &GenerateConfig) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    let ids = source.text.ids(prompt)?;
    if let Prompt::Instruction { instruction, .. } = prompt
        && instruction.trim().is_empty()
    {
        return Err(usage("instruction is empty"));
    }
    interrupt.begin();
    let mut shown = Ok(());
    let mut show = |text: &str| {
        if stream && shown.is_ok() {
            shown = print_result(text);
            if shown.is_err() {
                interrupt.ask();
            }
        }
    };
    let answer = answer(source, ids, sampling, &interrupt, &mut show)?;
    interrupt.end();
    shown?;
    if !stream {
        print_result(&answer.generation.text)?;
    }
    print_result("\n")?;
    tracing::info!("{}", answer.figures());
    Ok(())
}
