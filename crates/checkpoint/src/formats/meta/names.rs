//! Meta's names of tensors, and how each is cut into shards.

/// Way in which the shards of a tensor make the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// One beside the other, along this dimension.
    Along(i64),
    /// Along the vocabulary (Llama 3) or the width (before it), whichever the shapes tell.
    Embedding,
    /// Each shard has all of it.
    Whole,
}

/// Returns Meta's name of the tensor that Hugging Face calls `name`, and how it is cut (`llama/model.py`:
/// `ColumnParallelLinear` along its outputs, `RowParallelLinear` along its inputs).
pub(super) fn meta_name(name: &str) -> Option<(String, Cut)> {
    match name {
        "model.embed_tokens.weight" => return Some(("tok_embeddings.weight".to_owned(), Cut::Embedding)),
        "model.norm.weight" => return Some(("norm.weight".to_owned(), Cut::Whole)),
        "lm_head.weight" => return Some(("output.weight".to_owned(), Cut::Along(0))),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (leaf, cut) = match rest.strip_suffix(".weight")? {
        "self_attn.q_proj" => ("attention.wq", Cut::Along(0)),
        "self_attn.k_proj" => ("attention.wk", Cut::Along(0)),
        "self_attn.v_proj" => ("attention.wv", Cut::Along(0)),
        "self_attn.o_proj" => ("attention.wo", Cut::Along(1)),
        "mlp.gate_proj" => ("feed_forward.w1", Cut::Along(0)),
        "mlp.down_proj" => ("feed_forward.w2", Cut::Along(1)),
        "mlp.up_proj" => ("feed_forward.w3", Cut::Along(0)),
        "input_layernorm" => ("attention_norm", Cut::Whole),
        "post_attention_layernorm" => ("ffn_norm", Cut::Whole),
        _ => return None,
    };
    Some((format!("layers.{layer}.{leaf}.weight"), cut))
}
