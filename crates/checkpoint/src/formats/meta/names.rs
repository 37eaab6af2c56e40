//! Meta's names of tensors, and how each is cut into shards.

use llama_model::{TensorName, Width};

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
    let tensor = TensorName::parse(name)?;
    let module = tensor.module;
    let cut = match (module.rows, module.columns) {
        (_, None) => Cut::Whole,
        (Width::Vocabulary, _) if module.path != "lm_head" => Cut::Embedding,
        // Layers that write to the residual stream are cut along their inputs.
        (Width::Hidden, _) => Cut::Along(1),
        _ => Cut::Along(0),
    };
    Some((tensor.meta()?, cut))
}
