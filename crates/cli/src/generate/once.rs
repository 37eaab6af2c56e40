//! One answer on stdout.

use std::ops::ControlFlow;

use anyhow::Result;
use infer::{FinishReason, GenerateConfig};
use llama_finetune::{Answer, Prompt};

use super::source::Loaded;
use crate::exit::usage;
use crate::output::print_result;
use crate::signals::Interrupt;

/// Answers `prompt`; with `stream`, text is shown while it is written.
pub(crate) fn run(source: &Loaded, prompt: &Prompt, stream: bool, sampling: &GenerateConfig) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    if let Prompt::Instruction { instruction, .. } = prompt
        && instruction.trim().is_empty()
    {
        return Err(usage("instruction is empty"));
    }
    let answer = answer(source, prompt, stream, sampling, &interrupt)?;
    if !stream {
        print_result(&answer.generation.text)?;
    }
    print_result("\n")?;
    tracing::info!("{}", figures(&answer));
    Ok(())
}

/// Answers one prompt until it ends or is interrupted; with `stream`, text is shown while it is written.
pub(crate) fn answer(
    source: &Loaded,
    prompt: &Prompt,
    stream: bool,
    sampling: &GenerateConfig,
    interrupt: &Interrupt,
) -> Result<Answer> {
    interrupt.begin();
    let mut shown = Ok(());
    let answer = source.model.answer(prompt, sampling, &mut |text| {
        if stream {
            shown = print_result(text);
        }
        if shown.is_err() || interrupt.is_asked() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    interrupt.end();
    shown?;
    Ok(answer?)
}

/// Returns tokens, times and the reason of the end, for people.
pub(crate) fn figures(answer: &Answer) -> String {
    let tokens = answer.generation.ids.len();
    format!(
        "{} tokens in, {tokens} out, first after {:.0} ms, {:.1} tokens/s, {}",
        answer.prompt_tokens,
        1000.0 * answer.first_token_s,
        tokens as f64 / answer.seconds.max(1e-9),
        match answer.generation.finish {
            FinishReason::Eos => "ended by itself",
            FinishReason::Stop => "ended by a stop string",
            FinishReason::Length => "ended by max_new_tokens",
            FinishReason::Cancelled => "interrupted",
        }
    )
}
