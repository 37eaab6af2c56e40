//! Sampling settings of a request.

use infer::{GenerateConfig, SamplingConfig};
use serde::Deserialize;

use super::error::ApiError;
use super::state::unique_number;

/// OpenAI's sampling settings, and ours beside them.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SamplingFields {
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) seed: Option<i64>,
    pub(crate) stop: Option<StopField>,
    // Ours, as transformers names them.
    pub(crate) top_k: Option<usize>,
    pub(crate) min_p: Option<f64>,
    pub(crate) repetition_penalty: Option<f64>,
    pub(crate) num_beams: Option<usize>,
    pub(crate) length_penalty: Option<f64>,
    pub(crate) early_stopping: Option<bool>,
    pub(crate) do_sample: Option<bool>,
    /// Answers to a prompt.
    pub(crate) n: Option<u64>,
    // Would change the answer, and are not here.
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    logit_bias: Option<serde_json::Map<String, serde_json::Value>>,
}

/// One stop string or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum StopField {
    One(String),
    Several(Vec<String>),
}

/// Limit on the answers of one request.
pub(crate) const MAX_ANSWERS: usize = 64;
/// Limit on the stop strings of a request.
const MAX_STOPS: usize = 16;
/// Limit on the characters of one.
const MAX_STOP_CHARS: usize = 256;

impl SamplingFields {
    /// Resolves the settings; the default temperature counts when none is given. Samples when the temperature is above 0
    /// and there is one beam, unless `do_sample` says otherwise.
    pub(crate) fn resolve(self, default_temperature: f64) -> Result<GenerateConfig, ApiError> {
        self.refuse_unsupported()?;
        let num_beams = self.num_beams.unwrap_or(1);
        let temperature = self.temperature.unwrap_or(default_temperature);
        if !(0.0..=2.0).contains(&temperature) {
            return Err(ApiError::invalid(
                "temperature",
                format!("temperature is {temperature}; expected 0 to 2"),
            ));
        }
        if num_beams == 0 {
            return Err(ApiError::invalid("num_beams", "num_beams is 0; expected at least 1"));
        }
        let do_sample = self.do_sample.unwrap_or(temperature > 0.0 && num_beams == 1);
        if do_sample && temperature <= 0.0 {
            return Err(ApiError::invalid(
                "temperature",
                "temperature is 0; with `do_sample` expected above 0",
            ));
        }
        let stop = match self.stop {
            None => Vec::new(),
            Some(StopField::One(stop)) => vec![stop],
            Some(StopField::Several(stops)) => stops,
        };
        if stop.len() > MAX_STOPS || stop.iter().any(|stop| stop.chars().count() > MAX_STOP_CHARS) {
            let message =
                format!("expected at most {MAX_STOPS} stop strings of at most {MAX_STOP_CHARS} characters");
            return Err(ApiError::invalid("stop", message));
        }
        let plain = SamplingConfig::default();
        // What only counts when drawing is checked all the same: a wrong value is a mistake either way.
        let given = SamplingConfig {
            do_sample,
            temperature: if do_sample { temperature } else { plain.temperature },
            top_k: self.top_k.unwrap_or(plain.top_k),
            top_p: self.top_p.unwrap_or(plain.top_p),
            min_p: self.min_p.unwrap_or(plain.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(plain.repetition_penalty),
            num_beams,
            length_penalty: self.length_penalty.unwrap_or(plain.length_penalty),
            early_stopping: self.early_stopping.unwrap_or(plain.early_stopping),
            seed: self.seed.map_or_else(unique_number, |seed| seed as u64),
        };
        let stop = stop.into_iter().filter(|stop| !stop.is_empty()).collect();
        Ok(GenerateConfig { stop, sampling: given, ..GenerateConfig::default() })
    }

    /// Returns the number of answers to a prompt.
    pub(crate) fn answers(&self) -> Result<usize, ApiError> {
        let n = self.n.unwrap_or(1);
        let answers = usize::try_from(n).ok().filter(|n| (1..=MAX_ANSWERS).contains(n));
        answers.ok_or_else(|| ApiError::invalid("n", format!("n is {n}; expected 1 to {MAX_ANSWERS}")))
    }

    fn refuse_unsupported(&self) -> Result<(), ApiError> {
        let penalties =
            [("frequency_penalty", self.frequency_penalty), ("presence_penalty", self.presence_penalty)];
        for (name, value) in penalties {
            if value.is_some_and(|value| value != 0.0) {
                let message = format!("{name} is not supported; `repetition_penalty` is");
                return Err(ApiError::unsupported(name, message));
            }
        }
        if self.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty()) {
            return Err(ApiError::unsupported("logit_bias", "logit_bias is not supported"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(json: &str) -> Result<GenerateConfig, ApiError> {
        serde_json::from_str::<SamplingFields>(json).unwrap().resolve(1.0)
    }

    #[test]
    fn one_beam_with_a_temperature_samples() {
        let drawn = |json| resolve(json).unwrap().sampling.do_sample;
        assert!(drawn("{}"));
        assert!(drawn(r#"{"temperature": 0.1, "top_p": 0.5}"#));
        assert!(!drawn(r#"{"temperature": 0}"#));
        assert!(!drawn(r#"{"num_beams": 4}"#));
        assert!(drawn(r#"{"num_beams": 4, "do_sample": true}"#));
    }

    #[test]
    fn unsupported_fields_are_refused_unless_neutral() {
        for json in [r#"{"frequency_penalty": 1}"#, r#"{"logit_bias": {"5": 1}}"#] {
            assert!(resolve(json).is_err(), "{json}");
        }
        assert!(resolve(r#"{"n": 1, "presence_penalty": 0, "logit_bias": {}, "stop": null}"#).is_ok());
        assert!(resolve(r#"{"temperature": 2.5}"#).is_err());
        assert!(resolve(r#"{"num_beams": 0}"#).is_err());
    }

    #[test]
    fn answers_are_counted_within_bounds() {
        let answers = |json| serde_json::from_str::<SamplingFields>(json).unwrap().answers();
        assert_eq!(answers("{}").unwrap(), 1);
        assert_eq!(answers(r#"{"n": 3}"#).unwrap(), 3);
        assert!(answers(r#"{"n": 0}"#).is_err());
        assert!(answers(r#"{"n": 65}"#).is_err());
    }

    #[test]
    fn a_given_seed_is_kept() {
        assert_eq!(resolve(r#"{"seed": 7}"#).unwrap().sampling.seed, 7);
        assert_ne!(resolve("{}").unwrap().sampling.seed, resolve("{}").unwrap().sampling.seed);
    }
}
