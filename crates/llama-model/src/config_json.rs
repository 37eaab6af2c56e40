//! `config.json`, as Hugging Face's checkpoints have it.

use std::path::Path;

use nn_core::UnknownSettings;
use serde_json::{Map, Value, json};
use weights::read_text;

use crate::config_keys::{CONFIG_KEYS, ROPE_KEYS};
use crate::families::FAMILIES;
use crate::family::write_keys;
use crate::fields::Fields;
use crate::{Family, LlamaConfig, ModelError, RopeScaling};

/// Finds the family of a `model_type`; a file without one is LLaMA's.
fn family_of(model_type: Option<&str>) -> Result<&'static Family, ModelError> {
    let Some(model_type) = model_type else { return Ok(FAMILIES[0]) };
    FAMILIES.iter().copied().find(|family| family.model_type == model_type).ok_or_else(|| {
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.model_type).collect();
        let is = if known.len() == 1 { "is" } else { "are" };
        ModelError::config("model_type", model_type, format!("only {} {is} supported", known.join(", ")))
    })
}

/// Bytes of the file; real ones have a few thousand.
const MAX_BYTES: u64 = 16 << 20;

/// Names of the one activation that the decoder has (transformers `ACT2FN`).
const SILU: [&str; 2] = ["silu", "swish"];

impl LlamaConfig {
    /// Reads `config.json` in `dir`; what it states beyond this model's settings is refused.
    ///
    /// # Errors
    /// [`ModelError`] when the file is missing, is no LLaMA configuration, or states something unsupported.
    pub fn from_dir(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join("config.json");
        Self::read_file(&path, UnknownSettings::Refuse).map(|(config, _)| config)
    }

    /// Reads the `config.json` at `path`; returns what [`LlamaConfig::read`] returns.
    ///
    /// # Errors
    /// Those of [`LlamaConfig::from_dir`].
    pub fn read_file(path: &Path, unknown: UnknownSettings) -> Result<(Self, Vec<String>), ModelError> {
        let text = read_text(path, MAX_BYTES)
            .map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::read(&text, unknown).map_err(|error| match error {
            ModelError::Parse { source, .. } => ModelError::Parse { path: path.to_owned(), source },
            ModelError::Setting(error) => error.in_file(path).into(),
            other => other,
        })
    }

    /// Reads the text of a `config.json`; what it states beyond this model's settings is refused.
    ///
    /// # Errors
    /// [`ModelError`] when it is no LLaMA configuration, or states something unsupported.
    pub fn from_json(text: &str) -> Result<Self, ModelError> {
        Self::read(text, UnknownSettings::Refuse).map(|(config, _)| config)
    }

    /// Reads the text of a `config.json`; returns notes on what it states and what changes nothing here. A key that is in no table
    /// ([`CONFIG_KEYS`]) and is set is refused or, with [`UnknownSettings::Ignore`], noted.
    ///
    /// # Errors
    /// [`ModelError`] when it is no LLaMA configuration, or states something unsupported.
    pub fn read(text: &str, unknown: UnknownSettings) -> Result<(Self, Vec<String>), ModelError> {
        let map: Map<String, Value> = serde_json::from_str(text)
            .map_err(|source| ModelError::Parse { path: "config.json".into(), source })?;
        let fields = Fields::new(&map);
        let family = family_of(fields.text("model_type")?)?;
        if fields.text("hidden_act")?.is_some_and(|act| !SILU.contains(&act)) {
            return Err(fields.refuse("hidden_act", "only silu is supported"));
        }
        let mut notes = Vec::new();
        let heads = fields.needed("num_attention_heads")?;
        let layers = fields.needed("num_hidden_layers")?;
        let layers = usize::try_from(layers).unwrap_or(0);
        let mut config = Self::new(
            fields.needed("vocab_size")?,
            fields.needed("hidden_size")?,
            fields.needed("intermediate_size")?,
            layers,
            heads,
        );
        config.family = family;
        config.decoder = (family.read)(fields)?;
        notes.extend(fields.check(CONFIG_KEYS, unknown)?);
        if let (Some(window), None) = (fields.integer("sliding_window")?, fields.get("use_sliding_window")) {
            notes.push(format!(
                "`sliding_window` is {window}: attention is to the whole text, as in transformers"
            ));
        }
        config.num_key_value_heads = fields.integer("num_key_value_heads")?.unwrap_or(heads);
        match fields.integer("head_dim")?.or(family.head_dim) {
            Some(head_dim) => config.head_dim = head_dim,
            None => config.check_heads_divide()?,
        }
        let context = fields.integer("max_position_embeddings")?;
        let context = context.or(fields.integer("max_sequence_length")?);
        config.max_position_embeddings = context.unwrap_or(family.max_position_embeddings);
        config.rms_norm_eps = fields.number("rms_norm_eps")?.unwrap_or(1e-6);
        (config.rope_theta, config.rope_scaling) = rotary(fields, &config, unknown, &mut notes)?;
        config.tie_word_embeddings = fields.flag("tie_word_embeddings")?;
        config.initializer_range = fields.number("initializer_range")?.unwrap_or(0.02);
        config.bos_token_id = fields.integer("bos_token_id")?;
        config.eos_token_id = fields.token_ids("eos_token_id")?;
        config.pad_token_id = fields.integer("pad_token_id")?;
        // Of the two names transformers takes the newer one.
        let (dtype, older) = (fields.text("dtype")?, fields.text("torch_dtype")?);
        if let (Some(dtype), Some(older)) = (dtype, older)
            && dtype != older
        {
            notes.push(format!("`dtype` is {dtype} and `torch_dtype` is {older}: the first counts"));
        }
        config.torch_dtype = dtype.or(older).map(str::to_owned);
        config.validate()?;
        Ok((config, notes))
    }

    /// Returns the text of the `config.json` that states this configuration.
    pub fn to_json(&self) -> String {
        let mut file = Map::new();
        file.insert("architectures".to_owned(), json!([self.family.architecture]));
        file.insert("model_type".to_owned(), self.family.model_type.into());
        file.insert("hidden_act".to_owned(), "silu".into());
        for (key, value) in write_keys(self) {
            if key == "tie_word_embeddings" {
                file.extend((self.family.write)(self.decoder));
            }
            file.insert(key, value);
        }
        // Plain numbers, strings and structs always serialise.
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }
}

/// Reads base and stretching of the rotary frequencies from the places they may be in: beside the other settings, in
/// `rope_scaling`, and since transformers 5 in `rope_parameters`. What is stated twice has to be the same.
fn rotary(
    fields: Fields<'_>,
    config: &LlamaConfig,
    unknown: UnknownSettings,
    notes: &mut Vec<String>,
) -> Result<(f64, Option<RopeScaling>), ModelError> {
    let mut theta: Option<(String, f64)> = None;
    let mut state = |place: Fields<'_>| match (place.number("rope_theta")?, &theta) {
        #[expect(clippy::float_cmp, reason = "two settings that have to be one")]
        (Some(value), Some((name, stated))) if value != *stated => {
            Err(place.refuse("rope_theta", format!("`{name}` is {stated}")))
        }
        (Some(value), None) => {
            theta = Some((place.name("rope_theta"), value));
            Ok(())
        }
        _ => Ok(()),
    };
    state(fields)?;
    let mut scalings = Vec::new();
    for key in ["rope_scaling", "rope_parameters"] {
        let Some(object) = fields.object(key)? else { continue };
        notes.extend(object.check(ROPE_KEYS, unknown)?);
        state(object)?;
        scalings.push(RopeScaling::read(object, fields, config.max_position_embeddings)?);
    }
    if let [one, other] = scalings.as_slice()
        && one != other
    {
        return Err(fields.refuse("rope_parameters", "`rope_scaling` beside it states another stretching"));
    }
    let theta = theta.map_or(10_000.0, |(_, theta)| theta);
    Ok((theta, scalings.into_iter().next().flatten()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal(extra: &str) -> String {
        format!(
            r#"{{"vocab_size": 48, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                "num_attention_heads": 4 {extra}}}"#
        )
    }

    #[test]
    fn what_old_files_leave_out_is_llama_1() {
        let config = LlamaConfig::from_json(&minimal("")).unwrap();
        assert_eq!((config.num_key_value_heads, config.head_dim), (4, 8));
        assert_eq!((config.rms_norm_eps, config.rope_theta), (1e-6, 10_000.0));
    }

    #[test]
    fn a_written_configuration_reads_back_equal() {
        let text = minimal(
            r#", "rope_theta": 5e5, "eos_token_id": [5, 6], "num_key_value_heads": 2, "rope_scaling": {"rope_type":
            "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16}"#,
        );
        let config = LlamaConfig::from_json(&text).unwrap();
        let again = LlamaConfig::from_json(&config.to_json()).unwrap();
        assert_eq!(config, again);
        assert!(matches!(config.rope_scaling, Some(RopeScaling::Llama3 { factor: 8.0, .. })));
    }

    #[test]
    fn the_rotary_settings_of_transformers_5_are_found() {
        let text =
            minimal(r#", "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 2e4}"#);
        let config = LlamaConfig::from_json(&text).unwrap();
        assert_eq!(config.rope_scaling, Some(RopeScaling::Linear { factor: 4.0 }));
        assert!((config.rope_theta - 2e4).abs() < 1e-9);
    }

    #[test]
    fn what_is_stated_twice_may_be_the_same() {
        let text = minimal(
            r#", "rope_theta": 5e5, "rope_scaling": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500000},
                "rope_parameters": {"type": "linear", "factor": 4, "rope_theta": 500000.0}, "dtype": "float32",
                "torch_dtype": "bfloat16""#,
        );
        let (config, notes) = LlamaConfig::read(&text, UnknownSettings::Refuse).unwrap();
        assert_eq!((config.rope_theta, config.torch_dtype.as_deref()), (5e5, Some("float32")));
        assert_eq!(notes.len(), 1, "{notes:?}");
    }

    #[test]
    fn the_base_of_the_frequencies_is_found_in_any_of_its_places() {
        for place in ["rope_scaling", "rope_parameters"] {
            let text = minimal(&format!(r#", "{place}": {{"rope_type": "default", "rope_theta": 5e5}}"#));
            let config = LlamaConfig::from_json(&text).unwrap();
            assert_eq!((config.rope_theta, config.rope_scaling), (5e5, None), "{place}");
        }
    }

    #[test]
    fn a_rotary_scaling_may_be_named_by_its_older_key_or_by_both() {
        for kind in [r#""type": "linear""#, r#""type": "linear", "rope_type": "linear""#] {
            let text = minimal(&format!(r#", "rope_scaling": {{{kind}, "factor": 2.0}}"#));
            let scaling = LlamaConfig::from_json(&text).unwrap().rope_scaling;
            assert_eq!(scaling, Some(RopeScaling::Linear { factor: 2.0 }));
        }
    }

    #[test]
    fn what_this_model_cannot_be_is_refused_by_field() {
        for (extra, field) in [
            (r#", "model_type": "mistral""#, "model_type"),
            (r#", "hidden_act": "gelu""#, "hidden_act"),
            (r#", "num_key_value_heads": 3"#, "num_key_value_heads"),
            (r#", "head_dim": 7"#, "head_dim"),
            (r#", "hidden_size": 30"#, "num_attention_heads"),
            (r#", "rope_scaling": {"type": "longrope", "factor": 2.0}"#, "rope_scaling.type"),
            (r#", "rope_parameters": {"rope_type": "longrope"}"#, "rope_parameters.rope_type"),
            (r#", "rope_scaling": {"rope_type": "linear"}"#, "rope_scaling.factor"),
            (
                r#", "rope_scaling": {"rope_type": "linear", "type": "yarn", "factor": 2}"#,
                "rope_scaling.rope_type",
            ),
            (r#", "rope_theta": 1e4, "rope_scaling": {"rope_theta": 5e5}"#, "rope_scaling.rope_theta"),
            (
                r#", "rope_scaling": {"rope_theta": 1e4}, "rope_parameters": {"rope_theta": 5e5}"#,
                "rope_parameters.rope_theta",
            ),
            (
                r#", "rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"type": "linear", "factor": 4}"#,
                "rope_parameters",
            ),
            (r#", "rope_theta": "1e4""#, "rope_theta"),
            (r#", "rope_theta": 0"#, "rope_theta"),
            (r#", "rms_norm_eps": -1e-6"#, "rms_norm_eps"),
            (r#", "partial_rotary_factor": 0.5"#, "partial_rotary_factor"),
            (r#", "max_position_embeddings": 0"#, "max_position_embeddings"),
            (r#", "attention_bias": "yes""#, "attention_bias"),
            (r#", "embedding_multiplier": 12"#, "embedding_multiplier"),
            (r#", "use_magic": 1"#, "use_magic"),
        ] {
            let error = LlamaConfig::from_json(&minimal(extra)).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
