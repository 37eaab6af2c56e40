//! One answer on stdout.

use anyhow::Result;
use infer::GenerateConfig;

use super::answer::answer;
use super::interrupt::Interrupt;
use super::prompts::Prompt;
use super::source::Loaded;
use crate::exit::usage;
use crate::output::print;

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
    let mut show = |text: &str| {
        if stream {
            print(text);
        }
    };
    let answer = answer(source, ids, sampling, &interrupt, &mut show)?;
    interrupt.end();
    if !stream {
        print(&answer.generation.text);
    }
    print("\n");
    tracing::info!("{}", answer.figures());
    Ok(())
}
