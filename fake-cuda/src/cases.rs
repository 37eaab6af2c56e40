//! The matrix: commands whose results on the make-believe device are those of the CPU.

use std::fs;

use anyhow::{Context, Result, ensure};
use xtask::output::note;

use crate::report::Report;
use crate::same;
use crate::scene::{Machine, Scene};

/// Rounding in float32 over a few steps; losses are near 8.
const EXACT: f64 = 5e-6;
/// In the kinds of two bytes, whose products are other on a CPU with few rows.
const ROUNDED: f64 = 2e-2;

/// What is compared of a run.
#[derive(Debug, Clone, Copy)]
enum Gives {
    /// Losses of all steps, and the tensors of this file up to this part of their length.
    Run(&'static str, f64),
    /// Losses alone, where the first digits of bfloat16 decide over the direction of an update.
    Losses,
    /// What is printed.
    Text,
    /// Lines of JSON in `answers.jsonl`.
    Answers,
    /// One value of JSON in `out.json`.
    Json,
}

/// A command, without its device.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    program: &'static str,
    args: &'static str,
    gives: Gives,
    tolerance: f64,
    machine: Machine,
    device: &'static str,
    /// The layers go over two devices.
    split: bool,
    /// Run with `--long` only.
    long: bool,
}

/// Without dropout, whose random numbers libtorch draws on each device in its own way.
const FINETUNE: &str = "--base_model {base} --data_path {data} --output_dir out --batch_size 4 --micro_batch_size 2 \
    --max_steps 4 --val_set_size 2 --cutoff_len 64 --eval_steps 2 --save_steps 1000 --logging_steps 1 --warmup_steps 1 \
    --lora_r 4 --lora_alpha 8 --lora_dropout 0 \
    --learning_rate 1e-3 --threads 1";
const GENERATE: &str = "--base_model {base} --prompt {prompt} --max_new_tokens 24 --threads 1";
const ADAPTER: &str = "adapter_model.safetensors";
const MODEL: &str = "model.safetensors";

const fn case(name: &'static str, program: &'static str, args: &'static str, gives: Gives) -> Case {
    Case {
        name,
        program,
        args,
        gives,
        tolerance: EXACT,
        machine: Machine::Gpus(1),
        device: "cuda",
        split: false,
        long: false,
    }
}

impl Case {
    /// Single logits, which are far from the loss that they are part of.
    const fn of_logits(self) -> Self {
        Self { tolerance: 5e-5, ..self }
    }

    const fn rounded(self) -> Self {
        Self { tolerance: ROUNDED, ..self }
    }

    const fn second_gpu(self) -> Self {
        Self { machine: Machine::Gpus(2), device: "cuda:1", ..self }
    }

    const fn over_two_gpus(self) -> Self {
        Self { machine: Machine::Gpus(2), split: true, ..self }
    }

    const fn with_kernels(self) -> Self {
        Self { machine: Machine::Kernels, tolerance: ROUNDED, ..self }
    }

    /// With the numbers of float32, in spite of kernels.
    const fn exact(self) -> Self {
        Self { tolerance: EXACT, ..self }
    }

    const fn long(self) -> Self {
        Self { long: true, ..self }
    }

    fn arguments(&self, device: &str) -> String {
        let common = match self.program {
            "finetune" => FINETUNE,
            "generate" if !self.args.contains("--file") && !self.args.contains("--perplexity") => GENERATE,
            _ => "--threads 1",
        };
        let map = if self.split { " --device_map auto" } else { "" };
        format!("{} --device {device}{map} {}", without(common, self.args), self.args)
    }

    /// Runs it, and puts what it leaves into the directory `to`.
    fn run(&self, scene: &Scene, machine: Machine, device: &str, to: &str) -> Result<()> {
        for name in ["out", to] {
            let _ = fs::remove_dir_all(scene.path(name));
        }
        let ended = scene.run(scene.program(self.program, &self.arguments(device), machine))?.ok()?;
        let split = ended.stderr.contains("device_map: embedding and layers from 0 on cuda:0, from ");
        ensure!(split == (self.split && device != "cpu"), "layers on two devices: {split}: {}", ended.stderr);
        fs::create_dir_all(scene.path("out"))?;
        fs::rename(scene.path("out"), scene.path(to))?;
        for file in ["answers.jsonl", "out.json"] {
            if scene.path(file).exists() {
                fs::rename(scene.path(file), scene.path(to).join(file))?;
            }
        }
        fs::write(scene.path(to).join("stdout"), ended.stdout)?;
        Ok(())
    }

    /// Runs it on the CPU and on its device, and compares.
    fn hold(&self, scene: &Scene) -> Result<()> {
        self.run(scene, Machine::Cpu, "cpu", "on-cpu").context("on the CPU")?;
        self.run(scene, self.machine, self.device, "on-gpu").context("on the make-believe device")?;
        let files = |name: &str| (scene.path("on-cpu").join(name), scene.path("on-gpu").join(name));
        let (ours, theirs) = files("metrics.jsonl");
        match self.gives {
            Gives::Run(file, tolerance) => {
                same::lines(&ours, &theirs, self.tolerance)?;
                let (ours, theirs) = files(file);
                same::tensors(&ours, &theirs, tolerance)
            }
            Gives::Losses => same::lines(&ours, &theirs, self.tolerance),
            Gives::Text => {
                let (ours, theirs) = files("stdout");
                let (ours, theirs) = (fs::read_to_string(ours)?, fs::read_to_string(theirs)?);
                ensure!(!ours.trim().is_empty(), "nothing is printed");
                same::texts(&ours, &theirs, self.tolerance)
            }
            Gives::Answers => {
                let (ours, theirs) = files("answers.jsonl");
                same::lines(&ours, &theirs, self.tolerance)
            }
            Gives::Json => {
                let (ours, theirs) = files("out.json");
                let read = |path| anyhow::Ok(serde_json::from_str(&fs::read_to_string(path)?)?);
                same::values(&read(ours)?, &read(theirs)?, self.tolerance)
            }
        }
    }
}

/// Takes the flags that `args` sets out of those that are common, each of which has a value.
fn without(common: &str, args: &str) -> String {
    let set: Vec<&str> = args.split(' ').collect();
    let words: Vec<&str> = common.split_whitespace().collect();
    words.chunks(2).filter(|pair| !set.contains(&pair[0])).flatten().copied().collect::<Vec<_>>().join(" ")
}

const CASES: &[Case] = &[
    case("finetune LoRA", "finetune", "--dtype float32", Gives::Run(ADAPTER, 1e-4)),
    case(
        "finetune LoRA, all linear layers, checkpointing",
        "finetune",
        "--dtype float32 --lora_target_modules all-linear --gradient_checkpointing",
        Gives::Run(ADAPTER, 1e-4),
    ),
    case(
        "finetune LoRA, answers only, grouped by length",
        "finetune",
        "--dtype float32 --group_by_length --train_on_inputs false",
        Gives::Run(ADAPTER, 1e-4),
    ),
    case("finetune DoRA", "finetune", "--dtype float32 --lora_variant dora --use_rslora", Gives::Run(ADAPTER, 1e-4)),
    case("finetune LoRA in bfloat16", "finetune", "--dtype bfloat16", Gives::Losses).rounded(),
    case("finetune LoRA in float16", "finetune", "--dtype float16", Gives::Losses).rounded(),
    case(
        "finetune QLoRA in float32, checkpointing",
        "finetune",
        "--quantize nf4 --double_quant --dtype float32 --gradient_checkpointing",
        Gives::Run(ADAPTER, 1e-4),
    ),
    case("finetune over fp4", "finetune", "--quantize fp4 --dtype float32", Gives::Run(ADAPTER, 1e-4)),
    case("finetune over int8", "finetune", "--quantize int8 --dtype float32", Gives::Run(ADAPTER, 1e-4)),
    case(
        "finetune QLoRA in bfloat16 without kernels",
        "finetune",
        "--quantize nf4 --double_quant --dtype bfloat16",
        Gives::Losses,
    )
    .rounded(),
    case("finetune --full", "finetune", "--full --dtype float32", Gives::Run(MODEL, 1e-4)),
    case(
        "finetune --full, 8-bit optimiser, checkpointing",
        "finetune",
        "--full --dtype float32 --optim adamw_8bit --gradient_checkpointing",
        Gives::Losses,
    ),
    case("finetune, paged 32-bit optimiser", "finetune", "--dtype float32 --optim paged_adamw_32bit", Gives::Run(ADAPTER, 1e-4)),
    case("finetune, paged 8-bit optimiser", "finetune", "--dtype float32 --optim paged_adamw_8bit", Gives::Losses),
    case("finetune, Lion", "finetune", "--dtype float32 --optim lion", Gives::Losses),
    case(
        "finetune QLoRA on the second of two",
        "finetune",
        "--quantize nf4 --double_quant --dtype float32 --gradient_checkpointing",
        Gives::Run(ADAPTER, 1e-4),
    )
    .second_gpu(),
    case(
        "finetune LoRA on all linear layers over two",
        "finetune",
        "--dtype float32 --lora_target_modules all-linear",
        Gives::Run(ADAPTER, 1e-4),
    )
    .over_two_gpus(),
    case(
        "finetune QLoRA over two, checkpointing, paged optimiser",
        "finetune",
        "--quantize nf4 --double_quant --dtype float32 --gradient_checkpointing --optim paged_adamw_32bit",
        Gives::Run(ADAPTER, 1e-4),
    )
    .over_two_gpus(),
    case("finetune --full over two", "finetune", "--full --dtype float32", Gives::Run(MODEL, 1e-4)).over_two_gpus(),
    case("finetune LoRA in float16 over two", "finetune", "--dtype float16 --time_phases", Gives::Losses)
        .over_two_gpus()
        .rounded(),
    case(
        "finetune QLoRA with kernels",
        "finetune",
        "--quantize nf4 --double_quant --dtype bfloat16 --max_steps 1 --warmup_steps 0 --val_set_size 0",
        Gives::Losses,
    )
    .with_kernels(),
    case(
        "finetune LoRA with fused passes and dropout",
        "finetune",
        "--dtype float32 --lora_dropout 0.1",
        Gives::Run(ADAPTER, 1e-4),
    )
    .with_kernels()
    .exact(),
    case(
        "finetune LoRA on all linear layers with fused passes, checkpointing",
        "finetune",
        "--dtype float32 --lora_target_modules all-linear --gradient_checkpointing --lora_dropout 0.1 --max_steps 2",
        Gives::Run(ADAPTER, 1e-4),
    )
    .with_kernels()
    .exact(),
    case("finetune LoRA in bfloat16 with fused passes", "finetune", "--dtype bfloat16 --lora_dropout 0.1 --max_steps 2", Gives::Losses)
        .with_kernels(),
    case(
        "finetune LoRA over two with fused passes and dropout",
        "finetune",
        "--dtype float32 --lora_dropout 0.1 --max_steps 2",
        Gives::Run(ADAPTER, 1e-4),
    )
    .over_two_gpus()
    .with_kernels()
    .exact(),
    case("finetune LoRA in float16 with fused passes", "finetune", "--dtype float16 --lora_dropout 0.1 --max_steps 2", Gives::Losses)
        .with_kernels(),
    case("generate greedy with fused passes", "generate", "--temperature 0 --dtype float32 --lora_weights adapter", Gives::Text)
        .with_kernels()
        .exact(),
    case("finetune over int8 with kernels", "finetune", "--quantize int8 --dtype bfloat16", Gives::Losses)
        .with_kernels()
        .long(),
    case("generate greedy", "generate", "--temperature 0 --dtype float32 --lora_weights adapter", Gives::Text),
    case("generate greedy in bfloat16", "generate", "--temperature 0 --dtype bfloat16", Gives::Text),
    case("generate sampled", "generate", "--temperature 0.8 --top_p 0.9 --top_k 40 --seed 7 --dtype float32", Gives::Text),
    case(
        "generate sampled with min-p and a penalty",
        "generate",
        "--temperature 1 --top_p 1 --top_k 0 --min_p 0.05 --repetition_penalty 1.2 --seed 3 --dtype float32",
        Gives::Text,
    ),
    case("generate with beams", "generate", "--num_beams 3 --dtype float32 --lora_weights adapter", Gives::Text),
    case("generate as alpaca-lora does", "generate", "--compat alpaca-lora --dtype float32", Gives::Text),
    case("generate in 8 bits", "generate", "--load_8bit --temperature 0 --dtype float32", Gives::Text),
    case("generate in 4 bits", "generate", "--load_4bit --temperature 0 --dtype float32 --lora_weights adapter", Gives::Text),
    case("generate on the second of two", "generate", "--temperature 0 --dtype float32", Gives::Text).second_gpu(),
    case("generate over two", "generate", "--temperature 0 --dtype float32 --lora_weights adapter", Gives::Text)
        .over_two_gpus(),
    case("generate with beams over two", "generate", "--num_beams 3 --load_4bit --dtype float32", Gives::Text)
        .over_two_gpus(),
    case(
        "generate --file over two",
        "generate",
        "--base_model {base} --lora_weights adapter --file prompts.jsonl --out answers.jsonl --batch_size 4 \
         --max_new_tokens 12 --temperature 0 --dtype float32",
        Gives::Answers,
    )
    .over_two_gpus(),
    case(
        "generate --file",
        "generate",
        "--base_model {base} --lora_weights adapter --file prompts.jsonl --out answers.jsonl --batch_size 4 \
         --max_new_tokens 12 --temperature 0 --dtype float32",
        Gives::Answers,
    ),
    case(
        "generate --file with beams",
        "generate",
        "--base_model {base} --file prompts.jsonl --out answers.jsonl --batch_size 2 --max_new_tokens 8 --num_beams 3 \
         --dtype float32",
        Gives::Answers,
    ),
    case("generate --perplexity", "generate", "--base_model {base} --perplexity records.json --dtype float32", Gives::Text),
    case(
        "evaluate",
        "evaluate",
        "--base_model {base} --lora_weights adapter --data_path records.json --max_new_tokens 12 --perplexity \
         --dtype float32 --json out.json",
        Gives::Json,
    ),
    case(
        "evaluate over two",
        "evaluate",
        "--base_model {base} --lora_weights adapter --data_path records.json --max_new_tokens 12 --perplexity \
         --dtype float32 --json out.json",
        Gives::Json,
    )
    .over_two_gpus(),
    case(
        "evaluate in 4 bits",
        "evaluate",
        "--base_model {base} --data_path records.json --max_new_tokens 12 --quantize nf4 --double_quant --dtype float32 \
         --json out.json",
        Gives::Json,
    ),
    case(
        "evaluate in 4 bits with kernels",
        "evaluate",
        "--base_model {base} --data_path records.json --max_new_tokens 12 --quantize nf4 --dtype bfloat16 --json out.json",
        Gives::Json,
    )
    .with_kernels()
    .long(),
    case(
        "compare",
        "compare",
        "--reference_model {base} --base_model {base} --lora_weights adapter --data_path records.json --records 3 \
         --max_new_tokens 8 --samples 20 --json out.json",
        Gives::Json,
    )
    .of_logits(),
    case(
        "compare with 4 bits",
        "compare",
        "--reference_model {base} --base_model {base} --quantize nf4 --data_path records.json --records 3 \
         --max_new_tokens 8 --samples 20 --json out.json",
        Gives::Json,
    )
    .of_logits(),
    case(
        "pretrain",
        "pretrain",
        "--config pretrain.toml --corpus corpus.txt --tokenizer {base} --output_dir out --seed 5",
        Gives::Losses,
    ),
];

/// Runs all of them.
///
/// # Errors
/// When the adapter that they share cannot be trained.
pub(crate) fn run_all(scene: &Scene, long: bool, report: &mut Report) -> Result<()> {
    let adapter = case(
        "adapter",
        "finetune",
        "--dtype float32 --lora_target_modules all-linear --learning_rate 1e-2",
        Gives::Losses,
    );
    adapter.run(scene, Machine::Cpu, "cpu", "adapter").context("cannot train an adapter on the CPU")?;
    for case in CASES.iter().filter(|case| long || !case.long) {
        if case.machine == Machine::Kernels && !scene.has_kernels() {
            note(&format!("skipped: {}, since there is no NVRTC", case.name));
        } else {
            report.add(case.name, || case.hold(scene));
        }
    }
    report.add("a resumed run on the device ends in the same bytes", || resume(scene));
    Ok(())
}

/// Compares a run with one that goes on from its checkpoint in the middle.
fn resume(scene: &Scene) -> Result<()> {
    let args = "--dtype float32 --optim paged_adamw_8bit --save_steps 2 --save_total_limit 5";
    let run = |extra: &str, to: &str| {
        let mut case = case("resume", "finetune", args, Gives::Losses).arguments("cuda");
        case.push_str(extra);
        let _ = fs::remove_dir_all(scene.path("out"));
        scene.run(scene.program("finetune", &case, Machine::Gpus(1)))?.ok()?;
        fs::rename(scene.path("out"), scene.path(to))?;
        fs::read(scene.path(to).join(ADAPTER)).context("no adapter")
    };
    let whole = run("", "whole")?;
    let resumed = run(" --resume_from_checkpoint whole/checkpoint-2", "resumed")?;
    ensure!(whole == resumed, "another adapter");
    Ok(())
}
