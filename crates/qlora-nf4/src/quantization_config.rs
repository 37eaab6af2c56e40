//! `quantization_config` in `config.json`, as transformers' `BitsAndBytesConfig` has it.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Code4, Config4, OUTLIER_THRESHOLD, QuantError, Quantization};

#[derive(Deserialize)]
struct Fields {
    quant_method: Option<String>,
    #[serde(default)]
    load_in_4bit: bool,
    #[serde(default)]
    load_in_8bit: bool,
    // transformers' own defaults, for files that leave them out.
    #[serde(default = "fp4")]
    bnb_4bit_quant_type: String,
    #[serde(default)]
    bnb_4bit_use_double_quant: bool,
}

fn fp4() -> String {
    "fp4".to_owned()
}

/// What `config`, the content of `config.json`, says of how the weights are quantised; `None` when they are not.
///
/// # Errors
/// [`QuantError::Config`] when it cannot be read, [`QuantError::Method`] when it is another method.
pub fn read_quantization_config(config: &Value) -> Result<Option<Quantization>, QuantError> {
    let Some(value) = config.get("quantization_config").filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let fields = Fields::deserialize(value).map_err(QuantError::Config)?;
    let other = |field, actual: &str, expected| {
        Err(QuantError::Method { field, actual: actual.to_owned(), expected })
    };
    if let Some(method) = fields.quant_method.filter(|method| method != "bitsandbytes") {
        return other("quant_method", &method, "`bitsandbytes`");
    }
    let code = match &*fields.bnb_4bit_quant_type {
        "nf4" => Code4::Nf4,
        "fp4" => Code4::Fp4,
        actual => return other("bnb_4bit_quant_type", actual, "`nf4` or `fp4`"),
    };
    match (fields.load_in_4bit, fields.load_in_8bit) {
        (true, false) => Ok(Some(Quantization::Four(Config4::new(code, fields.bnb_4bit_use_double_quant)))),
        (false, true) => Ok(Some(Quantization::Eight)),
        (false, false) => Ok(None),
        (true, true) => other("load_in_4bit and load_in_8bit", "true", "only one of the two to be set"),
    }
}

/// The `quantization_config` that a checkpoint quantised so has to carry. `compute_dtype` is PyTorch's name of the kind
/// that transformers shall compute in.
pub fn quantization_config(quantization: Quantization, compute_dtype: &str) -> Value {
    let (four, code, double_quant) = match quantization {
        Quantization::Four(config) => (true, config.code, config.double_quant),
        Quantization::Eight => (false, Code4::Fp4, false),
    };
    json!({
        "_load_in_4bit": four,
        "_load_in_8bit": !four,
        "bnb_4bit_compute_dtype": compute_dtype,
        "bnb_4bit_quant_storage": "uint8",
        "bnb_4bit_quant_type": code.name(),
        "bnb_4bit_use_double_quant": double_quant,
        "llm_int8_enable_fp32_cpu_offload": false,
        "llm_int8_has_fp16_weight": false,
        "llm_int8_skip_modules": null,
        "llm_int8_threshold": OUTLIER_THRESHOLD,
        "load_in_4bit": four,
        "load_in_8bit": !four,
        "quant_method": "bitsandbytes",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for quantization in [
            Quantization::Four(Config4::new(Code4::Nf4, true)),
            Quantization::Four(Config4::new(Code4::Fp4, false)),
            Quantization::Eight,
        ] {
            let config = json!({ "quantization_config": quantization_config(quantization, "float32") });
            assert_eq!(read_quantization_config(&config).unwrap(), Some(quantization));
        }
        assert_eq!(read_quantization_config(&json!({ "hidden_size": 1 })).unwrap(), None);
    }

    #[test]
    fn another_method_is_refused_by_name() {
        let read = |config: Value| {
            let config = json!({ "quantization_config": config });
            read_quantization_config(&config).unwrap_err().to_string()
        };
        assert!(read(json!({ "quant_method": "gptq", "bits": 4 })).contains("gptq"));
        let four = json!({ "load_in_4bit": true, "bnb_4bit_quant_type": "int4" });
        assert!(read(four).contains("int4"));
        assert!(read(json!({ "load_in_4bit": true, "load_in_8bit": true })).contains("only one"));
    }
}
