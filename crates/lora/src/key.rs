//! Names of tensors in PEFT's file.

/// Beginning of every name: PEFT's wrapper, and the model in it.
const PREFIX: &str = "base_model.model.";

/// Rows of an embedding that trained, behind the path of the embedding.
pub(crate) const TOKEN_ROWS: &str = "token_adapter.trainable_tokens_delta";

/// Tensors of an adapter behind the path of their module.
const SUFFIXES: [&str; 7] = [
    "lora_A.weight",
    "lora_B.weight",
    "lora_B.bias",
    "lora_magnitude_vector",
    "lora_embedding_A",
    "lora_embedding_B",
    TOKEN_ROWS,
];

/// Returns the name in PEFT's file of what the adapter calls `name`.
pub(crate) fn tensor_name(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Returns `key` as PEFT writes it today, and a tensor that came with the base under its name there; `None` for a copy of the
/// base beside what replaces it. Some versions left the adapter's name in a key, as in `lora_A.default.weight`, and the
/// name of a wrapper (`modules_to_save`, `base_layer`).
pub(crate) fn canonical(key: &str) -> Option<String> {
    for suffix in SUFFIXES {
        let (stem, ending) = suffix.split_once('.').unwrap_or((suffix, ""));
        if let Some((before, after)) = key.split_once(&format!(".{stem}."))
            && after.ends_with(ending)
        {
            return Some(format!("{before}.{suffix}"));
        }
    }
    if key.contains(".original_module.") || key.contains(".token_adapter.trainable_tokens_original.") {
        return None;
    }
    let (path, part) = key.rsplit_once('.')?;
    for wrapper in [".modules_to_save", ".token_adapter.base_layer", ".base_layer"] {
        let wrapped = path.split_once(&format!("{wrapper}.")).map(|(path, _)| path);
        if let Some(path) = wrapped.or(path.strip_suffix(wrapper)) {
            return Some(format!("{path}.{part}"));
        }
    }
    Some(key.to_owned())
}

/// Checks for a tensor of the base that PEFT wrote beside the factors for it.
pub(crate) fn is_of_base(key: &str) -> bool {
    key.ends_with(".base_layer.weight")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_adapters_and_wrappers_are_dropped() {
        let layer = "base_model.model.model.layers.0.self_attn.q_proj";
        for (key, expected) in [
            ("lora_A.weight", "lora_A.weight"),
            ("lora_A.default.weight", "lora_A.weight"),
            ("lora_B.other.bias", "lora_B.bias"),
            ("lora_magnitude_vector.default.weight", "lora_magnitude_vector"),
            ("lora_embedding_A.default", "lora_embedding_A"),
            ("lora_embedding_B", "lora_embedding_B"),
            ("modules_to_save.default.weight", "weight"),
            ("modules_to_save.weight", "weight"),
            ("base_layer.bias", "bias"),
            ("token_adapter.base_layer.weight", "weight"),
            (TOKEN_ROWS, TOKEN_ROWS),
            ("weight", "weight"),
        ] {
            let canonical = canonical(&format!("{layer}.{key}"));
            assert_eq!(canonical.as_deref(), Some(format!("{layer}.{expected}").as_str()));
        }
        assert_eq!(canonical(&format!("{layer}.original_module.weight")), None);
    }
}
