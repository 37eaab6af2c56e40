//! Flags about the machine and the precision.

use anyhow::Result;
use clap::Parser;
use cli::compute::{Compute, ComputeArgs};
use llama_finetune::AskedQuantization;
use nn_core::Dtype;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    compute: ComputeArgs,
}

fn resolved(args: &[&str]) -> Result<Compute> {
    let args = [&["program"], args].concat();
    Program::try_parse_from(args)?.compute.resolve(Dtype::Auto)
}

#[test]
fn every_spelling_of_a_quantisation_means_the_same() {
    for (spellings, expected) in [
        (&["--quantize=nf4", "--load_in_4bit", "--load_4bit", "--load_4bit=True"][..], "nf4"),
        (&["--quantize=int8", "--load_in_8bit", "--load_8bit"], "int8"),
        (&["--quantize=none", "--load_in_8bit=False", "--load_4bit=false"], "none"),
    ] {
        for spelling in spellings {
            let asked = resolved(&[spelling]).unwrap().quantization.scheme.unwrap_or_default();
            assert_eq!(asked.to_string(), expected, "{spelling}");
        }
    }
    let both = resolved(&["--quantize", "fp4", "--load_in_4bit", "--double_quant"]).unwrap();
    let expected = AskedQuantization { scheme: Some("fp4".parse().unwrap()), double_quant: Some(true) };
    assert_eq!(both.quantization, expected);
}

#[test]
fn conflicting_and_unknown_values_are_rejected() {
    for (args, part) in [
        (&["--load_8bit", "--load_4bit"][..], "ask for one of them"),
        (&["--quantize", "int8", "--double_quant"], "double_quant is for nf4 and fp4; quantize is `int8`"),
        (&["--quantize", "int4"], "quantize is `int4`; expected nf4, fp4, int8 or none"),
        (&["--device", "tpu"], "device is `tpu`; expected auto, cpu, cuda or cuda:N"),
        (&["--dtype", "int7"], "dtype is `int7`; expected auto"),
    ] {
        let error = resolved(args).unwrap_err().to_string();
        assert!(error.contains(part), "{args:?}: {error}");
    }
}
