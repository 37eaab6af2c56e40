//! Settings of `finetune`: flags over the run file over a recipe over the defaults.

use anyhow::Result;
use clap::{CommandFactory, Parser};
use cli::finetune::{FinetuneArgs, FinetuneConfig, resolve};

/// Settles flags over a run file of this text.
fn resolved(flags: &[&str], file: &str) -> Result<FinetuneConfig> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.toml");
    std::fs::write(&path, file).unwrap();
    let own = ["finetune", "--config", path.to_str().unwrap()];
    resolve(&FinetuneArgs::try_parse_from([&own, flags].concat())?)
}

#[test]
fn flags_override_the_file_and_the_file_overrides_the_defaults() {
    let file = "base_model = 'a'\nlora_r = 4\ncutoff_len = 64\n";
    let config = resolved(&["--lora_r", "2"], file).unwrap();
    assert_eq!((config.lora_r, config.cutoff_len, config.batch_size), (2, 64, 128));
}

#[test]
fn flags_override_the_recipe_and_the_recipe_overrides_the_defaults() {
    let flags = ["--recipe", "qlora", "--base_model", "a", "--lora_r", "8", "--double_quant", "false"];
    let run = resolved(&flags, "").unwrap();
    assert_eq!((run.lora_r, run.double_quant, &*run.quantize.to_string()), (8, false, "nf4"));
    assert_eq!((run.learning_rate, run.max_grad_norm, run.group_by_length), (2e-4, 0.3, true));
    assert_eq!((run.optim.name(), run.optim.is_paged()), ("paged_adamw_32bit", true));
    let file = resolved(&flags[..4], "lora_r = 3\nquantize = 'none'\ndouble_quant = false").unwrap();
    assert_eq!((file.lora_r, file.quantize.is_none(), file.max_grad_norm), (3, true, 0.3));
}

#[test]
fn other_spellings_of_quantize_override_the_file_and_yield_to_the_flag() {
    let file = "base_model = 'a'\nquantize = 'fp4'";
    for (flags, expected) in [
        (&[][..], "fp4"),
        (&["--load_in_8bit"], "int8"),
        (&["--load_in_8bit=False"], "fp4"),
        (&["--load_in_8bit", "--quantize", "nf4"], "nf4"),
    ] {
        assert_eq!(resolved(flags, file).unwrap().quantize.to_string(), expected, "{flags:?}");
    }
}

#[test]
fn a_written_run_file_repeats_the_run() {
    let flags = "--base_model a --lora_target_modules all-linear --max_steps 3 --lr_scheduler cosine --device cuda:1 \
                 --dtype bfloat16 --quantize nf4 --double_quant --threads 2 --optim adamw_8bit";
    let config = resolved(&flags.split_whitespace().collect::<Vec<_>>(), "").unwrap();
    assert_eq!(resolved(&[], &config.to_toml().unwrap()).unwrap(), config);
}

#[test]
fn the_lines_of_a_run_file_keep_their_order_and_spelling() {
    let text = resolved(&["--base_model", "a"], "").unwrap().to_toml().unwrap();
    let expected = r#"base_model = "a"
data_path = "yahma/alpaca-cleaned"
output_dir = "./lora-alpaca"
batch_size = 128
micro_batch_size = 4
num_epochs = 3
learning_rate = 0.0003
cutoff_len = 256
val_set_size = 2000
lora_r = 8
lora_alpha = 16.0
lora_dropout = 0.05
lora_target_modules = [
    "q_proj",
    "v_proj",
]
train_on_inputs = true
add_eos_token = false
group_by_length = false
prompt_template_name = "alpaca"
warmup_steps = 100
logging_steps = 10
eval_steps = 200
save_steps = 200
save_total_limit = 3
device = "auto"
device_map = "none"
dtype = "auto"
quantize = "none"
double_quant = false
optim = "adamw"
seed = 42
lr_scheduler = "linear"
weight_decay = 0.0
adam_beta1 = 0.9
adam_beta2 = 0.999
max_grad_norm = 1.0
use_rslora = false
gradient_checkpointing = false
load_best_model_at_end = true
time_phases = false
skip_bad_records = false
full = false
"#;
    assert_eq!(text, expected);
}

#[test]
fn alpaca_loras_sizes_become_accumulation_steps() {
    let config = resolved(
        &["--base_model", "a", "--batch_size", "2", "--micro_batch_size", "1", "--val_set_size", "2"],
        "",
    );
    assert_eq!(config.unwrap().train().gradient_accumulation_steps, 2);
}

#[test]
fn a_wrong_setting_is_rejected_by_name() {
    for (setting, named) in [
        ("cutoff_len = 0", "cutoff_len is 0"),
        ("batch_size = 10", "batch_size 10"),
        ("micro_batch_size = 0", "micro_batch_size is 0"),
        ("lora_r = 0", "lora_r is 0"),
        ("lora_rank = 3", "lora_rank"),
        ("num_epochs = 0", "num_epochs"),
        ("learning_rate = -1.0", "learning_rate"),
        ("quantize = 'int4'", "quantize is `int4`"),
        ("quantize = 'int8'\ndouble_quant = true", "double_quant"),
        ("quantize = 'nf4'\nfull = true", "--full"),
        ("optim = 'sgd'", "sgd"),
        ("lora_variant = 'ia3'", "`ia3` is set"),
        ("device = 'tpu'", "device is `tpu`"),
        ("dtype = 'int7'", "dtype is `int7`"),
    ] {
        let error = resolved(&[], &format!("base_model = 'a'\n{setting}")).unwrap_err().to_string();
        assert!(error.contains(named), "{setting}: {error}");
    }
}

#[test]
fn every_setting_of_a_run_has_its_flag() {
    let config = FinetuneConfig {
        base_model: "a".to_owned(),
        resume_from_checkpoint: Some("b".to_owned()),
        threads: Some(1),
        max_steps: std::num::NonZeroU32::new(1),
        adam_beta1: Some(0.8),
        adam_beta2: Some(0.9),
        val_data_path: Some("c".to_owned()),
        ..FinetuneConfig::default()
    };
    let command = FinetuneArgs::command();
    let flags: Vec<&str> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
    for (field, _) in toml::Table::try_from(&config).unwrap() {
        assert!(flags.contains(&field.as_str()), "{field}");
    }
    assert!(flags.contains(&"resume_from_checkpoint"));
}

#[test]
fn a_switch_stands_alone_or_carries_pythons_spelling() {
    let parse = |args: &[&str]| {
        let [on, off] = [true, false].map(|default| {
            let file = format!("base_model = 'a'\ntrain_on_inputs = {default}");
            resolved(args, &file).unwrap().train_on_inputs
        });
        (on == off).then_some(on)
    };
    assert_eq!(parse(&[]), None);
    assert_eq!(parse(&["--train_on_inputs"]), Some(true));
    assert_eq!(parse(&["--train_on_inputs", "False"]), Some(false));
    assert_eq!(parse(&["--train_on_inputs=False", "--lora_r", "4"]), Some(false));
}
