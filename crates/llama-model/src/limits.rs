//! The most that a file may state of a model: the one place where numbers of others are bounded, before they drive any work.
//!
//! Every form of a model comes through [`LlamaConfig::validate`]; `docs/models.md` lists the limits.

use crate::{LlamaConfig, ModelError, RopeScaling};

/// Limits of a number of a configuration: field, value, least and most.
type Limit<T> = (&'static str, fn(&LlamaConfig) -> T, T, T);

/// Limits of whole numbers. The most is far above every published model.
const WHOLE: [Limit<i64>; 8] = [
    ("vocab_size", |config| config.vocab_size, 1, 1 << 24),
    ("hidden_size", |config| config.hidden_size, 1, 1 << 20),
    ("intermediate_size", |config| config.intermediate_size, 1, 1 << 22),
    ("num_hidden_layers", |config| i64::try_from(config.num_hidden_layers).unwrap_or(i64::MAX), 1, 4096),
    ("num_attention_heads", |config| config.num_attention_heads, 1, 1 << 14),
    ("num_key_value_heads", |config| config.num_key_value_heads, 1, 1 << 14),
    ("head_dim", |config| config.head_dim, 1, 1 << 14),
    ("max_position_embeddings", |config| config.max_position_embeddings, 1, 1 << 31),
];

/// The same of other numbers; none of them may be NaN or infinite.
const REAL: [Limit<f64>; 3] = [
    ("rms_norm_eps", |config| config.rms_norm_eps, 0.0, 1.0),
    ("rope_theta", |config| config.rope_theta, 2.0, 1e15),
    ("initializer_range", |config| config.initializer_range, 0.0, 1e3),
];

/// Checks every number of `config` against its limits.
fn check(config: &LlamaConfig) -> Result<(), ModelError> {
    for (field, value, least, most) in WHOLE {
        let value = value(config);
        if !(least..=most).contains(&value) {
            let expected = format!("it has to be {least} to {most}");
            return Err(ModelError::config(field, value.to_string(), expected));
        }
    }
    for (field, value, least, most) in REAL {
        check_real(field, value(config), least, most)?;
    }
    match &config.rope_scaling {
        Some(scaling) => check_scaling(scaling),
        None => Ok(()),
    }
}

impl LlamaConfig {
    /// Checks that every number is within its limits, and that the widths fit each other.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the first field that does not.
    pub fn validate(&self) -> Result<(), ModelError> {
        check(self)?;
        if self.head_dim % 2 != 0 {
            return Err(ModelError::config(
                "head_dim",
                self.head_dim.to_string(),
                "rotary embedding needs an even width",
            ));
        }
        if self.head_dim == 2 && matches!(self.rope_scaling, Some(RopeScaling::Dynamic { .. })) {
            return Err(ModelError::config("head_dim", "2", "dynamic rotary frequencies need a wider head"));
        }
        if self.num_attention_heads % self.num_key_value_heads != 0 {
            let expected = format!("it has to divide num_attention_heads {}", self.num_attention_heads);
            return Err(ModelError::config(
                "num_key_value_heads",
                self.num_key_value_heads.to_string(),
                expected,
            ));
        }
        let possible = self.family.write_and_read(self.decoder)?;
        if possible != self.decoder {
            let expected =
                format!("such a model has the optional parts [{possible}], and this one [{}]", self.decoder);
            return Err(ModelError::config("model_type", self.family.model_type, expected));
        }
        Ok(())
    }
}

/// Checks that a number is from `least` to `most`.
fn check_real(field: &str, value: f64, least: f64, most: f64) -> Result<(), ModelError> {
    // NaN is in no range.
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let most = if most < 1e6 { most.to_string() } else { format!("{most:e}") };
    Err(ModelError::config(field, value.to_string(), format!("it has to be {least} to {most}")))
}

/// Checks every number of a stretching against its limits.
fn check_scaling(scaling: &RopeScaling) -> Result<(), ModelError> {
    const MOST: f64 = 1e6;
    let real = |key: &str, value, least| check_real(&format!("rope_scaling.{key}"), value, least, MOST);
    let tokens = |value: i64| {
        let key = "rope_scaling.original_max_position_embeddings";
        check_real(key, value as f64, 1.0, f64::from(1u32 << 31))
    };
    match *scaling {
        RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor } => real("factor", factor, 1e-3),
        RopeScaling::Yarn {
            factor,
            original_max_position_embeddings,
            attention_factor,
            beta_fast,
            beta_slow,
            truncate: _,
        } => {
            real("factor", factor, 1e-3)?;
            tokens(original_max_position_embeddings)?;
            real("attention_factor", attention_factor, 1e-6)?;
            real("beta_fast", beta_fast, 1e-6)?;
            real("beta_slow", beta_slow, 1e-6)
        }
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => {
            real("factor", factor, 1e-3)?;
            real("low_freq_factor", low_freq_factor, 1e-6)?;
            real("high_freq_factor", high_freq_factor, 1e-6)?;
            tokens(original_max_position_embeddings)?;
            if high_freq_factor > low_freq_factor {
                return Ok(());
            }
            let expected = format!("it has to be more than low_freq_factor {low_freq_factor}");
            let field = "rope_scaling.high_freq_factor";
            Err(ModelError::config(field, high_freq_factor.to_string(), expected))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A way in which a file can be wrong.
    type Spoil = fn(&mut LlamaConfig);

    #[test]
    fn a_number_that_no_model_has_is_refused_by_field() {
        let spoilt: [(&str, Spoil); 12] = [
            ("num_hidden_layers", |config| config.num_hidden_layers = 1_000_000_000),
            ("num_hidden_layers", |config| config.num_hidden_layers = 0),
            ("hidden_size", |config| config.hidden_size = i64::MAX),
            ("intermediate_size", |config| config.intermediate_size = -1),
            ("vocab_size", |config| config.vocab_size = 1 << 40),
            ("num_attention_heads", |config| config.num_attention_heads = 0),
            ("max_position_embeddings", |config| config.max_position_embeddings = 0),
            ("rope_theta", |config| config.rope_theta = 0.0),
            ("rope_theta", |config| config.rope_theta = f64::INFINITY),
            ("rms_norm_eps", |config| config.rms_norm_eps = -1e-6),
            ("rms_norm_eps", |config| config.rms_norm_eps = f64::NAN),
            ("initializer_range", |config| config.initializer_range = -0.02),
        ];
        for (field, spoil) in spoilt {
            let mut config = LlamaConfig::new(48, 32, 64, 2, 4);
            config.validate().unwrap();
            spoil(&mut config);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with(&format!("config.json: `{field}` is ")), "{error}");
            assert!(error.contains("it has to be"), "{error}");
        }
    }
}
