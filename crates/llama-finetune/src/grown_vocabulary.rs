//! A vocabulary that grows with an adapter.

use llama_model::LlamaConfig;
use lora::LoraConfig;

/// Returns the settings of an adapter over a base that gets a row for each of the `wanted` tokens, and the rows that embedding and
/// head then have: both are saved with the adapter, as one where the base has them as one. `None` where nothing is wanted, or the
/// base has the rows already.
pub fn grown_vocabulary(
    base: &LlamaConfig,
    wanted: Option<i64>,
    lora: LoraConfig,
) -> (LoraConfig, Option<i64>) {
    let Some(tokens) = wanted.filter(|&tokens| tokens > base.vocab_size) else { return (lora, None) };
    let mut saved = lora.modules_to_save.clone().unwrap_or_default();
    let is_tied = base.tie_word_embeddings;
    let names = if is_tied { &["embed_tokens"][..] } else { &["embed_tokens", "lm_head"] };
    for name in names {
        if !saved.iter().any(|saved| saved == name) {
            saved.push((*name).to_owned());
        }
    }
    let lora = LoraConfig { modules_to_save: Some(saved), ensure_weight_tying: is_tied, ..lora };
    (lora, Some(tokens))
}
