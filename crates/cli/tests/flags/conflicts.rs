//! Flags that exclude each other, and values that cannot be: refused before anything is opened or written.

use clap::Parser;
use cli::generate::{self, GenerateArgs};
use cli::merge::{self, MergeArgs};

#[test]
fn conflicting_flags_of_merge_are_rejected() {
    for (args, part) in [
        (&["--base_precision", "nf4"] as &[&str], "an adapter was trained over"),
        (&["--quantize", "int4"], "expected nf4, fp4, int8 or none"),
        (&["--quantize", "nf4", "--format", "gguf"], "quantize is for --format hf"),
        (&["--quantize", "int8", "--double_quant"], "double_quant is for nf4 and fp4"),
        (&["--double_quant"], "double_quant needs --base_precision nf4"),
        (&["--dtype", "q8_0"], "q8_0 is for --format gguf"),
        (&["--dtype", "int7"], "expected auto, float32"),
        (&["--shards", "2"], "shards is for --format state-dict"),
        (&["--shards", "0", "--format", "state-dict"], "shards is 0"),
        (&["--scale", "0"], "scale is 0"),
        (&["--lora_weights", "a", "--adapter", "b"], "give one of them"),
        (&["--lora_weights", "nowhere "], "adapter `nowhere` is not a directory"),
    ] {
        let own = ["merge", "--base_model", "m", "--output_dir", "out"];
        let parsed = MergeArgs::try_parse_from(own.iter().chain(args)).map_err(Into::into);
        let error = parsed.and_then(merge::run).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn conflicting_flags_of_generate_are_rejected() {
    for (args, part) in [
        (&["--prompt", "a", "--interactive"][..], "prompt and interactive"),
        (&["--input", "a"], "input belongs to an instruction"),
        (&["--out", "a"], "give --file too"),
        (&["--file", "a"], "file needs --out"),
        (&["--load_8bit", "--load_4bit"], "ask for one of them"),
        (&["--temperature", "-1"], "temperature is -1"),
        (&["--temperature", "NaN"], "temperature is NaN"),
        (&["--top_p", "2"], "top_p"),
        (&["--num_beams", "0"], "num_beams"),
        (&["--max_new_tokens", "0"], "max_new_tokens is 0"),
        (&["--server_name", "no such host"], "server_name is `no such host`"),
        (&["--compare", "x"], "expected NAME=MODEL"),
        (&["--prompt_template", "nope"], "nope"),
        (&["--prompt", "a", "--compare", "b=c"], "compare is for the server"),
    ] {
        let own = ["generate", "--base_model", "models/tiny"];
        let args = GenerateArgs::try_parse_from(own.iter().chain(args)).unwrap();
        let shown = format!("{args:?}");
        let text = generate::run(args).unwrap_err().to_string();
        assert!(text.contains(part), "{shown}: {text}");
    }
    let none = GenerateArgs::try_parse_from(["generate"]).unwrap();
    if std::env::var_os("BASE_MODEL").is_none() {
        assert!(generate::run(none).unwrap_err().to_string().starts_with("base_model is missing"));
    }
}
