//! One answer on stdout.

use std::fmt::Write;
use std::ops::ControlFlow;

use anyhow::Result;
use infer::{FinishReason, GenerateConfig};
use llama_finetune::{Answer, Prompt, TokenPiece};
use terminal::{Interrupt, print_result};

use super::source::Loaded;
use crate::exit::usage;

/// The form of an answer on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Its text; with `stream`, while it is written.
    Text { stream: bool },
    /// One JSON object.
    Json,
}

/// Answers `prompt`.
pub(crate) fn run(
    source: &Loaded,
    prompt: &Prompt,
    format: Format,
    show_tokens: bool,
    sampling: &GenerateConfig,
) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    if let Prompt::Instruction { instruction, .. } = prompt
        && instruction.trim().is_empty()
    {
        return Err(usage("instruction is empty"));
    }
    let stream = format == Format::Text { stream: true };
    let answer = answer(source, prompt, stream, sampling, &interrupt)?;
    if format == Format::Json {
        print_result(&answer.to_json(&source.model, prompt, show_tokens)?)?;
    } else if !stream {
        print_result(&answer.generation.text)?;
    }
    print_result("\n")?;
    if show_tokens && format != Format::Json {
        print_result(&tokens(source, &answer))?;
    }
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

/// Lists the tokens of a prompt and its answer, one a line: id, and piece as a string of Rust or JSON.
pub(crate) fn tokens(source: &Loaded, answer: &Answer) -> String {
    let mut text = String::new();
    for (name, ids) in [("prompt", &answer.prompt_ids), ("answer", &answer.generation.ids)] {
        let _ = writeln!(text, "{name}: {} tokens", ids.len());
        for TokenPiece { id, piece } in source.model.pieces(ids) {
            let _ = writeln!(text, "{id:>8} {piece:?}");
        }
    }
    text
}

/// Returns tokens, times and the reason of the end, for people.
pub(crate) fn figures(answer: &Answer) -> String {
    let tokens = answer.generation.ids.len();
    format!(
        "{} tokens in, {tokens} out, first after {:.0} ms, {:.1} tokens/s, {}",
        answer.prompt_ids.len(),
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
