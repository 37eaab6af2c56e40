//! Continuing a batch of prompts to the end.

use std::ops::ControlFlow;

use nn_core::CausalLm;

use crate::{
    BatchEvent, Batcher, FinishReason, GenerateConfig, Generation, InferError, Request, RequestId, TokenText,
};

/// Continues every prompt as `config` says, all together, each as if it were alone.
///
/// # Errors
/// [`InferError`] when a prompt or a setting cannot be used, or the model or the tokenizer fails.
pub fn generate(
    model: &dyn CausalLm,
    decoder: &dyn TokenText,
    prompts: &[Vec<i64>],
    config: &GenerateConfig,
) -> Result<Vec<Generation>, InferError> {
    generate_streaming(model, decoder, prompts, config, &mut |_, _| ControlFlow::Continue(()))
}

/// Continues every prompt as [`generate`] does, and gives out text while it is written.
///
/// `on_text` gets the number of a prompt and its new text, piece by piece; pieces are whole characters, and all of a
/// prompt's together are its text (a beam search has one piece). When it breaks, the texts that are not finished end as
/// [`FinishReason::Cancelled`].
///
/// # Errors
/// [`InferError`] when a prompt or a setting cannot be used, or the model or the tokenizer fails.
pub fn generate_streaming(
    model: &dyn CausalLm,
    decoder: &dyn TokenText,
    prompts: &[Vec<i64>],
    config: &GenerateConfig,
    on_text: &mut dyn FnMut(usize, &str) -> ControlFlow<()>,
) -> Result<Vec<Generation>, InferError> {
    if let Some(index) = prompts.iter().position(Vec::is_empty) {
        return Err(InferError::EmptyPrompt { index });
    }
    config.validate()?;
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let capacity = longest + config.max_new_tokens.max(1);
    let mut batcher = Batcher::new(model, decoder, prompts.len() * config.rows(), capacity)?;
    let mut ids: Vec<RequestId> = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        ids.push(batcher.add(Request { prompt: prompt.clone(), config: config.clone() })?);
    }
    let mut answers: Vec<Option<Generation>> = vec![None; prompts.len()];
    let place = |id: RequestId| ids.iter().position(|&other| other == id).unwrap_or_default();
    let mut cancelled = false;
    while !batcher.is_idle() && !cancelled {
        for event in batcher.step() {
            match event {
                BatchEvent::Token { id, text, .. } if !text.is_empty() && !cancelled => {
                    cancelled = on_text(place(id), &text).is_break();
                }
                BatchEvent::Token { .. } => {}
                BatchEvent::Finished { id, generation } => answers[place(id)] = Some(generation),
                BatchEvent::Failed { error, .. } => return Err(error),
            }
        }
    }
    let mut unfinished = |id: RequestId| {
        let none = Generation { ids: Vec::new(), text: String::new(), finish: FinishReason::Cancelled };
        batcher.cancel(id).unwrap_or(none)
    };
    Ok(ids.iter().zip(answers).map(|(&id, answer)| answer.unwrap_or_else(|| unfinished(id))).collect())
}
