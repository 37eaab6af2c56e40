//! Settings of `generate`.

use anyhow::Result;
use clap::Parser;
use cli::generate::{GenerateArgs, Mode, Settings, resolve};
use infer::SamplingConfig;

fn resolved(args: &[&str]) -> Result<Settings> {
    let own = ["generate", "--base_model", "models/tiny"];
    resolve(GenerateArgs::try_parse_from(own.iter().chain(args)).unwrap())
}

#[test]
fn defaults_are_those_of_alpaca_loras_evaluate_with_sampling_on() {
    let settings = resolved(&[]).unwrap();
    let SamplingConfig { do_sample, temperature, top_p, top_k, num_beams, .. } = settings.sampling.sampling;
    assert!(do_sample);
    assert_eq!((temperature, top_p, top_k, num_beams), (0.1, 0.75, 40, 1));
    assert_eq!(settings.sampling.max_new_tokens, 128);
    let Mode::Web(web) = settings.mode else { panic!("the server is the default") };
    assert_eq!(web.address.to_string(), "127.0.0.1:7860");
    assert!(web.page.stream, "the page streams unless it is told not to");
}

#[test]
fn compat_is_beam_search_with_four_beams() {
    let settings = resolved(&["--compat", "alpaca-lora", "--temperature", "0.9"]).unwrap();
    let SamplingConfig { do_sample, num_beams, .. } = settings.sampling.sampling;
    assert_eq!((do_sample, num_beams), (false, 4));
    let one = resolved(&["--compat", "alpaca-lora", "--num_beams", "1"]).unwrap().sampling.sampling;
    assert_eq!((one.do_sample, one.num_beams), (false, 1));
}

#[test]
fn temperature_0_and_beam_search_do_not_sample() {
    for args in [["--temperature", "0"], ["--num_beams", "2"]] {
        assert!(!resolved(&args).unwrap().sampling.sampling.do_sample, "{args:?}");
    }
}

#[test]
fn sources_are_named_after_their_files_or_as_given() {
    let args = ["--lora_weights", "runs/demo/", "--compare", "base=models/tiny", "--compare", "b=m+a/x"];
    let sources = resolved(&args).unwrap().sources;
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["tiny+demo", "base", "b"]);
    assert_eq!(sources[1].adapter, None);
    assert_eq!((sources[2].base.as_deref(), sources[2].adapter.as_deref()), (Some("m"), Some("a/x")));
}

#[test]
fn alpaca_loras_command_line_is_accepted() {
    let args =
        ["--load_8bit=False", "--share_gradio", "False", "--server_name", "0.0.0.0", "--prompt_template", ""];
    let Mode::Web(web) = resolved(&args).unwrap().mode else { panic!("the server is the default") };
    assert_eq!(web.address.to_string(), "0.0.0.0:7860");
}
